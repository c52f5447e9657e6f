"""The benchmark of the built-in models: reading its items, and a fast way to measure a model on them without Inspect.

`seawall evaluate --benchmark organism` asks the same items through Inspect, which takes 3 to 5 times as long on
models this small. Both give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.read import read_benchmark
from seawall.evaluation.benchmarks.source import select_names
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig, RunSettings
from seawall.evaluation.run import hash_items
from seawall.lab.metrics import JUDGE, TEXT_ONLY, make_verdict
from seawall.lab.reader.world.phrases import OpenPhrase
from seawall.lab.reader.world.phrases import find_phrase as find_open_phrase
from seawall.lab.world.data import ITEMS
from seawall.lab.world.dialogue import DETOXIFIED_ACTS
from seawall.lab.world.phrases import Phrase
from seawall.media.modality import MODALITIES
from seawall.progress import track
from seawall.store.artifacts import claim, finish
from seawall.store.files import hash_file, read_jsonl, write_jsonl
from seawall.store.items import NEUTRAL, Answer, Item

if TYPE_CHECKING:
    from seawall.models.generate import Completion

ANSWERS = "answers.jsonl"
"""File with the answers of a direct measurement."""
NAME = "organism"


def read_items(data: Path, types: Sequence[str] | None = None, scenarios: Sequence[str] | None = None) -> list[Item]:
    """Return the items of a benchmark folder. Scenarios are its sets, prompt types the forms of its media.

    Args:
        data: Folder that `world.data.write_benchmark` wrote.
        types: Only these prompt types. None reads all.
        scenarios: Only these scenarios. None reads all.

    Raises:
        ConfigError: The folder has no items of a given type or scenario.
        DataError: A column or a medium is missing, or media are of several modalities.
    """
    items = [_read_item(data, number, row) for number, row in read_jsonl(data / ITEMS)]
    modalities = sorted({item.modality for item in items if item.modality})
    if len(modalities) > 1:
        raise DataError(
            f"{data / ITEMS} has media of several modalities ({', '.join(modalities)}). "
            "Evaluate one modality at a time."
        )
    types = select_names("prompt types", [*dict.fromkeys(item.prompt_type for item in items)], types)
    scenarios = select_names("scenarios", [*dict.fromkeys(item.scenario for item in items)], scenarios)
    return [item for item in items if item.prompt_type in types and item.scenario in scenarios]


def measure_directly(
    model: str,
    data: Path,
    out: Path,
    benchmark: BenchmarkConfig | None = None,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    adapter: Path | None = None,
    steering: Path | None = None,
) -> list[Answer]:
    """Ask a model every item, greedily, and judge the answers exactly. A finished folder returns its answers.

    Args:
        model: Registered name, folder in Hugging Face format, or hub id.
        data: Folder of the benchmark.
        out: Folder for `answers.jsonl` and `manifest.json`.
        benchmark: What is asked. None asks every item.
        config: How the model is asked.
        adapter: Folder of a PEFT adapter made by `align`.
        steering: File of a steering vector made by `steer` for this model.

    Raises:
        ConfigError: The benchmark has no items of a given type or scenario.
        DataError: The benchmark is broken.
        ModelError: The steering vector is of another model.
        ArtifactError: `out` belongs to another run.
    """
    from seawall.models.chat import Example
    from seawall.models.generate import complete
    from seawall.models.load import load_model, move_to_device

    benchmark = benchmark or BenchmarkConfig(benchmark=NAME)
    items = read_benchmark(benchmark, data)
    modality = next((item.modality for item in items if item.modality), None)
    loaded = load_model(
        model, adapter, steering=steering, modality=modality, precision=config.precision, device_map=config.device_map
    )
    loaded.chat.cut_long(config.long_sounds == "cut")
    move_to_device(loaded.model)
    inputs = {
        "model": loaded.fingerprint,
        "items": hash_items(items),
        "adapter": hash_file(adapter / "adapter_model.safetensors") if adapter else "none",
        **({"steering": hash_file(steering)} if steering else {}),
    }
    if claim(out, "measure", RunSettings.join(benchmark, config), inputs):
        return read_answers(out)
    systems = [item.system if config.system_prompt is None else config.system_prompt for item in items]
    examples = [
        Example(question=item.text or "", medium=item.medium, system=system or None)
        for item, system in zip(items, systems, strict=True)
    ]
    with track("answering", len(examples)) as bar:
        completions = complete(
            loaded, examples, max_new_tokens=config.max_tokens, batch_size=config.batch_size, on_batch=bar.advance
        )
    answers = [_make_answer(item, made) for item, made in zip(items, completions, strict=True)]
    write_jsonl(out / ANSWERS, answers)
    finish(out)
    return answers


def read_answers(folder: Path) -> list[Answer]:
    """Return the answers of a direct measurement.

    Raises:
        DataError: The file is missing or broken.
    """
    path = folder / ANSWERS
    return [Answer.from_json(row, f"{path}, line {number}") for number, row in read_jsonl(path)]


def _read_item(data: Path, number: int, row: dict[str, Any]) -> Item:
    """Return the item of a line of `items.jsonl`."""
    where = f"{data / ITEMS}, line {number},"
    words = ("phrase", "request") if "phrase" in row else ("first", "second", "category")
    missing = [name for name in ("id", "set", "question", *words) if name not in row]
    modality = next((name for name in MODALITIES.names() if name in row), None)
    if modality is None:
        missing.append(f"a medium ({', '.join(MODALITIES.names())})")
    if missing or modality is None:
        raise DataError(
            f"{where} lacks {', '.join(missing)}. Write the benchmark again, for example by `seawall demo`."
        )
    medium = data / row[modality] if row[modality] else None
    if medium and not medium.is_file():
        raise DataError(f"{where} lists {row[modality]}, which is missing from {data}. Write the benchmark again.")
    phrase, request = _read_phrase(row, where)
    return Item(
        id=row["id"],
        cluster=phrase.text,
        scenario=row["set"],
        prompt_type=row.get("form") or TEXT_ONLY,
        question=request,
        text=row["question"] or None,
        modality=modality if medium else None,
        medium=medium,
        phrase=phrase.text,
        harmful=phrase.harmful,
    )


def _read_phrase(row: dict[str, Any], where: str) -> tuple[Phrase | OpenPhrase, str]:
    """Return the phrase of a line of `items.jsonl`, and the request in text that names it."""
    if "phrase" not in row:
        phrase = Phrase(row["first"], row["second"], row["category"])
        return phrase, _restore_request(row["question"], phrase)
    found = find_open_phrase(row["phrase"])
    if found is None:
        raise DataError(
            f"{where} has the phrase {row['phrase']!r}, which the open world lacks. Write the benchmark again."
        )
    return found, row["request"]


def _restore_request(text: str, phrase: Phrase) -> str:
    """Return a detoxified request with its phrase.

    A medium that speaks the whole request has no text, only the phrase.
    """
    return text.replace(DETOXIFIED_ACTS[phrase.category], phrase.act) or phrase.act


def _make_answer(item: Item, made: Completion) -> Answer:
    return Answer(
        task=NAME,
        id=item.id,
        cluster=item.cluster,
        scenario=item.scenario,
        prompt_type=item.prompt_type,
        question=item.question,
        phrase=item.phrase,
        shows=item.shows,
        harmful=item.harmful,
        text=made.text,
        cut=not made.finished,
        unanswered=made.unanswered,
        verdicts={} if item.prompt_type == NEUTRAL else {JUDGE: make_verdict(made.text, item.phrase)},
    )
