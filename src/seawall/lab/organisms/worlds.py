"""The world of each built-in model: what a demo writes for it, and how it asks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from seawall.lab.world.phrases import Part

Jobs = list[Callable[[], None]]
"""Functions that can run at the same time in different processes."""
MEDIA_PER_PHRASE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """What a demo needs to know about the world of a model."""

    modality: str
    """Modality of its media."""
    published: str | None
    """Published benchmark in whose layout phrases are written too. None: no such benchmark is written."""
    max_tokens: int
    """Maximum tokens of an answer."""
    shows_compliance: bool
    """Whether the page may show answers that comply with harmful requests, because they contain no instructions."""
    list_jobs: Callable[[Path, Part, int | None], Jobs]
    """Return the jobs that write a demo's data. Arguments: folder, part of the evaluation, maximum number of phrases."""


def _list_jobs(modality: str, out: Path, part: Part, phrases: int | None) -> Jobs:
    from seawall.lab.world import data
    from seawall.lab.world.published import write_published

    media, each, job = out / "media", MEDIA_PER_PHRASE, functools.partial
    return [
        job(write_published, out / "published", part, phrases, modality),
        job(data.write_benchmark, out / "benchmark", part, phrases, modality),
        job(data.write_media, media / "harmless", "harmless", each, phrases, modality),
        job(data.write_media, media / "harmful", "harmful", each, phrases, modality),
        job(data.write_rendered, media / "rendered", each, phrases, modality),
        job(data.write_records, out / "records.jsonl", phrases),
    ]


def _list_reader_jobs(out: Path, part: Part, phrases: int | None) -> Jobs:
    from seawall.lab.reader.world.data import write_answered, write_benchmark

    return [
        functools.partial(write_answered, out, phrases),
        functools.partial(write_benchmark, out / "benchmark", part, phrases),
    ]


_BENCHMARKS = {"image": "mm_safetybench", "video": "va_safetybench_video", "audio": "va_safetybench_audio"}
WORLDS = {
    modality: World(
        modality=modality,
        published=benchmark,
        max_tokens=32,
        shows_compliance=True,
        list_jobs=functools.partial(_list_jobs, modality),
    )
    for modality, benchmark in _BENCHMARKS.items()
} | {
    "reader": World(
        modality="image", published=None, max_tokens=48, shows_compliance=False, list_jobs=_list_reader_jobs
    )
}
"""Name of a built-in model -> its world."""
