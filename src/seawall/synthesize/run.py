"""The run of `synthesize`: what is to do, optimised, verified, stored; what is done already is left alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seawall.artifacts import claim, finish, hash_file, hash_listing, read_json, read_modality, read_pairs, write_json
from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK
from seawall.models.load import Loaded, load_model
from seawall.progress import track
from seawall.store import EmbeddingStore
from seawall.synthesize import SynthesizeConfig
from seawall.synthesize.objective import controls
from seawall.synthesize.optimize import Task, optimize
from seawall.synthesize.verify import verify
from seawall.synthesize.warmstart import choose_start, encode_media, find_media

SUMMARY = "synthesis.json"


def run(model: str, pairs: Path, out: Path, config: SynthesizeConfig, bank: Path | None) -> dict[str, Any]:
    """See `seawall.synthesize`."""
    if config.start == "bank" and bank is None:
        raise ConfigError("The start 'bank' needs a folder of harmless media (--bank DIR); or choose --start blank.")
    chosen = [pair for pair in read_pairs(pairs) if config.twins or pair["kind"] == "harmful"]
    modality = read_modality(pairs)
    media = find_media(bank, modality) if config.start == "bank" else [BLANK]
    loaded = load_model(model, modality=modality)
    inputs = {
        "model": loaded.fingerprint,
        "pairs": hash_file(pairs / "pairs.jsonl"),
        "bank": hash_listing(media) if config.start == "bank" else BLANK,
    }
    if claim(out, "synthesize", config, inputs):
        return read_json(out / SUMMARY)
    started = time.perf_counter()
    store = EmbeddingStore(out)
    starts = encode_media(loaded, media)
    todo = deque(
        (f"{pair['id']}#{copy}", pair)
        for copy in range(config.copies)
        for pair in chosen
        if f"{pair['id']}#{copy}" not in store.entries
    )
    _make_all(loaded, store, todo, starts, config)
    summary = _summarise(store, chosen, time.perf_counter() - started)
    if not summary["vsr"]:
        raise ArtifactError(
            f"Not one of {summary['embeddings']} embeddings could be verified: the model does not name the phrases when asked. "
            "With another --out, allow more --max-steps or lower --threshold, or check that the model answers questions about real media."
        )
    write_json(out / SUMMARY, summary)
    finish(out, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary


def _make_all(loaded: Loaded, store: EmbeddingStore, todo: deque, starts: Tensor, config: SynthesizeConfig) -> None:
    """Optimise and verify everything in `todo`; what fails verification goes back to it with another start."""
    pair_of: dict[str, dict] = {}
    retries: deque[Task] = deque()
    scale = starts.std().item()

    def tasks() -> Iterator[Task]:
        while todo or retries:
            if retries:
                yield retries.popleft()
                continue
            key, pair = todo.popleft()
            pair_of[key] = pair
            yield _new_task(key, pair, loaded, starts, config, attempt=1)

    done: list[Task] = []

    def settle() -> None:
        """Verify what is done; store what passed or ran out of starts."""
        if not done:
            return
        passed = verify(loaded, torch.stack([task.embedding for task in done]), [pair_of[t.key] for t in done])
        final = []
        for task, ok in zip(done, passed, strict=True):
            task.verified = ok
            if ok or task.starts >= config.starts:
                final.append(task)
            else:
                again = _new_task(task.key, pair_of[task.key], loaded, starts, config, attempt=task.starts + 1)
                again.steps_before = task.steps_before + task.steps
                retries.append(again)
        done.clear()
        if final:
            store.append(
                {task.key: task.embedding for task in final}, [_facts(task, pair_of[task.key]) for task in final]
            )
        bar.advance(len(final))

    with track("synthesizing", len(todo)) as bar:
        while todo or retries:
            try:
                for task in optimize(
                    loaded,
                    tasks(),
                    rate=config.rate * scale,
                    threshold=config.threshold,
                    max_steps=config.max_steps,
                    batch_size=config.batch_size,
                ):
                    done.append(task)
                    if len(done) >= 2 * config.batch_size:
                        settle()
            finally:  # an error or Ctrl-C must not lose what is done
                settle()


def _new_task(key: str, pair: dict, loaded: Loaded, starts: Tensor, config: SynthesizeConfig, attempt: int) -> Task:
    seed = f"{config.seed}/{key}/{attempt}"
    content, style = controls(pair, config.content_questions, loaded.family.modality, seed)
    return Task(key=key, turns=content, style=style, embedding=choose_start(starts, seed), starts=attempt)


def _facts(task: Task, pair: dict) -> dict[str, Any]:
    return {
        "key": task.key,
        "record": pair["id"],
        "kind": pair["kind"],
        "verified": task.verified,
        "steps": task.steps_before + task.steps,
        "starts": task.starts,
        "curve": [round(value, 4) for value in task.curve],
    }


def _summarise(store: EmbeddingStore, pairs: list[dict], seconds: float) -> dict[str, Any]:
    entries = list(store.entries.values())
    return {
        "records": len(pairs),
        "embeddings": len(entries),
        "vsr": sum(entry.verified for entry in entries) / max(1, len(entries)),
        "steps_mean": sum(entry.steps for entry in entries) / max(1, len(entries)),
        "seconds": seconds,
        "seconds_per_embedding": seconds / max(1, len(entries)),
    }
