"""The run of `align`: rows collected and planned, trained, written down with a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.align import AlignConfig
from seawall.align.mixture import MEDIA_LIST, collect_rows, keep_preferences, plan
from seawall.align.trainers import train
from seawall.artifacts import claim, finish, hash_file, read_json, read_modality, read_pairs, write_json
from seawall.models.load import load_model
from seawall.store import EmbeddingStore, open_store

SUMMARY = "training.json"


def run(
    model: str, pairs: Path, embeddings: Path | None, out: Path, config: AlignConfig, media: Sequence[Path]
) -> dict[str, Any]:
    """See `seawall.align`."""
    text = read_pairs(pairs)
    loaded = load_model(model, modality=read_modality(pairs), precision=config.precision, device_map=config.device_map)
    store = open_store(embeddings, loaded.fingerprint) if embeddings else None
    rows = collect_rows(text, store, media, loaded.family.modality)
    if config.method == "dpo":
        rows = keep_preferences(rows, config.mixture)
    planned = plan(rows, config.mixture, config.steps, config.batch_size, config.seed)
    inputs = {"model": loaded.fingerprint, "pairs": hash_file(pairs / "pairs.jsonl")}
    if embeddings:
        inputs["embeddings"] = hash_file(embeddings / EmbeddingStore.INDEX)
    inputs |= {f"media {n}": hash_file(folder / MEDIA_LIST) for n, folder in enumerate(media)}
    if claim(out, "align", config, inputs):
        return read_json(out / SUMMARY)
    history = train(loaded, planned, store, out, config)
    counts = config.mixture.counts(config.batch_size)
    summary = {
        "rows": {name: {"available": len(rows[name]), "in_a_batch": number} for name, number in counts.items()},
        "loss": [[entry["step"], entry["loss"]] for entry in history if "loss" in entry],
    }
    write_json(out / SUMMARY, summary)
    (out / "README.md").write_text(_card(model, config, summary), encoding="utf-8")
    finish(out)
    return summary


def _card(model: str, config: AlignConfig, summary: dict[str, Any]) -> str:
    components = "\n".join(f"| {n} | {c['available']} | {c['in_a_batch']} |" for n, c in summary["rows"].items())
    return f"""---
base_model: {model}
library_name: peft
---
# Safety adapter, made with Seawall

LoRA (rank {config.lora_rank}) on the language model of `{model}`, {config.steps} steps of {config.batch_size} rows, learning
rate {config.learning_rate}, seed {config.seed}. Trained to refuse harmful requests that arrive through media.

| component | rows available | rows in a batch |
|---|---|---|
{components}

Its attack success and over-refusal are not in this card: measure both with `seawall evaluate` before any use.
"""
