"""Benchmarks as downloaded -> items: one table of readers for the tasks of Inspect and for `seawall evaluate` (docs/benchmarks.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.errors import ConfigError
from seawall.evaluation.benchmarks.registry import images, va_safetybench, xstest
from seawall.store.items import Item
from seawall.evaluation.benchmarks.source import open_data
from seawall.store.items import NEUTRAL


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How a benchmark is read."""

    read: Callable[..., list[Item]]
    """Takes the folder, prompt types, scenarios (None: all) and what else `options` names."""
    options: tuple[str, ...] = ()


READERS: dict[str, Benchmark] = {
    "va_safetybench_video": Benchmark(read=va_safetybench.read_video),
    "va_safetybench_audio": Benchmark(read=va_safetybench.read_audio),
    "mm_safetybench": Benchmark(read=images.read_mm_safetybench, options=("tiny",)),
    "figstep": Benchmark(read=images.read_figstep),
    "xstest": Benchmark(read=xstest.read_xstest),
    "mossbench": Benchmark(read=images.read_mossbench),
}


def read_benchmark(
    name: str,
    data: Path,
    *,
    types: Sequence[str] | None = None,
    scenarios: Sequence[str] | None = None,
    understanding: bool = False,
    **options: Any,
) -> list[Item]:
    """Return the items of a benchmark.

    Args:
        name: A key of `READERS`.
        data: Its folder or zip file, as downloaded.
        types: Only these prompt types.
        scenarios: Only these scenarios.
        understanding: Ask beside each attack what its medium shows, too.
        options: Of this benchmark alone; those that are False are as if not given.

    Raises:
        ConfigError: A benchmark, prompt type, scenario or option that there is not.
        DataError: Files are missing or broken.
    """
    if name not in READERS:
        raise ConfigError(f"There is no benchmark {name!r}. Known: {', '.join(READERS)}.")
    given = {option: value for option, value in options.items() if value}
    if strange := set(given) - set(READERS[name].options):
        raise ConfigError(f"The benchmark {name!r} has no option {', '.join(sorted(strange))}.")
    items = READERS[name].read(open_data(data), types, scenarios, **given)
    return items + ask_what_is_there(items) if understanding else items


def ask_what_is_there(items: Sequence[Item]) -> list[Item]:
    """Return the neutral question about each medium whose phrase is known: its answer tells whether the model understood."""
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
