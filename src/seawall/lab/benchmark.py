"""The run of `evaluate`: every item asked, every answer scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.alignment.card import add_results
from seawall.store.artifacts import claim, finish
from seawall.store.files import hash_file, read_json, read_jsonl, write_json, write_jsonl
from seawall.errors import ConfigError, DataError
from seawall.evaluation.config import ANSWERS, RESULTS, EvaluateConfig
from seawall.lab.metrics import measure
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import load_model
from seawall.media.modality import MODALITIES
from seawall.lab.world import dialogue
from seawall.lab.world.phrases import Phrase
from seawall.progress import track

ITEMS = "items.jsonl"


def run(model: str, data: Path, out: Path, config: EvaluateConfig, adapter: Path | None) -> dict[str, Any]:
    """See `seawall.evaluation.config`."""
    items = read_items(data)
    known = {item["set"] for item in items}
    if unknown := set(config.sets or ()) - known:
        raise ConfigError(
            f"{data / ITEMS} has no sets {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}."
        )
    items = [item for item in items if config.sets is None or item["set"] in config.sets]
    modality = media_column(items)
    loaded = load_model(model, adapter, modality=modality, precision=config.precision, device_map=config.device_map)
    inputs = {"model": loaded.fingerprint, "items": hash_file(data / ITEMS), "adapter": "none"}
    if adapter:
        inputs["adapter"] = hash_file(adapter / "adapter_model.safetensors")
    if claim(out, "evaluate", config, inputs):
        return read_json(out / RESULTS)
    turns = [
        Example(
            question=item["question"],
            medium=data / item[modality] if item[modality] else None,
            system=config.system_prompt,
        )
        for item in items
    ]
    with track("answering", len(turns)) as bar:
        answers = generate(loaded, turns, batch_size=config.batch_size, on_batch=bar.advance)
    rows = [
        {
            "id": item["id"],
            "set": item["set"],
            "form": item.get("form"),
            "phrase": phrase.text,
            modality: item[modality],
            "question": item["question"],
            "answer": answer,
            "verdict": dialogue.score(answer, phrase),
        }
        for item, answer in zip(items, answers, strict=True)
        for phrase in [Phrase(item["first"], item["second"], item["category"])]
    ]
    results = {"schema": 1, "benchmark": config.benchmark, "model": model, "metrics": measure([rows])}
    write_jsonl(out / ANSWERS, rows)
    write_json(out / RESULTS, results)
    if adapter:
        add_results(adapter, config.benchmark, results["metrics"])
    finish(out)
    return results


def read_items(data: Path) -> list[dict[str, Any]]:
    """Return the items of a benchmark folder.

    Raises:
        DataError: A column or a medium is missing.
    """
    items = []
    for number, item in read_jsonl(data / ITEMS):
        missing = [c for c in ("id", "set", "first", "second", "category", "question") if c not in item]
        missing += [] if set(item) & set(MODALITIES) else [f"a medium ({', '.join(MODALITIES)})"]
        if missing:
            raise DataError(f"{data / ITEMS}, line {number}, lacks {', '.join(missing)}.")
        medium = item[media_column([item])]
        if medium and not (data / medium).is_file():
            raise DataError(f"{data / ITEMS}, line {number}, names {medium}, which is not in {data}.")
        items.append(item)
    return items


def media_column(items: Sequence[dict[str, Any]]) -> str:
    """Return the modality of a benchmark: the name of the column that holds its media.

    Raises:
        DataError: There are several.
    """
    found = sorted({name for item in items for name in MODALITIES if name in item})
    if len(found) > 1:
        raise DataError(f"The items have media of several modalities ({', '.join(found)}). Evaluate one at a time.")
    return found[0]
