"""Reading a benchmark, or a part of it, into items."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.benchmarks.source import open_data
from seawall.evaluation.config import BenchmarkConfig
from seawall.evaluation.controls import add_controls
from seawall.store.items import NEUTRAL, Item

log = logging.getLogger(__name__)


def read_benchmark(config: BenchmarkConfig, data: Path) -> list[Item]:
    """Return the items of a benchmark.

    Args:
        config: Which benchmark, and which part of it.
        data: Its folder or zip file, as downloaded.

    Raises:
        ConfigError: A prompt type or scenario that the benchmark does not have.
        DataError: Files are missing or broken.
    """
    benchmark = BENCHMARKS.find(config.benchmark)
    options: dict[str, Any] = {name: value for name in benchmark.options if (value := getattr(config, name))}
    items = benchmark.read(open_data(data), config.types, config.scenarios, **options)
    items = spread(items, config.limit)  # each one keeps its question about the content and its controls
    asked = ask_about_media(items) if config.understanding else []
    return [*add_controls(items, config.controls), *asked]


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return at most `limit` items, in their order, spread evenly over scenarios and prompt types.

    Args:
        items: Items of a benchmark.
        limit: Maximum number. None returns all.
    """
    if limit is None or limit >= len(items):
        return list(items)
    by_scenario: dict[str, dict[str, list[Item]]] = {}
    for item in items:
        by_scenario.setdefault(item.scenario, {}).setdefault(item.prompt_type, []).append(item)
    queues = []
    for number, by_type in enumerate(by_scenario.values()):
        first = number % len(by_type)  # each scenario begins with another type
        types = [*by_type.values()]
        queues.append(_take_in_turn([*types[first:], *types[:first]]))
    chosen = {id(item) for item in itertools.islice(_take_in_turn(queues), limit)}
    return [item for item in items if id(item) in chosen]


def _take_in_turn(groups: Sequence[Iterable[Item]]) -> Iterator[Item]:
    """Yield the first item of each group, then the second of each, and so on."""
    for row in itertools.zip_longest(*groups):
        yield from (item for item in row if item is not None)


def set_system_prompt(items: Sequence[Item], text: str | None) -> list[Item]:
    """Return items with a system prompt, and log a warning if it replaces or removes one that the benchmark has.

    Args:
        items: Items of a benchmark.
        text: The system prompt. None keeps those of the benchmark, an empty text removes them.
    """
    if text is None:
        return list(items)
    if replaced := sum(bool(item.system) and item.system != text for item in items):
        what = "is replaced by the one that is given" if text else "is removed"
        log.warning("The benchmark's own system prompt of %d of %d questions %s.", replaced, len(items), what)
    return [dataclasses.replace(item, system=text) for item in items]


def ask_about_media(items: Sequence[Item]) -> list[Item]:
    """Return a neutral question for each medium whose phrase is known. Its answer shows if the model understood it."""
    asked = []
    for item in items:
        if not (item.modality and item.phrase):
            continue
        question = prompts.get_sentences(item.modality).content_questions[0]
        text = prompts.format_question(question, item.modality, "activity")
        asked.append(
            dataclasses.replace(
                item, id=f"{item.id}/{NEUTRAL}", text=text, prompt_type=NEUTRAL, shows=item.prompt_type, harmful=False
            )
        )
    return asked
