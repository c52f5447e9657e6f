"""The run of `build`: question files, then the media that are not there yet, shared by processes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from seawall.store.artifacts import claim, finish, read_manifest, reopen
from seawall.store.files import hash_file, hash_text, write_durably, write_json
from seawall.building.config import BuildConfig
from seawall.building.media import CLIPS, SPEECH, SPOKEN_AT_ONCE, TASKS, Medium, Studio, make_media
from seawall.store.va_safetybench import SCENARIOS
from seawall.building.questions import Item, find_slips, make_questions, read_items
from seawall.errors import DataError, EngineError
from seawall.progress import track

log = logging.getLogger(__name__)

MEDIA, PHRASES = "media.jsonl", "phrases.json"
FREE = ("media", "tasks", "stills", "pipeline", "voice")
"""Settings that say what is still to be made: each medium's line in media.jsonl tells what it was made with."""


def run(questions: Path, out: Path, config: BuildConfig, workers: int | None) -> dict[str, Any]:
    """See `seawall.build`."""
    items, files = read_items(questions)
    studio = Studio(out=out, config=config)
    media = list_media(items, config) if config.media else []
    if any(medium.task in SPEECH for medium in media):
        from seawall.media.speech import find_voice

        studio = dataclasses.replace(studio, voice=find_voice(config.voice))
    inputs = {"questions": hash_text("".join(map(hash_file, files)))}
    complete = claim(out, "build", config, inputs, FREE)
    made = read_made(out)
    todo = [medium for medium in media if made.get(medium.path, {}).get("recipe") != studio.describe(medium)["recipe"]]
    if complete and not todo:
        return read_manifest(out)["summary"]
    reopen(out, config, inputs)
    write_questions(out, items, config)
    make_all(studio, todo, made, total=len(media), workers=workers)
    wanted = [made[medium.path] for medium in media]
    rows = sorted(made.values(), key=lambda row: row["path"])
    write_durably(out / MEDIA, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    summary = summarize(items, wanted, config)
    slips = find_slips(items)
    finish(out, summary=summary, slips={"corrected": not config.as_published, "where": slips})
    return summary


def list_media(items: Sequence[Item], config: BuildConfig) -> list[Medium]:
    """Return the media that a run is to have.

    Raises:
        DataError: The folder of stills holds none.
    """
    tasks = [task for task in TASKS if config.tasks is None or task in config.tasks]
    if not (config.stills or config.pipeline) and (left := [task for task in tasks if task in CLIPS]):
        log.warning(
            "%s left out: nothing makes clips. Give --stills (images that move) or --pipeline.", ", ".join(left)
        )
        tasks = [task for task in tasks if task not in CLIPS]
    stills = Stills(config.stills, config.seed) if config.stills and set(tasks) & set(CLIPS) else None
    media = []
    for item, task in itertools.product(items, tasks):
        still, own = stills.find(item) if stills and task in CLIPS else (None, False)
        media.append(Medium(item=item, task=task, still=still, own_still=own))
    return media


class Stills:
    """A folder of images: MM-SafetyBench's, where each item has its own (`<scenario>/SD/<id>.jpg`), or any, drawn by seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        from seawall.media.clips import STILLS

        self.seed = seed
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in STILLS)
        self.own = {"/".join(path.with_suffix("").parts[-3:]): path for path in self.paths}
        if not self.paths:
            raise DataError(f"{folder} holds no images ({', '.join(STILLS)}). Give a folder of stills, or --pipeline.")

    def find(self, item: Item) -> tuple[Path, bool]:
        """Return the still of an item, and whether it is its own."""
        if own := self.own.get(f"{SCENARIOS[item.scenario]}/SD/{item.id}"):
            return own, True
        return random.Random(f"{self.seed}/{item.scenario}/{item.id}").choice(self.paths), False


def read_made(out: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of media that are there, whole, by path; a line cut short by an interruption is skipped."""
    made = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (out / MEDIA).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                made[row["path"]] = row
    return {path: row for path, row in made.items() if _size(out / path) == row["bytes"]}


def write_questions(out: Path, items: Sequence[Item], config: BuildConfig) -> None:
    """Write the question files, and each item's phrase, which only MM-SafetyBench tells."""
    for modality, scenarios in make_questions(items, as_published=config.as_published).items():
        folder = out / f"{modality}_questions"
        folder.mkdir(exist_ok=True)
        for scenario, asked in scenarios.items():
            text = json.dumps(asked, indent=4, ensure_ascii=False)
            write_durably(folder / f"{scenario}.json", text.encode())
    phrases: dict[str, Any] = {}
    for item in items:
        phrases.setdefault(item.scenario, {})[item.id] = {"phrase": item.phrase, "type": item.kind}
    write_json(out / PHRASES, phrases)


def make_all(studio: Studio, todo: list[Medium], made: dict[str, Any], *, total: int, workers: int | None) -> None:
    """Make media and add their lines to `made`, each also to the file at once, so that nothing is made twice."""
    if not todo:
        return
    here = [medium for medium in todo if medium.task in CLIPS and not medium.still]  # one pipeline, on one device
    shared = [medium for medium in todo if medium.task not in CLIPS or medium.still]
    with track("media", total, total - len(todo)) as bar, (studio.out / MEDIA).open("a", encoding="utf-8") as file:
        file.write("\n")  # ends a line that was cut short

        def keep(lines: list[dict[str, Any]]) -> None:
            for line in lines:
                made[line["path"]] = line
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            bar.advance(len(lines))

        for lines in _share(studio, split(shared), workers or os.cpu_count() or 1):
            keep(lines)
        if here:
            from seawall.media.clips import load_pipeline

            studio = dataclasses.replace(studio, clip=load_pipeline(studio.config.pipeline))
            for group in split(here):
                keep(make_media(studio, group))


def split(media: Sequence[Medium]) -> list[list[Medium]]:
    """Return media in groups that are made at once: texts one by one, clips by item, sounds by `SPOKEN_AT_ONCE` items."""
    clips = [medium for medium in media if medium.task in CLIPS]
    sounds = [medium for medium in media if medium.task in SPEECH]
    groups = [[medium] for medium in media if medium.task not in CLIPS + SPEECH]
    groups += [list(group) for _, group in itertools.groupby(clips, key=_whose)]
    by_item = [list(group) for _, group in itertools.groupby(sounds, key=_whose)]
    batches = [by_item[start : start + SPOKEN_AT_ONCE] for start in range(0, len(by_item), SPOKEN_AT_ONCE)]
    return groups + [list(itertools.chain(*batch)) for batch in batches]


def summarize(items: Sequence[Item], rows: Sequence[dict[str, Any]], config: BuildConfig) -> dict[str, Any]:
    """Return what a run made, in figures."""
    tasks = Counter(row["task"] for row in rows)
    lengths = {task: [row["seconds"] for row in rows if row["task"] == task] for task in tasks}
    left_out = [task for task in TASKS if config.media and task not in tasks]
    clips = [row for row in rows if row["task"] in CLIPS]
    return {
        "items": len(items),
        "media": {task: {"number": tasks[task], "seconds": round(sum(lengths[task]), 1)} for task in tasks},
        "left_out": left_out,
        "voices": sorted({row["voice"] for row in rows if "voice" in row}),
        "clips": {
            "sources": sorted({row["source"] for row in clips}),
            "reference": all(row["reference"] for row in clips),
        }
        if clips
        else None,
    }


def _share(studio: Studio, groups: list[list[Medium]], workers: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the lines of groups as they are made."""
    if workers == 1 or len(groups) < 2:
        yield from (make_media(studio, group) for group in groups)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(groups)), mp_context=context, initializer=_follow_parent) as pool:
        try:
            for done in as_completed([pool.submit(make_media, studio, group) for group in groups]):
                yield done.result()
        except BrokenProcessPool as error:
            raise EngineError(
                "A worker died, most often for lack of memory: what was finished is kept, so lower --workers and run the same again. "
                'From a script, call build under `if __name__ == "__main__":`, as each worker imports the script, or with workers=1.'
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _follow_parent() -> None:
    """Let a worker end when its parent does, also by `kill -9`, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _whose(medium: Medium) -> tuple[str, str]:
    return medium.item.scenario, medium.item.id


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
