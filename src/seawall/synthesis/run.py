"""Stage 2, `synthesize`: decide what to make, let an engine make it, and store it as it is finished."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.progress import track
from seawall.store.artifacts import claim, finish, reopen
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.files import hash_file, hash_listing, read_json, write_json
from seawall.store.maintenance import SUMMARY, summarize_entries
from seawall.store.pair import PAIRS, Pair, read_modality, read_pairs
from seawall.store.writer import ShardWriter
from seawall.synthesis.amortize import find_media
from seawall.synthesis.config import FREE, SynthesizeConfig
from seawall.synthesis.engines import WorkerSpec, solve_local
from seawall.synthesis.optimize import Task

log = logging.getLogger(__name__)


def synthesize(
    model: str,
    pairs: Path,
    out: Path,
    config: SynthesizeConfig = SynthesizeConfig(),
    *,
    bank: Path | None = None,
    engine: Literal["local", "ray"] = "local",
) -> dict[str, Any]:
    """Make synthetic embeddings for every pair. Rerun to resume; rerun with more pairs to add theirs.

    Args:
        model: Registered model, folder in Hugging Face format, or hub id.
        pairs: Folder made by `prepare`.
        out: Folder for the embeddings, `synthesis.json` and `manifest.json`.
        config: Settings.
        bank: Folder of real, harmless, unlabelled media to start from.
        engine: `local` uses every visible device of this machine, `ray` every device of a Ray cluster. Both give the same result.

    Returns:
        The summary: the number of `records` and `embeddings`, of which `verified`, `unverified` and `failed`; `vsr`,
        `steps_mean`; `seconds` of all sessions and `seconds_per_embedding`.

    Raises:
        ConfigError: `start` is `bank` but no bank is given, or the engine is `ray` and Ray is not installed.
        ArtifactError: `out` belongs to another run or is being written, the disk is full, or no embedding could be verified.
        EngineError: Workers died repeatedly. Finished work is kept.
    """
    if config.start == "bank" and bank is None:
        raise ConfigError("The start 'bank' needs a folder of harmless media (--bank DIR); or choose --start blank.")
    if engine == "ray":
        from seawall.synthesis.cluster import import_ray

        import_ray()  # before anything is loaded or claimed
    chosen = [pair for pair in read_pairs(pairs) if config.twins or pair.kind == "harmful"]
    modality = read_modality(pairs)
    media = find_media(bank, modality) if config.start == "bank" else [BLANK]
    config = dataclasses.replace(config, copies=min(config.copies, len(media)))  # from one start there is one embedding
    loaded = load_model(model, modality=modality, precision=config.precision, device_map=config.device_map)
    inputs = {
        "model": loaded.fingerprint,
        "modality": modality,
        "bank": hash_listing(media) if config.start == "bank" else "blank",
        "pairs": hash_file(pairs / PAIRS),
    }
    wanted = {pair.id: pair for pair in chosen}
    finished = claim(out, "synthesize", config, inputs, free=FREE)
    store = EmbeddingStore(out)
    with store.lock():
        todo = _find_todo(store, wanted, config.copies)
        if finished and not todo:
            return read_json(out / SUMMARY)
        reopen(out, config, inputs)
        workshop = WorkerSpec(model=model, fingerprint=loaded.fingerprint, modality=modality, media=media, config=config)
        if config.warm_start:
            first = dict([*wanted.items()][: config.warm_start])
            _make_all(workshop, loaded, engine, store, wanted, [job for job in todo if job[0] in first])
            todo = [job for job in todo if job[0] not in first]
            if todo:
                workshop = dataclasses.replace(workshop, block=_read_block(store, first, config.copies))
        _make_all(workshop, loaded, engine, store, wanted, todo)
        made = [store.entries[key] for record in wanted for key in _keys(record, config.copies)]
        summary = summarize_entries(made, store.history) | {"records": len(chosen)}
        _require_verified(summary, store)
        write_json(out / SUMMARY, summary)
        finish(out, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary


def _keys(record: str, copies: int) -> list[str]:
    return [f"{record}#{copy}" for copy in range(copies)]


def _read_block(
    store: EmbeddingStore, first: Mapping[str, Pair], copies: int
) -> tuple[list[str], torch.Tensor] | None:
    """Return the verified part of the first block, from the store: the same whether it was made just now or before."""
    keys = [(key, pair) for record, pair in first.items() for key in _keys(record, copies)]
    verified = [(key, pair) for key, pair in keys if store.entries[key].verified]
    if len(verified) < 2:
        log.warning("no warm start: %d of %d embeddings of the first block are verified", len(verified), len(keys))
        return None
    return [pair.phrase for _, pair in verified], torch.stack([store.read(key) for key, _ in verified])


def _find_todo(store: EmbeddingStore, wanted: Mapping[str, Pair], copies: int) -> list[Job]:
    """Return what the store lacks: new records, those whose prompts have changed, those of which a copy is damaged.

    Raises:
        ArtifactError: The store holds embeddings, and none of these records.
    """

    def is_there(record: str) -> bool:
        entries = [store.entries.get(key) for key in _keys(record, copies)]
        return all(entry and store.is_current(entry, wanted[record]) for entry in entries)

    if store.entries and not any(is_there(record) for record in wanted):
        raise ArtifactError(
            f"{store.folder} holds {len(store.entries)} embeddings, and not one of them is of these pairs. A store takes more "
            "records of the same source; for others, give another --out."
        )
    if damage := store.find_damage():
        shard, fault = next(iter(damage.items()))
        log.warning(
            "%d damaged shards in %s (%s: %s): their %d embeddings are made again",
            len(damage), store.folder, shard, fault, store.forget(damage),
        )  # fmt: skip
    return [(record, pair) for record, pair in wanted.items() if not is_there(record)]


def _make_all(
    workshop: WorkerSpec,
    loaded: LoadedModel,
    engine: str,
    store: EmbeddingStore,
    wanted: Mapping[str, Pair],
    todo: list[Job],
) -> None:
    """Solve everything in `todo`; store it in shards as it finishes."""
    copies = workshop.config.copies
    there = [key for record in wanted.keys() - dict(todo).keys() for key in _keys(record, copies)]
    before = [store.entries[key] for key in there if key in store.entries]
    writer = ShardWriter(store, before)
    speakable = []
    for record, pair in todo:
        if _has_tokens(loaded, pair.phrase):
            speakable.append((record, pair))
        else:
            fault = "the tokenizer knows no part of the phrase"
            writer.add(Task(record=record, turns=[[]] * copies, embeddings=torch.empty(copies, 0), failed=fault))
    if engine == "ray":
        from seawall.synthesis.cluster import solve_ray

        if not is_placed(loaded.model):
            loaded.model.to("meta")  # the actors load their own; the driver has no more use for the weights
        stream = solve_ray(workshop, speakable)
    else:
        stream = solve_local(workshop, loaded, speakable)
    unspeakable = copies * (len(todo) - len(speakable))
    with track("synthesizing", copies * len(wanted), done=len(before) + unspeakable) as bar:
        try:
            for task in stream if speakable else ():
                writer.add(task)
                bar.advance(copies, note=writer.describe())
        finally:  # an error or Ctrl-C must not lose what is done
            writer.write()


def _has_tokens(loaded: LoadedModel, phrase: str) -> bool:
    tokenizer = loaded.chat.tokenizer
    return any(token != tokenizer.unk_token_id for token in tokenizer(phrase, add_special_tokens=False)["input_ids"])


def _require_verified(summary: dict[str, Any], store: EmbeddingStore) -> None:
    """Raise ArtifactError where not one embedding is verified."""
    if summary["verified"]:
        return
    reasons = {entry.failed for entry in store.entries.values() if entry.failed}
    failed = f" {summary['failed']} failed: {'; '.join(sorted(reasons)[:3])}." if reasons else ""
    raise ArtifactError(
        f"Not one of {summary['embeddings']} embeddings could be verified: the model does not name the phrases when asked.{failed} "
        "With another --out, allow more --max-steps or lower --threshold, or check that the model answers questions about real media."
    )
