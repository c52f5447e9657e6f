"""The benchmarks as tasks of Inspect: `inspect eval seawall/mm_safetybench -T data=MM-SafetyBench --model ...`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    CachePolicy,
    ChatMessageSystem,
    ChatMessageUser,
    ContentAudio,
    ContentImage,
    ContentText,
    ContentVideo,
    GenerateConfig,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from seawall.errors import SeawallError
from seawall.evaluation.benchmarks.registry import read_benchmark
from seawall.store.items import Item
from seawall.evaluation.judges.scorers import make_scorers

MAX_TOKENS = 300
"""Longest answer: VA-SafetyBench's reference setting."""


def make_task(
    name: str,
    items: Sequence[Item],
    scorers: Sequence[Scorer],
    cache: bool = False,
    on_answer: Callable[[], None] = lambda: None,
) -> Task:
    """Return the task that asks these items, greedily, and lets judges score the answers.

    Args:
        name: Of the benchmark.
        items: See `read_benchmark`.
        scorers: See `make_scorers`.
        cache: Whether answers are kept in Inspect's cache and not asked for again.
        on_answer: Called after each answer.
    """
    return Task(
        name=name,
        dataset=MemoryDataset([make_sample(item) for item in items], name=name),
        solver=[generate(cache=CachePolicy(expiry=None) if cache else False), tell(on_answer)],
        scorer=list(scorers),
        config=GenerateConfig(max_tokens=MAX_TOKENS, temperature=0.0),
        fail_on_error=False,
    )


@solver
def tell(on_answer: Callable[[], None]) -> Solver:
    """Return a solver that changes nothing and tells that an answer is there."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        on_answer()
        return state

    return solve


def make_sample(item: Item) -> Sample:
    """Return an item as Inspect takes it; its metadata are those that the judges read (docs/judges.md)."""
    content = [make_content(item)] if item.modality else []
    content += [ContentText(text=item.text)] if item.text else []
    messages = [ChatMessageSystem(content=item.system)] if item.system else []
    about = ("question", "scenario", "prompt_type", "phrase", "item", "shows", "harmful")
    return Sample(
        id=item.id,
        input=[*messages, ChatMessageUser(content=content)],
        metadata={name: value for name in about if (value := getattr(item, name)) is not None},
    )


def make_content(item: Item) -> ContentImage | ContentVideo | ContentAudio:
    """Return the medium of an item."""
    ending = item.medium.suffix.lstrip(".").lower()
    if item.modality == "image":
        return ContentImage(image=str(item.medium))
    if item.modality == "video":
        return ContentVideo(video=str(item.medium), format=ending)
    return ContentAudio(audio=str(item.medium), format=ending)


def _open(name: str, data: str, judge: str | list[str], **selection: Any) -> Task:
    """Return the task of a benchmark, from what the command line of Inspect gives."""
    for listed in ("types", "scenarios"):
        given = selection.get(listed) or None
        selection[listed] = given.split(",") if isinstance(given, str) else given
    try:
        items = read_benchmark(name, Path(data), **selection)
        return make_task(name, items, make_scorers([judge] if isinstance(judge, str) else judge))
    except SeawallError as error:
        raise PrerequisiteError(str(error)) from error


@task
def va_safetybench_video(
    data: str,
    judge: str | list[str] = "refusal",
    types: str | list[str] = "",
    scenarios: str | list[str] = "",
    understanding: bool = False,
) -> Task:
    """Return VA-SafetyBench's videos as a task.

    Args:
        data: Folder or zip file.
        judge: Judges, as `seawall evaluate --judge` takes them.
        types: Only these of Text_only, DM, TYPO, DM_TYPO.
        scenarios: Only these.
        understanding: Ask beside each attack what its medium shows, too; needs phrases.json.
    """
    return _open("va_safetybench_video", data, judge, types=types, scenarios=scenarios, understanding=understanding)


@task
def va_safetybench_audio(
    data: str,
    judge: str | list[str] = "refusal",
    types: str | list[str] = "",
    scenarios: str | list[str] = "",
    understanding: bool = False,
) -> Task:
    """Return VA-SafetyBench's sounds as a task; `types` are Text_only, Audio_only, KPT, KPT_noise. See `va_safetybench_video`."""
    return _open("va_safetybench_audio", data, judge, types=types, scenarios=scenarios, understanding=understanding)


@task
def mm_safetybench(
    data: str,
    judge: str | list[str] = "refusal",
    types: str | list[str] = "",
    scenarios: str | list[str] = "",
    tiny: bool = False,
    understanding: bool = False,
) -> Task:
    """Return MM-SafetyBench as a task; `types` are Text_only, SD, TYPO, SD_TYPO, `tiny` is the smaller selection. See `va_safetybench_video`."""
    return _open(
        "mm_safetybench", data, judge, types=types, scenarios=scenarios, understanding=understanding, tiny=tiny
    )


@task
def figstep(
    data: str, judge: str | list[str] = "refusal", types: str | list[str] = "", scenarios: str | list[str] = ""
) -> Task:
    """Return FigStep as a task; `types` are Text_only and FigStep. See `va_safetybench_video`."""
    return _open("figstep", data, judge, types=types, scenarios=scenarios)


@task
def xstest(data: str, judge: str | list[str] = "refusal", scenarios: str | list[str] = "") -> Task:
    """Return XSTest as a task; `scenarios` are its types of prompt. See `va_safetybench_video`."""
    return _open("xstest", data, judge, scenarios=scenarios)


@task
def mossbench(data: str, judge: str | list[str] = "refusal", scenarios: str | list[str] = "") -> Task:
    """Return MOSSBench as a task; `scenarios` are its kinds of over-sensitivity. See `va_safetybench_video`."""
    return _open("mossbench", data, judge, scenarios=scenarios)
