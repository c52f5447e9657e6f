"""The registry of benchmarks. The command line, the config and Inspect take the names from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from seawall.errors import ConfigError
from seawall.evaluation.benchmarks.figstep import read_figstep
from seawall.evaluation.benchmarks.mm_safetybench import read_mm_safetybench
from seawall.evaluation.benchmarks.mossbench import read_mossbench
from seawall.evaluation.benchmarks.va_safetybench import read_audio, read_video
from seawall.evaluation.benchmarks.xstest import read_xstest
from seawall.registry import Registry
from seawall.store.items import Item


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark and how its files are read."""

    name: str
    """Name for `--benchmark`, and of the Inspect task `seawall/NAME`."""
    read: Callable[..., list[Item]]
    """Takes the folder, the prompt types and the scenarios to read (None for all), and the `options` by
    keyword. Returns the items."""
    options: tuple[str, ...] = ()
    """Further settings of `BenchmarkConfig` that `read` takes, such as `tiny`. They are passed only if they are set."""
    judges: tuple[str, ...] = ("refusal",)
    """Judges that score the answers if the user names none."""
    description: str = ""
    """What it measures, in one sentence, for help texts."""


BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark", ConfigError, "Add it with seawall.register_benchmark(...): see CONTRIBUTING.md."
)


def register_benchmark(benchmark: Benchmark) -> None:
    """Add a benchmark, or replace the one of the same name, in this process."""
    BENCHMARKS.register(benchmark.name, benchmark)


for _benchmark in (
    Benchmark(
        name="va_safetybench_video",
        read=read_video,
        description="Attacks by video. Prompt types: Text_only, DM, TYPO, DM_TYPO.",
    ),
    Benchmark(
        name="va_safetybench_audio",
        read=read_audio,
        description="Attacks by sound. Prompt types: Text_only, Audio_only, KPT, KPT_noise.",
    ),
    Benchmark(
        name="mm_safetybench",
        read=read_mm_safetybench,
        options=("tiny",),
        description="Attacks by image, 13 scenarios. Prompt types: Text_only, SD, TYPO, SD_TYPO.",
    ),
    Benchmark(
        name="figstep",
        read=read_figstep,
        description="Requests drawn as empty numbered lists. Prompt types: Text_only, FigStep.",
    ),
    Benchmark(name="xstest", read=read_xstest, description="Over-refusal in text; its contrast prompts are attacks."),
    Benchmark(name="mossbench", read=read_mossbench, description="Over-refusal with images."),
):
    register_benchmark(_benchmark)
