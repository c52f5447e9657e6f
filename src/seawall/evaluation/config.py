"""Stage 4, `evaluate`: model + adapter -> answers on real media files, verdicts, metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from seawall.store.files import read_jsonl
from seawall.errors import ConfigError
from seawall.models.families import Precision

BENCHMARKS = (
    "organism",
    "va_safetybench_video",
    "va_safetybench_audio",
    "mm_safetybench",
    "figstep",
    "xstest",
    "mossbench",
)
ANSWERS, RESULTS = "answers.jsonl", "results.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of `evaluate`."""

    benchmark: Literal[
        "organism", "va_safetybench_video", "va_safetybench_audio", "mm_safetybench", "figstep", "xstest", "mossbench"
    ] = "organism"
    """Name of the benchmark; it knows the layout of the data."""
    system_prompt: str | None = None
    """System prompt in front of every question; of `organism` only."""
    sets: tuple[str, ...] | None = None
    """Only these sets of items; of `organism` only."""
    types: tuple[str, ...] | None = None
    """Only these prompt types, such as TYPO; not of `organism`, as all that follows but the last three."""
    scenarios: tuple[str, ...] | None = None
    """Only these scenarios."""
    tiny: bool = False
    """The authors' smaller selection, of `mm_safetybench` only."""
    understanding: bool = False
    """Ask what each medium shows, too: the ASR of what the model understood; needs the phrases (`seawall build` writes them)."""
    limit: int | None = None
    """Only so many items."""
    max_tokens: int = 300
    """Longest answer."""
    log_media: bool = True
    """Keep images in the log, for `inspect view`."""
    batch_size: int = 128
    """Questions in one forward pass."""
    precision: Precision | None = None
    """Of the model; see `load_model`."""
    device_map: str | None = None
    """See `load_model`."""

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise ConfigError(f"There is no benchmark {self.benchmark!r}. Known: {', '.join(BENCHMARKS)}.")
        for name in ("batch_size", "limit", "max_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        own = ("system_prompt", "sets")
        others = ("types", "scenarios", "tiny", "understanding", "limit", "max_tokens", "log_media")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        unheeded = others if self.benchmark == "organism" else own
        if idle := [name for name in unheeded if getattr(self, name) != defaults[name]]:
            raise ConfigError(f"The benchmark {self.benchmark!r} does not know {', '.join(idle)}. Leave it out.")


def evaluate(
    model: str,
    data: Path,
    out: Path,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    adapter: Path | None = None,
    judges: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask a model every item of a benchmark, greedily, and score the answers. Run again, it asks only for what is missing.

    Args:
        model: See `load_model`.
        data: Folder or zip file of the benchmark, as downloaded (docs/benchmarks.md).
        out: Folder for Inspect's log (of `organism`: `answers.jsonl`), `results.json` and `manifest.json`.
        config: Settings.
        adapter: PEFT adapter, made by `align`.
        judges: Who scores, such as `strongreject=openai/gpt-4o-mini`; by default `refusal`. Those of a finished run may change. The
            benchmark `organism` scores itself.

    Returns:
        What `results.json` holds: of `organism` `metrics` and what they were measured on, of all others what `scores.summarize` says.

    Raises:
        ConfigError: Judges that cannot be had; prompt types or scenarios that there are not.
        DataError: The benchmark's files are missing or broken.
        ArtifactError: `out` belongs to another run, or not one item could be answered.
    """
    if config.benchmark == "organism":
        if judges:
            raise ConfigError("The benchmark 'organism' scores its answers exactly. Leave --judge out.")
        from seawall.lab.benchmark import run

        return run(model, data, out, config, adapter)
    from seawall.evaluation.run import run as run_by_inspect

    return run_by_inspect(model, data, out, config, adapter, judges or ("refusal",))


def rejudge(out: Path) -> dict[str, Any]:
    """Let the judges of a run look again at the answers of which they gave no verdict; no other is asked about again.

    Args:
        out: Folder that `evaluate` wrote.

    Returns:
        What `results.json` holds now.

    Raises:
        ConfigError: Judges that cannot be had.
        ArtifactError: `out` holds no such answers.
    """
    from seawall.evaluation.run import rejudge

    return rejudge(out)


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """Return the scored answers of a finished evaluation: `id`, `set`, `form`, `phrase`, `image`, `question`, `answer`, `verdict`."""
    return [row for _, row in read_jsonl(folder / ANSWERS)]
