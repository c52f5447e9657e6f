"""The run of `synthesize`: what is to do, handed to an engine, stored as it finishes; what is done already is left alone."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch

from seawall import phrasing
from seawall.artifacts import (
    claim,
    finish,
    hash_file,
    hash_listing,
    hash_text,
    read_json,
    read_modality,
    read_pairs,
    reopen,
    write_json,
)
from seawall.embeddings import SUMMARY, summarise
from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK
from seawall.models.load import Loaded, is_placed, load_model
from seawall.progress import track
from seawall.store import EmbeddingStore
from seawall.synthesize import FREE, SynthesizeConfig
from seawall.synthesize.engines import Workshop, solve_local
from seawall.synthesize.optimize import Task
from seawall.synthesize.solve import Job
from seawall.synthesize.warmstart import find_media
from seawall.synthesize.writer import Writer

log = logging.getLogger(__name__)


def run(model: str, pairs: Path, out: Path, config: SynthesizeConfig, bank: Path | None, engine: str) -> dict[str, Any]:
    """See `seawall.synthesize`."""
    if config.start == "bank" and bank is None:
        raise ConfigError("The start 'bank' needs a folder of harmless media (--bank DIR); or choose --start blank.")
    if engine == "ray":
        from seawall.synthesize.cluster import import_ray

        import_ray()  # before anything is loaded or claimed
    chosen = [pair for pair in read_pairs(pairs) if config.twins or pair["kind"] == "harmful"]
    modality = read_modality(pairs)
    media = find_media(bank, modality) if config.start == "bank" else [BLANK]
    config = dataclasses.replace(config, copies=min(config.copies, len(media)))  # from one start there is one embedding
    loaded = load_model(model, modality=modality, precision=config.precision, device_map=config.device_map)
    said = phrasing.sentences(modality)
    inputs = {
        "model": loaded.fingerprint,
        "modality": modality,
        "questions": hash_text(repr((said.content_questions, said.held_out_questions))),
        "bank": hash_listing(media) if config.start == "bank" else BLANK,
        "pairs": hash_file(pairs / "pairs.jsonl"),
    }
    wanted = {pair["id"]: pair for pair in chosen}
    finished = claim(out, "synthesize", config, inputs, free=FREE)
    store = EmbeddingStore(out)
    with store.lock():
        todo = _find_todo(store, wanted, config.copies)
        if finished and not todo:
            return read_json(out / SUMMARY)
        reopen(out, config, inputs)
        workshop = Workshop(model=model, fingerprint=loaded.fingerprint, modality=modality, media=media, config=config)
        if config.warm_start:
            first = dict([*wanted.items()][: config.warm_start])
            _make_all(workshop, loaded, engine, store, wanted, [job for job in todo if job[0] in first])
            todo = [job for job in todo if job[0] not in first]
            if todo:
                workshop = dataclasses.replace(workshop, block=_read_block(store, first, config.copies))
        _make_all(workshop, loaded, engine, store, wanted, todo)
        made = [store.entries[key] for record in wanted for key in _keys(record, config.copies)]
        summary = summarise(made, store.history) | {"records": len(chosen)}
        _require_verified(summary, store)
        write_json(out / SUMMARY, summary)
        finish(out, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary


def _keys(record: str, copies: int) -> list[str]:
    return [f"{record}#{copy}" for copy in range(copies)]


def _read_block(
    store: EmbeddingStore, first: dict[str, dict[str, Any]], copies: int
) -> tuple[list[str], torch.Tensor] | None:
    """Return the verified part of the first block, from the store: the same whether it was made just now or before."""
    keys = [(key, pair) for record, pair in first.items() for key in _keys(record, copies)]
    verified = [(key, pair) for key, pair in keys if store.entries[key].verified]
    if len(verified) < 2:
        log.warning("no warm start: %d of %d embeddings of the first block are verified", len(verified), len(keys))
        return None
    return [pair["phrase"] for _, pair in verified], torch.stack([store.read(key) for key, _ in verified])


def _find_todo(store: EmbeddingStore, wanted: dict[str, dict[str, Any]], copies: int) -> list[Job]:
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
    workshop: Workshop,
    loaded: Loaded,
    engine: str,
    store: EmbeddingStore,
    wanted: dict[str, dict[str, Any]],
    todo: list[Job],
) -> None:
    """Solve everything in `todo`; store it in shards as it finishes."""
    copies = workshop.config.copies
    there = [key for record in wanted.keys() - dict(todo).keys() for key in _keys(record, copies)]
    before = [store.entries[key] for key in there if key in store.entries]
    writer = Writer(store, wanted, before)
    speakable = []
    for record, pair in todo:
        if _has_tokens(loaded, pair["phrase"]):
            speakable.append((record, pair))
        else:
            fault = "the tokenizer knows no part of the phrase"
            writer.add(Task(record=record, turns=[[]] * copies, embeddings=torch.empty(copies, 0), failed=fault))
    if engine == "ray":
        from seawall.synthesize.cluster import solve_ray

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


def _has_tokens(loaded: Loaded, phrase: str) -> bool:
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
