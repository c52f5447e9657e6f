"""What is done with stores of embeddings: count, verify, merge, prune. A store that is read is never changed."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.artifacts import MANIFEST, hash_text, read_manifest, write_json
from seawall.errors import ArtifactError, ConfigError
from seawall.store import EmbeddingStore, Entry

if TYPE_CHECKING:
    from torch import Tensor

SUMMARY = "synthesis.json"
SHARD_EMBEDDINGS = 32
"""Embeddings in a shard."""


def summarise(entries: Sequence[Entry], history: Sequence[Entry]) -> dict[str, Any]:
    """Return what `synthesis.json` says of embeddings: how many, how good, and what they cost.

    Args:
        entries: Those in force.
        history: Those whose time counts: the superseded too.
    """
    outcomes = Counter(entry.outcome for entry in entries)
    seconds = sum(entry.seconds for entry in history)
    return {
        "records": len({entry.record for entry in entries}),
        "embeddings": len(entries),
        "verified": outcomes["verified"],
        "unverified": outcomes["unverified"],
        "failed": outcomes["failed"],
        "vsr": outcomes["verified"] / max(1, len(entries)),
        "steps_mean": sum(entry.steps for entry in entries) / max(1, len(entries)),
        "seconds": seconds,
        "seconds_per_embedding": seconds / max(1, len(history)),
    }


def count(folder: Path) -> dict[str, Any]:
    """Return what a store holds: `shards`, the counts of each shard and kind by outcome; and `summary`.

    Raises:
        ArtifactError: The folder holds no store.
    """
    store = open_any(folder)
    counts = Counter((entry.shard, entry.kind, entry.outcome) for entry in store.entries.values())
    outcomes = ("verified", "unverified", "failed")
    rows = [
        {"shard": shard, "kind": kind, **{outcome: counts[shard, kind, outcome] for outcome in outcomes}}
        for shard, kind in sorted({key[:2] for key in counts})
    ]
    return {"shards": rows, "summary": summarise([*store.entries.values()], store.history)}


def verify(folder: Path) -> dict[str, Any]:
    """Read every embedding in force; return how many `embeddings` there are, their `shape` and what else lies there.

    Raises:
        ArtifactError: The folder holds no store, or an embedding is missing, not finite or of another shape.
    """
    store = open_any(folder)
    faults: dict[str, str] = {}
    shape: list[int] = []
    for entry, embedding, fault in _read_all(store):
        if fault:
            faults[entry.key] = fault
        else:
            shape = list(embedding.shape)
    if faults:
        shown = "; ".join(f"{key}: {fault}" for key, fault in itertools.islice(faults.items(), 5))
        raise ArtifactError(
            f"{len(faults)} of {len(store.entries)} embeddings in {folder} are broken ({shown}). Run `seawall embeddings prune "
            f"{folder} --out NEW`, then the same `seawall synthesize` with --out NEW: it makes what is missing."
        )
    return {
        "embeddings": sum(bool(entry.shard) for entry in store.entries.values()),
        "shape": shape,
        "superseded": len(store.history) - len(store.entries),
        "orphaned_shards": len(
            {path.name for path in folder.glob("*.safetensors")} - {entry.shard for entry in store.history}
        ),
    }


def merge(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the embeddings of several stores into a new one; return its summary.

    Args:
        folders: Stores of one model, made with the same settings.
        out: Folder of the new store; must not exist yet.

    Raises:
        ConfigError: There is none.
        ArtifactError: They differ in model or settings, hold different embeddings under one key, or `out` exists.
    """
    if not folders:
        raise ConfigError("No store was given. Give the folders of the stores to merge.")
    stores = [open_any(folder) for folder in folders]
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        _require_same(folders[0], manifests[0], folder, manifest)
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
            f"{len(conflicts)} keys stand for different prompts ({'; '.join(conflicts[:5])}). Give the records ids of their own, or "
            "prepare them from one file."
        )
    pairs = sorted({manifest["inputs"]["pairs"] for manifest in manifests})
    inputs = {**manifests[0]["inputs"], "pairs": pairs[0] if len(pairs) == 1 else hash_text(" ".join(pairs))}
    complete = all(manifest["complete"] for manifest in manifests)
    return _write_store(out, {**manifests[0], "inputs": inputs, "complete": complete}, chosen.values())


def prune(folder: Path, out: Path) -> dict[str, Any]:
    """Write what is verified, in force and unbroken of a store into a new one; return its summary.

    Args:
        folder: The store; it stays as it is.
        out: Folder of the new store; must not exist yet.

    Raises:
        ArtifactError: The folder holds no store, or `out` exists.
    """
    store = open_any(folder)
    kept = [(store, entry) for entry, _, fault in _read_all(store) if entry.verified and not fault]
    return _write_store(out, read_manifest(folder), kept)


def open_any(folder: Path) -> EmbeddingStore:
    """Open a store, finished or not, of whatever model.

    Raises:
        ArtifactError: The folder holds none.
    """
    if not (folder / MANIFEST).is_file() or read_manifest(folder)["stage"] != "synthesize":
        raise ArtifactError(f"{folder} holds no embeddings. Give a folder that `seawall synthesize` wrote.")
    return EmbeddingStore(folder)


def _read_all(store: EmbeddingStore) -> Iterator[tuple[Entry, Tensor | None, str]]:
    """Yield each entry in force that has an embedding, the embedding, and what is wrong with it."""
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


def _require_same(first: Path, expected: dict[str, Any], folder: Path, manifest: dict[str, Any]) -> None:
    if manifest["identity"] == expected["identity"]:
        return
    differing = [
        f"{key}: {expected[part].get(key)!r} and {manifest[part].get(key)!r}"
        for part in ("inputs", "config")
        for key in expected[part]
        if key not in expected["free"] and expected[part].get(key) != manifest[part].get(key)
    ]
    raise ArtifactError(
        f"{first} and {folder} cannot be merged ({'; '.join(differing[:4])}): embeddings are only good together where model and "
        "settings are the same. Synthesize again with the same ones."
    )


def _write_store(out: Path, manifest: dict[str, Any], chosen: Iterable[tuple[EmbeddingStore, Entry]]) -> dict[str, Any]:
    """Write a store of chosen entries beside `out`, and give it that name when it is complete."""
    if out.exists():
        raise ArtifactError(f"{out} exists. Give another --out.")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was cut short
    partial.mkdir(parents=True)
    write_json(partial / MANIFEST, manifest)
    new = EmbeddingStore(partial)
    queue = iter(chosen)
    while some := list(itertools.islice(queue, SHARD_EMBEDDINGS)):
        facts = [{k: v for k, v in dataclasses.asdict(entry).items() if k != "shard"} for _, entry in some]
        new.append({entry.key: store.read(entry.key) for store, entry in some if entry.shard}, facts)
    summary = summarise([*new.entries.values()], new.history)
    write_json(partial / SUMMARY, summary)
    os.replace(partial, out)
    return summary
