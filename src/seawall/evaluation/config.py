"""Settings of `evaluate`: what is asked, and how."""

from __future__ import annotations

import dataclasses
from typing import Any

from seawall.errors import ConfigError
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.models.families import Precision

RESULTS = "results.json"
JUDGES = "judges"
"""Name under which a manifest's inputs record the judges."""
FREE = (
    JUDGES,
    "items",
    "types",
    "scenarios",
    "tiny",
    "understanding",
    "limit",
    "log_media",
    "batch_size",
    "device_map",
)
"""Settings and inputs that may change when a run is continued. Each answer and verdict is kept under what was asked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is asked: a benchmark, or a part of it."""

    benchmark: str
    """Name of the benchmark, which decides the layout of the data (docs/how_to/benchmarks.md)."""
    types: tuple[str, ...] | None = None
    """Ask only these prompt types, such as TYPO. None asks all."""
    scenarios: tuple[str, ...] | None = None
    """Ask only these scenarios. None asks all."""
    tiny: bool = False
    """Ask only the authors' smaller selection. `mm_safetybench` has one."""
    understanding: bool = False
    """Also ask what each medium shows, to measure attack success on the media that the model understood. It needs the
    phrases, which `seawall build` writes."""
    limit: int | None = None
    """Ask only this many items, the first ones. None asks all."""

    def __post_init__(self) -> None:
        options = BENCHMARKS.find(self.benchmark).options
        if self.tiny and "tiny" not in options:
            raise ConfigError(f"The benchmark {self.benchmark!r} has no option tiny. Leave it out.")
        _require_at_least_1(self, "limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How the model is asked."""

    system_prompt: str | None = None
    """System prompt, in place of the benchmark's own, if it has one. None keeps that; an empty text removes it."""
    max_tokens: int = 300
    """Maximum tokens of an answer. 300 is the reference setting of VA-SafetyBench."""
    batch_size: int = 128
    """Questions in one forward pass. Halved when memory runs out."""
    precision: Precision | None = None
    """Precision of the model. Default: that of the checkpoint. `4bit` quantises the language model only."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""
    log_media: bool = True
    """Keep images in Inspect's log, so that `inspect view` shows them. They make the log large."""

    def __post_init__(self) -> None:
        _require_at_least_1(self, "max_tokens", "batch_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(EvaluateConfig, BenchmarkConfig):
    """All settings of a run, as its manifest records them."""

    @classmethod
    def join(cls, benchmark: BenchmarkConfig, config: EvaluateConfig) -> RunSettings:
        """Return the settings of both configs."""
        return cls(**dataclasses.asdict(benchmark), **dataclasses.asdict(config))


def _require_at_least_1(config: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(config, name)) is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
