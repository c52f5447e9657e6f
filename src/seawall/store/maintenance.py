"""Opening and maintenance of embedding stores: count, check, merge, prune. None of these changes the store that it reads."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import ArtifactError, ConfigError
from seawall.store.artifacts import MANIFEST, Manifest, read_manifest, require, write_manifest
from seawall.store.embeddings import BLANK_SIZE, EmbeddingStore, Entry
from seawall.store.files import hash_text, write_json
from seawall.store.writer import SHARD_EMBEDDINGS

if TYPE_CHECKING:
    from torch import Tensor

SUMMARY = "synthesis.json"
OUTCOMES = ("verified", "unverified", "failed")


def summarize_entries(entries: Sequence[Entry], history: Sequence[Entry]) -> dict[str, Any]:
    """Return the content of `synthesis.json`: how many embeddings there are, their outcomes and their cost.

    Args:
        entries: The entries in use.
        history: The entries whose time counts: those replaced since, too.
    """
    outcomes = Counter(entry.outcome for entry in entries)
    seconds = sum(entry.seconds for entry in history)
    return {
        "records": len({entry.record for entry in entries}),
        "embeddings": len(entries),
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "vsr": outcomes["verified"] / max(1, len(entries)),
        "steps_mean": sum(entry.steps for entry in entries) / max(1, len(entries)),
        "seconds": seconds,
        "seconds_per_embedding": seconds / max(1, len(history)),
    }


def count_embeddings(folder: Path) -> dict[str, Any]:
    """Return what a store holds.

    Returns:
        `shards`: for each shard and kind the number of embeddings by outcome; `summary`: see `summarize_entries`.

    Raises:
        ArtifactError: The folder holds no store.
    """
    store = open_any_store(folder)
    counts = Counter((entry.shard, entry.kind, entry.outcome) for entry in store.entries.values())
    rows = [
        {"shard": shard, "kind": kind, **{outcome: counts[shard, kind, outcome] for outcome in OUTCOMES}}
        for shard, kind in sorted({key[:2] for key in counts})
    ]
    return {"shards": rows, "summary": summarize_entries([*store.entries.values()], store.history)}


def check_store(folder: Path) -> dict[str, Any]:
    """Read every embedding of a store.

    Returns:
        The number of `embeddings`, their `shape`, the number of `superseded` index lines and of `orphaned_shards`.

    Raises:
        ArtifactError: The folder holds no store, or an embedding is missing, not finite or of another shape.
    """
    store = open_any_store(folder)
    faults: dict[str, str] = {}
    shape: list[int] = []
    for entry, embedding, fault in _read_all(store):
        if embedding is None or fault:
            faults[entry.key] = fault
        else:
            shape = list(embedding.shape)
    if faults:
        shown = "; ".join(f"{key}: {fault}" for key, fault in itertools.islice(faults.items(), 5))
        raise ArtifactError(
            f"{len(faults)} of {len(store.entries)} embeddings in {folder} are broken ({shown}). "
            f"Run `seawall embeddings prune {folder} --out NEW`, then the same `seawall synthesize` with --out NEW: "
            "it makes what is missing."
        )
    known = {entry.shard for entry in store.history}
    return {
        "embeddings": sum(bool(entry.shard) for entry in store.entries.values()),
        "shape": shape,
        "superseded": len(store.history) - len(store.entries),
        "orphaned_shards": len({path.name for path in folder.glob("*.safetensors")} - known),
    }


def merge_stores(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the embeddings of several stores into a new one. Return its summary.

    Args:
        folders: Stores of one model, made with the same settings.
        out: Folder of the new store. It must not exist.

    Raises:
        ConfigError: No store was given.
        ArtifactError: They differ in model or settings, hold different embeddings for one key, or `out` exists.
    """
    if not folders:
        raise ConfigError("No store was given. Give the folders of the stores to merge.")
    stores = [open_any_store(folder) for folder in folders]
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        _require_same_settings(folders[0], manifests[0], folder, manifest)
    chosen: dict[str, tuple[EmbeddingStore, Entry]] = {}
    conflicts = []
    for store in stores:
        for key, entry in store.entries.items():
            if key in chosen and chosen[key][1].content != entry.content:
                conflicts.append(f"{key} in {chosen[key][0].folder} and {store.folder}")
            elif key not in chosen or (entry.verified and not chosen[key][1].verified):
                chosen[key] = store, entry
    if conflicts:
        raise ArtifactError(
            f"{len(conflicts)} keys stand for different questions ({'; '.join(conflicts[:5])}). "
            "Give the records unique ids, or prepare them from one file."
        )
    pairs = sorted({manifest.inputs["pairs"] for manifest in manifests})
    inputs = {**manifests[0].inputs, "pairs": pairs[0] if len(pairs) == 1 else hash_text(" ".join(pairs))}
    complete = all(manifest.complete for manifest in manifests)
    return _write_store(out, dataclasses.replace(manifests[0], inputs=inputs, complete=complete), chosen.values())


def prune_store(folder: Path, out: Path) -> dict[str, Any]:
    """Write the verified, readable embeddings in use into a new store. Return its summary.

    Args:
        folder: The store. It is not changed.
        out: Folder of the new store. It must not exist.

    Raises:
        ArtifactError: The folder holds no store, or `out` exists.
    """
    store = open_any_store(folder)
    kept = [(store, entry) for entry, _, fault in _read_all(store) if entry.verified and not fault]
    return _write_store(out, read_manifest(folder), kept)


def open_store(folder: Path, fingerprint: str, blank: float | None = None) -> EmbeddingStore:
    """Open the store of a finished `synthesize`.

    Args:
        folder: Folder of the store.
        fingerprint: Fingerprint of the model that will use the embeddings.
        blank: Size of the blank medium in whose place they will stand. None does not check it.

    Raises:
        ArtifactError: It is not finished, or was made for another model or with another blank.
    """
    manifest = require(folder, "synthesize")
    require_model(folder, manifest, fingerprint)
    require_blank(folder, manifest, blank)
    return EmbeddingStore(folder)


def require_blank(folder: Path, manifest: Manifest, blank: float | None) -> None:
    """Check that the embeddings of a store were made with a blank medium of a size. Stores of earlier versions do not say.

    Raises:
        ArtifactError: They were made with another size.
    """
    found = manifest.facts.get(BLANK_SIZE)
    if found is not None and blank is not None and found != blank:
        raise ArtifactError(
            f"The embeddings in {folder} were made with a blank of size {found:g}, and this run has {blank:g}. An embedding "
            f"only fits the blank that it was made with: give --blank {found:g}, or synthesize again with another --out."
        )


def require_model(folder: Path, manifest: Manifest, fingerprint: str) -> None:
    """Check that the embeddings of a store fit a model.

    Args:
        folder: Folder of the store.
        manifest: Its manifest.
        fingerprint: Fingerprint of the model.

    Raises:
        ArtifactError: They were made for another model.
    """
    made_for = manifest.inputs["model"]
    if made_for != fingerprint:
        raise ArtifactError(
            f"The embeddings in {folder} were made for another model (fingerprint {made_for}, this model has "
            f"{fingerprint}). Embeddings only fit the model that they were made with: synthesize them again."
        )


def open_any_store(folder: Path) -> EmbeddingStore:
    """Open a store, finished or not, of any model.

    Raises:
        ArtifactError: The folder holds no store.
    """
    if not (folder / MANIFEST).is_file() or read_manifest(folder).stage != "synthesize":
        raise ArtifactError(f"{folder} holds no embeddings. Give a folder that `seawall synthesize` wrote.")
    return EmbeddingStore(folder)


def _read_all(store: EmbeddingStore) -> Iterator[tuple[Entry, Tensor | None, str]]:
    """Yield each entry in use that has an embedding, the embedding, and what is wrong with it."""
    shape = None
    for entry in store.entries.values():
        if not entry.shard:
            continue
        try:
            embedding = store.read(entry.key)
        except ArtifactError as error:
            yield entry, None, f"{entry.shard}: {error.__cause__}"
            continue
        shape = shape or embedding.shape
        fault = "" if embedding.isfinite().all() else f"{entry.shard}: not finite"
        if embedding.shape != shape:
            fault = f"{entry.shard}: shape {tuple(embedding.shape)}, the others have {tuple(shape)}"
        yield entry, embedding, fault


def _require_same_settings(first: Path, expected: Manifest, folder: Path, manifest: Manifest) -> None:
    differences = expected.find_differences(manifest, places=("in the first", "in the second"))
    refused = [text for name, text in differences.items() if name.partition(".")[0] not in expected.free]
    if refused or expected.identity != manifest.identity:
        reason = "; ".join(refused[:4]) or "they were made by different versions"
        raise ArtifactError(
            f"{first} and {folder} cannot be merged ({reason}): only embeddings of the same model and settings fit "
            "together. Synthesize again with the same ones."
        )


def _write_store(out: Path, manifest: Manifest, chosen: Iterable[tuple[EmbeddingStore, Entry]]) -> dict[str, Any]:
    """Write a store of chosen entries beside `out`, and rename it to `out` when it is complete."""
    if out.exists():
        raise ArtifactError(f"{out} exists. Give another --out.")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted call
    partial.mkdir(mode=0o700, parents=True)
    write_manifest(partial, manifest)
    new = EmbeddingStore(partial)
    queue = iter(chosen)
    while some := list(itertools.islice(queue, SHARD_EMBEDDINGS)):
        embeddings = {entry.key: store.read(entry.key) for store, entry in some if entry.shard}
        new.append(embeddings, [entry for _, entry in some])
    summary = summarize_entries([*new.entries.values()], new.history)
    write_json(partial / SUMMARY, summary)
    os.replace(partial, out)
    return summary
