"""Stage 4, `evaluate`: model + adapter -> answers on real media files, verdicts, metrics."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from seawall.artifacts import read_jsonl
from seawall.errors import ConfigError
from seawall.models import Precision

BENCHMARKS = ("organism",)
ANSWERS = "answers.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of `evaluate`."""

    benchmark: Literal["organism"] = "organism"
    """Name of the benchmark; it knows the layout of the data and scores the answers."""
    system_prompt: str | None = None
    """System prompt in front of every question."""
    sets: tuple[str, ...] | None = None
    """Only these sets of items."""
    batch_size: int = 128
    """Questions in one forward pass."""
    precision: Precision | None = None
    """Of the model; see `load_model`."""
    device_map: str | None = None
    """See `load_model`."""

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise ConfigError(f"There is no benchmark {self.benchmark!r}. Known: {', '.join(BENCHMARKS)}.")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1.")


def evaluate(
    model: str, data: Path, out: Path, config: EvaluateConfig = EvaluateConfig(), *, adapter: Path | None = None
) -> dict[str, Any]:
    """Ask a model every item of a benchmark, greedily, and score the answers.

    Args:
        model: See `load_model`.
        data: Folder of the benchmark: `items.jsonl` and media files.
        out: Folder for `answers.jsonl`, `results.json` and `manifest.json`.
        config: Settings.
        adapter: PEFT adapter, made by `align`.

    Returns:
        What `results.json` holds: `metrics` and what they were measured on.

    Raises:
        DataError: The benchmark's list is broken or names a medium that cannot be read.
        ArtifactError: `out` belongs to another run.
    """
    from seawall.evaluate.run import run

    return run(model, data, out, config, adapter)


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """Return the scored answers of a finished evaluation: `id`, `set`, `form`, `phrase`, `image`, `question`, `answer`, `verdict`."""
    return [row for _, row in read_jsonl(folder / ANSWERS)]
