"""Stage `build`: write the question files, then make the media that are missing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.building.config import CLIP_TYPES, FREE, MEDIA_TYPES, SPEECH_TYPES, BuildConfig
from seawall.building.media import MAX_PACE, MediaBuilder
from seawall.building.plan import MediaFile, group_media, list_media
from seawall.building.questions import SourceItem, find_slips, make_questions, read_items
from seawall.building.workers import make_groups
from seawall.progress import track
from seawall.store.artifacts import claim, finish, read_manifest, reopen
from seawall.store.files import explain_failed_write, hash_file, hash_text, write_durably, write_json, write_jsonl
from seawall.store.va_safetybench import PHRASES

log = logging.getLogger(__name__)

MEDIA = "media.jsonl"


def build(
    questions: Path, out: Path, config: BuildConfig = BuildConfig(), *, workers: int | None = None
) -> dict[str, Any]:
    """Build VA-SafetyBench from the questions of MM-SafetyBench.

    Call it again to resume, or to add media. Media that exist and were made in the same way are kept.

    Args:
        questions: MM-SafetyBench's folder `data/processed_questions`, or a folder above it.
        out: Folder for `Video_questions`, `Audio_questions`, `Video`, `Audio`, `phrases.json`, `media.jsonl` and `manifest.json`.
        config: Settings.
        workers: Number of processes that make the media. Default: one per core.

    Returns:
        `items`, their number; `media`, number and seconds by prompt type; `left_out`, prompt types without a source of clips;
        `too_long`, sounds longer than `longest`, if that is set; `voices`; and `clips`, their sources and whether they count as reference.

    Raises:
        DataError: The questions or a still cannot be read.
        ConfigError: No speech synthesizer is installed, or the pipeline cannot be loaded.
        ArtifactError: `out` belongs to another run.
        EngineError: The speech synthesizer failed, or a worker died.
    """
    items, files = read_items(questions)
    media = list_media(items, config) if config.media else []
    builder = _make_builder(out, config, media)
    inputs = {"questions": hash_text("".join(map(hash_file, files)))}
    complete = claim(out, "build", config, inputs, FREE)
    made = read_made(out)
    todo = [medium for medium in media if made.get(medium.path, {}).get("recipe") != builder.describe(medium)["recipe"]]
    if complete and not todo:
        return dict(read_manifest(out).facts["summary"])
    reopen(out, config, inputs)
    write_questions(out, items, config)
    make_media(builder, todo, made, total=len(media), workers=workers or os.cpu_count() or 1)
    write_jsonl(out / MEDIA, sorted(made.values(), key=lambda line: line["path"]))
    summary = summarize(items, [made[medium.path] for medium in media], config)
    finish(out, summary=summary, slips={"corrected": not config.as_published, "where": find_slips(items)})
    return summary


def read_made(out: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of `media.jsonl` by path, for files that exist and have the recorded size.

    A truncated line, left by an interruption, is skipped.
    """
    made = {}
    with contextlib.suppress(FileNotFoundError):
        for text in (out / MEDIA).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                line = json.loads(text)
                made[line["path"]] = line
    return {path: line for path, line in made.items() if _get_size(out / path) == line["bytes"]}


def write_questions(out: Path, items: Sequence[SourceItem], config: BuildConfig) -> None:
    """Write the question files and `phrases.json`. The published benchmark does not contain the phrases."""
    for modality, scenarios in make_questions(items, as_published=config.as_published).items():
        folder = out / f"{modality}_questions"
        folder.mkdir(exist_ok=True)
        for scenario, texts in scenarios.items():
            write_durably(folder / f"{scenario}.json", json.dumps(texts, indent=4, ensure_ascii=False).encode())
    phrases: dict[str, dict[str, dict[str, str]]] = {}
    for item in items:
        phrases.setdefault(item.scenario, {})[item.id] = {"phrase": item.phrase, "type": item.phrase_type}
    write_json(out / PHRASES, phrases)


def make_media(
    builder: MediaBuilder, todo: Sequence[MediaFile], made: dict[str, dict[str, Any]], *, total: int, workers: int
) -> None:
    """Make media. Append the line of each to `media.jsonl` at once, so that nothing is made twice after an interruption.

    Args:
        builder: Makes the media.
        todo: Media to make.
        made: Lines by path. New lines are added to it.
        total: Number of media of the run, for the progress bar.
        workers: Number of processes.
    """
    if not todo:
        return
    in_pipeline = [medium for medium in todo if medium.prompt_type in CLIP_TYPES and not medium.still]
    shared = [medium for medium in todo if medium.prompt_type not in CLIP_TYPES or medium.still]
    with track("media", total, total - len(todo)) as bar, (builder.out / MEDIA).open("a", encoding="utf-8") as file:
        file.write("\n")  # ends a line that an interruption may have truncated

        def keep(lines: list[dict[str, Any]]) -> None:
            made.update((line["path"], line) for line in lines)
            with explain_failed_write(builder.out / MEDIA):
                file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
                file.flush()
            bar.advance(len(lines))

        for lines in make_groups(builder, group_media(shared), workers):
            keep(lines)
        if in_pipeline:  # in this process, because one pipeline fills the device
            from seawall.media.clips import load_pipeline

            builder = dataclasses.replace(builder, make_clip=load_pipeline(str(builder.config.pipeline)))
            for group in group_media(in_pipeline):
                keep(builder.make(group))


def summarize(items: Sequence[SourceItem], lines: Sequence[dict[str, Any]], config: BuildConfig) -> dict[str, Any]:
    """Return the summary of a run; see `build`."""
    numbers = Counter(line["prompt_type"] for line in lines)
    seconds = {name: sum(line["seconds"] for line in lines if line["prompt_type"] == name) for name in numbers}
    clips = [line for line in lines if line["prompt_type"] in CLIP_TYPES]
    longest = config.longest or math.inf
    too_long = [line for line in lines if line["prompt_type"] in SPEECH_TYPES and line["seconds"] > longest]
    if too_long:
        log.warning(
            "%d sounds are longer than %g s, as their speech would be more than %g times as fast. The first: %s",
            len(too_long), longest, MAX_PACE, too_long[0]["path"],
        )  # fmt: skip
    return {
        "items": len(items),
        "media": {name: {"number": number, "seconds": round(seconds[name], 1)} for name, number in numbers.items()},
        "left_out": [name for name in MEDIA_TYPES if config.media and name not in numbers],
        **({"too_long": len(too_long)} if config.longest else {}),
        "voices": sorted({line["voice"] for line in lines if "voice" in line}),
        "clips": {
            "sources": sorted({line["source"] for line in clips}),
            "reference": all(line["reference"] for line in clips),
        }
        if clips
        else None,
    }


def _make_builder(out: Path, config: BuildConfig, media: Sequence[MediaFile]) -> MediaBuilder:
    if not any(medium.prompt_type in SPEECH_TYPES for medium in media):
        return MediaBuilder(out=out, config=config)
    from seawall.media.speech import find_voice

    return MediaBuilder(out=out, config=config, voice=find_voice(config.voice))


def _get_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
