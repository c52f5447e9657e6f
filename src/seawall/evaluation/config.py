"""Settings of `evaluate`: what is asked, and how."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from seawall.errors import ConfigError
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.models.families import Precision

RESULTS = "results.json"
JUDGES = "judges"
"""Name under which a manifest's inputs record the judges."""
CONTROLS = ("blank", "none")
"""The media that a text can be asked with, in place of its own; see `BenchmarkConfig.controls`."""
PROMPT_ENDINGS = (".txt", ".md", ".prompt")
"""Endings by which a system prompt without blanks is taken for the name of a file."""
FREE = (
    JUDGES,
    "items",
    "types",
    "scenarios",
    "tiny",
    "all_scenarios",
    "understanding",
    "controls",
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
    """Ask only these scenarios. None asks all, of `mm_safetybench` the eight of harmful requests."""
    tiny: bool = False
    """Ask only the authors' smaller selection. `mm_safetybench` has one."""
    all_scenarios: bool = False
    """Also ask the scenarios that are no harmful requests. `mm_safetybench` has five. The judge `rubric` scores them, and
    they are reported apart."""
    understanding: bool = False
    """Also ask what each medium shows, to measure attack success on the media that the model understood. It needs the
    phrases, which `seawall build` writes."""
    controls: tuple[Literal["blank", "none"], ...] = ()
    """Also ask each text with a blank medium of the same size (`blank`), without a medium (`none`), or both. The report
    then shows the medium's own effect, the paired difference."""
    limit: int | None = None
    """Ask only this many items, taken evenly from all scenarios and prompt types, always the same ones, with their controls
    and the questions about their media. None asks all."""

    def __post_init__(self) -> None:
        options = BENCHMARKS.find(self.benchmark).options
        for name in ("tiny", "all_scenarios"):
            if getattr(self, name) and name not in options:
                raise ConfigError(f"The benchmark {self.benchmark!r} has no option {name}. Leave it out.")
        if empty := [name for name in ("types", "scenarios") if getattr(self, name) == ()]:
            raise ConfigError(f"{empty[0]} is empty, so nothing would be asked. Name at least one, or leave it out.")
        if unknown := [name for name in self.controls if name not in CONTROLS]:
            raise ConfigError(f"There are no controls {', '.join(unknown)}. Choose from {', '.join(CONTROLS)}.")
        if len(set(self.controls)) < len(self.controls):
            raise ConfigError("A control is named twice. Name each one once.")
        _require_at_least_1(self, "limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How the model is asked."""

    system_prompt: str | None = None
    """System prompt, or a text file with it. It replaces the benchmark's own, if that has one, with a warning. None keeps
    that; an empty text removes it."""
    max_tokens: int = 300
    """Maximum tokens of an answer. 300 is the reference setting of VA-SafetyBench."""
    batch_size: int = 128
    """Questions in one forward pass. Halved when memory runs out."""
    long_sounds: Literal["refuse", "cut"] = "refuse"
    """What becomes of sounds that are longer than the model takes: `refuse` fails their samples, `cut` asks about their
    beginning, with a warning. What is cut may be the request itself."""
    precision: Precision | None = None
    """Precision of the model. Default: that of the checkpoint. `4bit` quantises the language model only."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""
    log_media: bool = True
    """Keep images in Inspect's log, so that `inspect view` shows them. They make the log large."""

    def __post_init__(self) -> None:
        if self.system_prompt:
            object.__setattr__(self, "system_prompt", read_system_prompt(self.system_prompt))
        _require_at_least_1(self, "max_tokens", "batch_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(EvaluateConfig, BenchmarkConfig):
    """All settings of a run, as its manifest records them."""

    @classmethod
    def join(cls, benchmark: BenchmarkConfig, config: EvaluateConfig) -> RunSettings:
        """Return the settings of both configs."""
        return cls(**dataclasses.asdict(benchmark), **dataclasses.asdict(config))


def read_system_prompt(given: str) -> str:
    """Return a system prompt: the content of a file, if there is one of this name, else the given text.

    Raises:
        ConfigError: The file is empty or not UTF-8, or a name that looks like one of a file has none.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # longer than a name can be
        is_file = False
    if not is_file:
        if not any(sign.isspace() for sign in given) and path.suffix.lower() in PROMPT_ENDINGS:
            raise ConfigError(
                f"There is no file {given} with a system prompt. Check the path, or give the text itself."
            )
        return given
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The system prompt {given} cannot be read ({error}). Give a text file in UTF-8, or the text."
        ) from error
    if not text:
        raise ConfigError(
            f"The file {given} has no system prompt: it is empty. To ask without one, give an empty text."
        )
    return text


def _require_at_least_1(config: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(config, name)) is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
