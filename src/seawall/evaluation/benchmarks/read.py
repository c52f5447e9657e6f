"""Reading a benchmark, or a part of it, into items."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.benchmarks.source import open_data
from seawall.evaluation.config import BenchmarkConfig
from seawall.store.items import NEUTRAL, Item


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
    if config.understanding:
        items = items + ask_about_media(items)
    return items[: config.limit]


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
