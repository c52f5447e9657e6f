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
from seawall.store.artifacts import claim, finish, read_manifest, released_after_errors, reopen
from seawall.store.embeddings import BLANK_SIZE, MADE_FROM, EmbeddingStore, Entry
from seawall.store.files import hash_file, hash_listing, locate, read_json, write_json
from seawall.store.maintenance import SUMMARY, require_blank, summarize_entries
from seawall.store.pair import PAIRS, Pair, read_modality, read_pairs
from seawall.store.writer import BlockWriter
from seawall.synthesis.amortize import SolvedEmbeddings, find_media, leave_out_unusable
from seawall.synthesis.config import FREE, SynthesizeConfig
from seawall.synthesis.engines import BLOCKS, LostBlock, Planner, WorkerSpec, plan_blocks, recall_blocks, solve_local
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import Block

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

    The result depends on pairs, model, settings and devices, not on interruptions: records are made in blocks, and a
    block that was not finished is made again as a whole.

    Args:
        model: Registered model, folder in Hugging Face format, or hub id.
        pairs: Folder made by `prepare`.
        out: Folder for the embeddings, `synthesis.json` and `manifest.json`.
        config: Settings.
        bank: Folder of real, harmless, unlabelled media to start from.
        engine: `local` uses every visible device of this machine, `ray` every device of a Ray cluster.

    Returns:
        The summary: the number of `records` and `embeddings`, of which `verified`, `unverified` and `failed`; `vsr`
        (verified share), `steps_mean`; `seconds` of all sessions and `seconds_per_embedding`.

    Raises:
        ConfigError: `start` is `bank` but no bank is given, or the engine is `ray` and Ray is not installed.
        ArtifactError: `out` belongs to another run or is being written, the disk is full, or no embedding is verified.
        EngineError: Workers died repeatedly. Finished work is kept.
    """
    _check_request(config, bank, engine)
    modality = read_modality(pairs)
    files = find_media(bank, modality) if bank and config.start == "bank" else []
    media: list[Path | Blank] = [*files] or [BLANK]
    config = dataclasses.replace(config, copies=min(config.copies, len(media)))  # each copy needs a start of its own
    loaded = _load(model, modality, config)
    inputs = _hash_inputs(loaded, files, pairs)
    wanted = {pair.id: pair for pair in read_pairs(pairs) if config.twins or pair.kind == "harmful"}
    finished = claim(out, "synthesize", config, inputs, free=FREE, private=True)
    store = EmbeddingStore(out)
    with store.lock(), released_after_errors(out):
        todo = _find_todo(store, wanted, config.copies)
        if finished and not todo:
            return dict(read_json(out / SUMMARY))
        facts = _list_facts(out, loaded, pairs, bank if files else None)
        reopen(out, config, inputs, **facts, **{BLOCKS: recall_blocks(out, config, inputs)})
        solvable = _store_unsolvable(loaded, store, todo, config.copies)
        if solvable:
            usable = leave_out_unusable(loaded, out, bank, files, config.copies) if files and bank else media
            spec = WorkerSpec(
                model=model,
                fingerprint=loaded.fingerprint,
                modality=modality,
                media=usable,
                config=config,
                probe=next(pair for pair in wanted.values() if _has_tokens(loaded, pair.phrase)),
            )
            _make_embeddings(spec, loaded, engine, store, wanted, solvable)
        return _finish(store, wanted, config.copies)


def _load(model: str, modality: str, config: SynthesizeConfig) -> LoadedModel:
    return load_model(
        model, modality=modality, blank=config.blank, precision=config.precision, device_map=config.device_map
    )


def _list_facts(out: Path, loaded: LoadedModel, pairs: Path, bank: Path | None) -> dict[str, Any]:
    """Return what the manifest records of a run's inputs. Raise ArtifactError if `out` was begun with another blank."""
    require_blank(out, read_manifest(out), loaded.chat.blank_size)
    made_from = {"model": locate(loaded.name), "pairs": locate(pairs), "bank": locate(bank) if bank else ""}
    return {MADE_FROM: made_from, BLANK_SIZE: loaded.chat.blank_size}


def _check_request(config: SynthesizeConfig, bank: Path | None, engine: str) -> None:
    """Raise ConfigError if the bank or Ray is missing."""
    if config.start == "bank" and bank is None:
        raise ConfigError("--start bank needs a folder of harmless media. Give --bank DIR, or use --start blank.")
    if engine == "ray":
        from seawall.synthesis.cluster import import_ray

        import_ray()


def _hash_inputs(loaded: LoadedModel, files: Sequence[Path], pairs: Path) -> dict[str, str]:
    """Return the hash of each input, given the media of the bank and the folder of the pairs."""
    return {
        "model": loaded.fingerprint,
        "modality": read_modality(pairs),
        "bank": hash_listing(files) if files else BLANK.value,
        "pairs": hash_file(pairs / PAIRS),
    }


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
    _run_engine(spec, loaded, engine, store, wanted, [pair for pair in todo if pair.id in ids], "first")
    rest = [pair for pair in todo if pair.id not in ids]
    if first and rest:
        spec = dataclasses.replace(spec, solved=_read_solved(store, first, spec.config.copies))
    _run_engine(spec, loaded, engine, store, wanted, rest, "rest")


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


def _store_unsolvable(loaded: LoadedModel, store: EmbeddingStore, todo: Sequence[Pair], copies: int) -> list[Pair]:
    """Store the pairs whose phrase the tokenizer does not know as failed. Return the others."""
    solvable, entries = list[Pair](), list[Entry]()
    for pair in todo:
        if _has_tokens(loaded, pair.phrase):
            solvable.append(pair)
        else:
            fault = "the tokenizer knows no part of the phrase"
            task = Task(record=pair.id, content=[[]] * copies, embeddings=torch.empty(copies, 0), failed=fault)
            entries += [entry for entry, _ in _list_entries(store, pair, task)]
    if entries:
        store.commit(entries)
    return solvable


def _run_engine(
    spec: WorkerSpec,
    loaded: LoadedModel,
    engine: str,
    store: EmbeddingStore,
    wanted: Mapping[str, Pair],
    todo: Sequence[Pair],
    phase: Literal["first", "rest"],
) -> None:
    """Make the embeddings of `todo` in blocks and store each block when it is complete."""
    if not todo:
        return
    copies, ids = spec.config.copies, {pair.id for pair in todo}
    others = [key for record in wanted if record not in ids for key in _list_keys(record, copies)]
    finished = [store.entries[key] for key in others if key in store.entries]
    writer, left = BlockWriter(store, finished), dict[str, int]()

    def plan(fitting: int, workers: int) -> list[Block]:
        blocks = plan_blocks(store.folder, phase, todo, spec.config.batch_size or fitting, workers)
        left.update((block.name, len(block.pairs)) for block in blocks)
        return blocks

    with track("synthesizing", copies * len(wanted), done=len(finished)) as bar:
        try:
            for task in _start_engine(spec, loaded, engine, plan):
                if isinstance(task, LostBlock):
                    dropped = writer.drop(task.block)
                    left[task.block] += dropped // copies
                    bar.advance(-dropped, note=writer.describe())
                    continue
                writer.add(task.block, _list_entries(store, wanted[task.record], task))
                left[task.block] -= 1
                if not left[task.block]:
                    writer.finish(task.block)
                bar.advance(copies, note=writer.describe())
        finally:
            writer.close()


def _start_engine(
    spec: WorkerSpec, loaded: LoadedModel, engine: str, plan: Planner
) -> Iterator[Task] | Iterator[Task | LostBlock]:
    """Return the tasks of the planned blocks as the engine finishes them."""
    if engine == "ray":
        from seawall.synthesis.cluster import solve_ray

        if not is_placed(loaded.model):
            loaded.model.to("meta")  # frees its memory: each actor loads its own copy
        return solve_ray(spec, plan)
    return solve_local(spec, loaded, plan)


def _list_entries(store: EmbeddingStore, pair: Pair, task: Task) -> list[tuple[Entry, torch.Tensor | None]]:
    """Return an entry for each copy of a finished task, with its embedding or None if it failed."""
    content = store.hash_content(pair)
    entries = [
        Entry(
            key=f"{pair.id}#{copy}",
            record=pair.id,
            content=content,
            kind=pair.kind,
            verified=not task.failed and task.verified[copy],
            failed=task.failed,
            steps=task.earlier_steps + task.steps,
            attempts=task.attempt,
            curve=tuple(round(value, 4) for value in task.curve if math.isfinite(value)),
        )
        for copy in range(len(task.content))
    ]
    return [(entry, None if task.failed else task.embeddings[copy]) for copy, entry in enumerate(entries)]


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
