"""`synthesize`: decide which embeddings are missing, let an engine make them, and store them as they finish."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK, Blank
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.progress import track
from seawall.store.artifacts import claim, finish, reopen
from seawall.store.embeddings import MADE_FROM, EmbeddingStore, Entry
from seawall.store.files import hash_file, hash_listing, locate, read_json, write_json
from seawall.store.maintenance import SUMMARY, summarize_entries
from seawall.store.pair import PAIRS, Pair, read_modality, read_pairs
from seawall.store.writer import ShardWriter
from seawall.synthesis.amortize import SolvedEmbeddings, find_media
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
        engine: `local` uses every visible device of this machine, `ray` every device of a Ray cluster. The results
            are the same.

    Returns:
        The summary: the number of `records` and `embeddings`, of which `verified`, `unverified` and `failed`; `vsr`
        (verified share), `steps_mean`; `seconds` of all sessions and `seconds_per_embedding`.

    Raises:
        ConfigError: `start` is `bank` but no bank is given, or the engine is `ray` and Ray is not installed.
        ArtifactError: `out` belongs to another run or is being written, the disk is full, or no embedding is verified.
        EngineError: Workers died repeatedly. Finished work is kept.
    """
    if config.start == "bank" and bank is None:
        raise ConfigError("--start bank needs a folder of harmless media. Give --bank DIR, or use --start blank.")
    if engine == "ray":
        from seawall.synthesis.cluster import import_ray

        import_ray()  # fails early if Ray is not installed
    modality = read_modality(pairs)
    files = find_media(bank, modality) if bank and config.start == "bank" else []
    media: list[Path | Blank] = [*files] or [BLANK]
    config = dataclasses.replace(config, copies=min(config.copies, len(media)))  # each copy needs a start of its own
    loaded = load_model(model, modality=modality, precision=config.precision, device_map=config.device_map)
    inputs = {
        "model": loaded.fingerprint,
        "modality": modality,
        "bank": hash_listing(files) if files else BLANK.value,
        "pairs": hash_file(pairs / PAIRS),
    }
    wanted = {pair.id: pair for pair in read_pairs(pairs) if config.twins or pair.kind == "harmful"}
    finished = claim(out, "synthesize", config, inputs, free=FREE)
    store = EmbeddingStore(out)
    spec = WorkerSpec(model=model, fingerprint=loaded.fingerprint, modality=modality, media=media, config=config)
    with store.lock():
        todo = _find_todo(store, wanted, config.copies)
        if finished and not todo:
            summary: dict[str, Any] = read_json(out / SUMMARY)
            return summary
        made_from = {"model": locate(model), "pairs": locate(pairs), "bank": locate(bank) if files and bank else ""}
        reopen(out, config, inputs, **{MADE_FROM: made_from})
        _make_embeddings(spec, loaded, engine, store, wanted, todo)
        return _finish(store, wanted, config.copies)


def _make_embeddings(
    spec: WorkerSpec,
    loaded: LoadedModel,
    engine: str,
    store: EmbeddingStore,
    wanted: Mapping[str, Pair],
    todo: Sequence[Pair],
) -> None:
    """Make the embeddings of `todo`: those of the first records, then the others with the warm start they give."""
    first = [*wanted.values()][: spec.config.warm_start]
    ids = {pair.id for pair in first}
    if first:
        _run_engine(spec, loaded, engine, store, wanted, [pair for pair in todo if pair.id in ids])
    rest = [pair for pair in todo if pair.id not in ids]
    if first and rest:
        spec = dataclasses.replace(spec, solved=_read_solved(store, first, spec.config.copies))
    _run_engine(spec, loaded, engine, store, wanted, rest)


def _list_keys(record: str, copies: int) -> list[str]:
    return [f"{record}#{copy}" for copy in range(copies)]


def _read_solved(store: EmbeddingStore, first: Sequence[Pair], copies: int) -> SolvedEmbeddings | None:
    """Return the verified embeddings of the first records, from the store, so that a resumed run gets the same ones."""
    keys = [(key, pair) for pair in first for key in _list_keys(pair.id, copies)]
    verified = [(key, pair) for key, pair in keys if store.entries[key].verified]
    if len(verified) < 2:
        log.warning("no warm start: only %d of the first %d embeddings are verified", len(verified), len(keys))
        return None
    embeddings = torch.stack([store.read(key) for key, _ in verified])
    return SolvedEmbeddings(phrases=[pair.phrase for _, pair in verified], embeddings=embeddings)


def _find_todo(store: EmbeddingStore, wanted: Mapping[str, Pair], copies: int) -> list[Pair]:
    """Return the pairs to make: new ones, those with changed questions, and those with a damaged or missing copy.

    Raises:
        ArtifactError: The store holds embeddings, but none of these pairs.
    """

    def is_complete(pair: Pair) -> bool:
        entries = [store.entries.get(key) for key in _list_keys(pair.id, copies)]
        return all(entry and store.is_current(entry, pair) for entry in entries)

    if store.entries and not any(map(is_complete, wanted.values())):
        raise ArtifactError(
            f"{store.folder} holds {len(store.entries)} embeddings, but none of these pairs. "
            "A store can only grow by records of the same source. Give another --out."
        )
    if damage := store.find_damage():
        shard, fault = next(iter(damage.items()))
        log.warning(
            "%d damaged shards in %s (%s: %s): their %d embeddings are made again",
            len(damage), store.folder, shard, fault, store.forget(damage),
        )  # fmt: skip
    return [pair for pair in wanted.values() if not is_complete(pair)]


def _run_engine(
    spec: WorkerSpec,
    loaded: LoadedModel,
    engine: str,
    store: EmbeddingStore,
    wanted: Mapping[str, Pair],
    todo: Sequence[Pair],
) -> None:
    """Make the embeddings of `todo` and store them in shards as they finish."""
    if not todo:
        return
    copies, ids = spec.config.copies, {pair.id for pair in todo}
    others = [key for record in wanted if record not in ids for key in _list_keys(record, copies)]
    finished = [store.entries[key] for key in others if key in store.entries]
    writer = ShardWriter(store, finished)
    solvable = []
    for pair in todo:
        if _has_tokens(loaded, pair.phrase):
            solvable.append(pair)
        else:
            fault = "the tokenizer knows no part of the phrase"
            _store(
                writer,
                pair,
                Task(record=pair.id, content=[[]] * copies, embeddings=torch.empty(copies, 0), failed=fault),
            )
    done = len(finished) + copies * (len(todo) - len(solvable))
    with track("synthesizing", copies * len(wanted), done=done) as bar:
        try:
            for task in _start_engine(spec, loaded, engine, solvable):
                _store(writer, wanted[task.record], task)
                bar.advance(copies, note=writer.describe())
        finally:  # an error or Ctrl-C must not lose finished work
            writer.write()


def _start_engine(spec: WorkerSpec, loaded: LoadedModel, engine: str, pairs: Sequence[Pair]) -> Iterator[Task]:
    """Yield the tasks of pairs as the engine finishes them."""
    if not pairs:
        return
    if engine == "ray":
        from seawall.synthesis.cluster import solve_ray

        if not is_placed(loaded.model):
            loaded.model.to("meta")  # frees its memory: each actor loads its own copy
        yield from solve_ray(spec, pairs)
    else:
        yield from solve_local(spec, loaded, pairs)


def _store(writer: ShardWriter, pair: Pair, task: Task) -> None:
    """Hand every copy of a finished task to the writer."""
    for copy in range(len(task.content)):
        entry = Entry(
            key=f"{pair.id}#{copy}",
            record=pair.id,
            content=writer.store.hash_content(pair),
            kind=pair.kind,
            verified=not task.failed and task.verified[copy],
            failed=task.failed,
            steps=task.earlier_steps + task.steps,
            attempts=task.attempt,
            curve=tuple(round(value, 4) for value in task.curve if math.isfinite(value)),
        )
        writer.add(entry, None if task.failed else task.embeddings[copy])
    writer.write_if_due()


def _has_tokens(loaded: LoadedModel, phrase: str) -> bool:
    tokenizer = loaded.chat.tokenizer
    return any(token != tokenizer.unk_token_id for token in tokenizer(phrase, add_special_tokens=False)["input_ids"])


def _finish(store: EmbeddingStore, wanted: Mapping[str, Pair], copies: int) -> dict[str, Any]:
    """Write the summary, mark the run as complete, and return the summary.

    Raises:
        ArtifactError: No embedding is verified.
    """
    made = [store.entries[key] for record in wanted for key in _list_keys(record, copies)]
    summary = summarize_entries(made, store.history) | {"records": len(wanted)}
    if not summary["verified"]:
        reasons = sorted({entry.failed for entry in store.entries.values() if entry.failed})
        failed = f" {summary['failed']} failed: {'; '.join(reasons[:3])}." if reasons else ""
        raise ArtifactError(
            f"None of {summary['embeddings']} embeddings could be verified: the model does not name the phrases when "
            f"asked.{failed} Use another --out with more --max-steps or a lower --threshold, or check that the model "
            "answers questions about real media."
        )
    write_json(store.folder / SUMMARY, summary)
    finish(store.folder, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary
