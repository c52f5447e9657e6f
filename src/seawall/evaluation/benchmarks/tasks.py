"""Benchmarks as tasks of Inspect: `inspect eval seawall/mm_safetybench -T data=MM-SafetyBench --model ...`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    CachePolicy,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentAudio,
    ContentData,
    ContentImage,
    ContentText,
    ContentVideo,
    GenerateConfig,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from seawall import compat
from seawall.errors import SeawallError
from seawall.evaluation.benchmarks.read import read_benchmark
from seawall.evaluation.benchmarks.registry import BENCHMARKS, Benchmark
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
from seawall.evaluation.judges.registry import check_judges, make_scorers
from seawall.store.items import Item


def make_task(
    name: str,
    items: Sequence[Item],
    scorers: Sequence[Scorer],
    cache: bool = False,
    on_answer: Callable[[], None] = lambda: None,
) -> Task:
    """Return the task that asks items greedily and lets judges score the answers.

    Args:
        name: Name of the benchmark.
        items: Its items, from `read_benchmark`.
        scorers: The judges, from `make_scorers`.
        cache: Whether Inspect keeps the answers in its cache, so that no question is asked twice.
        on_answer: Called after each answer.
    """
    return Task(
        name=name,
        dataset=MemoryDataset([make_sample(item) for item in items], name=name),
        solver=[generate(cache=CachePolicy(expiry=None) if cache else False), report_answer(on_answer)],
        scorer=list(scorers),
        config=GenerateConfig(max_tokens=EvaluateConfig.max_tokens, temperature=0.0),
        fail_on_error=False,
    )


@solver
def report_answer(on_answer: Callable[[], None]) -> Solver:
    """Return a solver that changes nothing and calls a function when an answer is there."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        on_answer()
        return state

    return solve


def make_sample(item: Item) -> Sample:
    """Return an item as a sample of Inspect. Its metadata are what judges and statistics read (docs/how_to/judges.md)."""
    content: list[Content] = [make_content(item)] if item.modality else []
    content += [ContentText(text=item.text)] if item.text else []
    messages = [ChatMessageSystem(content=item.system)] if item.system else []
    return Sample(id=item.id, input=[*messages, ChatMessageUser(content=content)], metadata=item.to_metadata())


def make_content(item: Item) -> Content:
    """Return the medium of an item. A modality that a plugin registered has no content type of its own in Inspect."""
    assert item.medium is not None
    ending = item.medium.suffix.lstrip(".").lower()
    if item.modality == "image":
        return ContentImage(image=str(item.medium))
    if item.modality == "video":
        return ContentVideo(video=str(item.medium), format=ending)  # type: ignore[arg-type]
    if item.modality == "audio":
        return ContentAudio(audio=str(item.medium), format=ending)  # type: ignore[arg-type]
    return ContentData(data={"modality": item.modality, "path": str(item.medium)})


def define_task(benchmark: Benchmark) -> Callable[..., Task]:
    """Return the Inspect task of a benchmark: a function that reads its data and makes the task."""

    def open_benchmark(
        data: str,
        judge: str | list[str] = ",".join(benchmark.judges),
        types: str | list[str] = "",
        scenarios: str | list[str] = "",
        tiny: bool = False,
        all_scenarios: bool = False,
        understanding: bool = False,
        controls: str | list[str] = "",
    ) -> Task:
        try:
            selection = BenchmarkConfig(
                benchmark=benchmark.name,
                types=_split_list(types),
                scenarios=_split_list(scenarios),
                tiny=tiny,
                all_scenarios=all_scenarios,
                understanding=understanding,
                controls=_split_list(controls) or (),  # type: ignore[arg-type]
            )
            items, judges = read_benchmark(selection, Path(data)), _split_list(judge) or ()
            check_judges(judges, items)
            return make_task(benchmark.name, items, make_scorers(judges))
        except SeawallError as error:
            raise compat.prerequisite_error()(str(error)) from error

    open_benchmark.__name__ = open_benchmark.__qualname__ = benchmark.name
    open_benchmark.__doc__ = f"""{benchmark.description}

    Args:
        data: Folder or zip file of the benchmark, as downloaded.
        judge: Judges, as `seawall evaluate --judge` takes them.
        types: Ask only these prompt types.
        scenarios: Ask only these scenarios.
        tiny: Ask only the authors' smaller selection, if there is one.
        all_scenarios: Also ask the scenarios that the judge `rubric` scores, if there are any.
        understanding: Also ask what each medium shows. It needs the phrases.
        controls: Also ask with other media: blank, none.
    """
    return task(name=benchmark.name)(open_benchmark)


def define_tasks() -> dict[str, Callable[..., Task]]:
    """Return name -> Inspect task for every registered benchmark."""
    return {name: define_task(BENCHMARKS.find(name)) for name in BENCHMARKS.names()}


def _split_list(given: str | Sequence[str]) -> tuple[str, ...] | None:
    """Return a list of Inspect's command line, which may also be one text with commas. An empty one becomes None."""
    names = given.split(",") if isinstance(given, str) else given
    return tuple(name for name in names if name) or None
