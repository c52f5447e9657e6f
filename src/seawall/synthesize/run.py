"""The run of `synthesize`: what is to do, optimised, verified, stored; what is done already is left alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from seawall.artifacts import claim, finish, hash_file, hash_listing, read_json, read_modality, read_pairs, write_json
from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK
from seawall.models.load import Loaded, load_model
from seawall.progress import track
from seawall.store import EmbeddingStore
from seawall.synthesize import SynthesizeConfig
from seawall.synthesize.optimize import Task
from seawall.synthesize.solve import Job, solve
from seawall.synthesize.warmstart import encode_media, find_media

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
    todo = [
        (f"{pair['id']}#{copy}", pair)
        for copy in range(config.copies)
        for pair in chosen
        if f"{pair['id']}#{copy}" not in store.entries
    ]
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


def _make_all(loaded: Loaded, store: EmbeddingStore, todo: list[Job], starts: Tensor, config: SynthesizeConfig) -> None:
    """Solve everything in `todo`; store it in shards as it finishes."""
    pair_of = dict(todo)
    done: list[Task] = []

    def put() -> None:
        if done:
            store.append({t.key: t.embedding for t in done}, [_facts(t, pair_of[t.key]) for t in done])
            done.clear()

    with track("synthesizing", len(todo)) as bar:
        try:
            for task in solve(loaded, todo, starts, config):
                done.append(task)
                bar.advance()
                if len(done) >= config.batch_size:
                    put()
        finally:  # an error or Ctrl-C must not lose what is done
            put()


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
