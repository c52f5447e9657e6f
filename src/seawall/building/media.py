"""The media of VA-SafetyBench: which there are, and how the media of one or a few items are made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.store.files import hash_text
from seawall.errors import DataError

if TYPE_CHECKING:
    from seawall.building.config import BuildConfig
    from seawall.building.questions import Item
    from seawall.media.speech import Voice

TASKS = {
    "DM": "Video/{}/DM/{}.mp4",
    "TYPO": "Video/{}/TYPO/{}.mp4",
    "DM_TYPO": "Video/{}/DM_TYPO/{}.mp4",
    "Audio_only": "Audio/{}/Audio_only/{}.mp3",
    "KPT": "Audio/{}/KPT/{}.mp3",
    "KPT_noise": "Audio/{}/KPT_noise/{}.mp3",
}
"""Prompt types that have a medium, and where it lies: scenario, id."""
CLIPS, SPEECH = ("DM", "DM_TYPO"), ("Audio_only", "KPT", "KPT_noise")
"""Prompt types that need a source of clips, and those that need a voice."""
SPOKEN_AT_ONCE = 16
"""Items whose texts one process speaks: it takes a second to start, and an interruption loses what it has not finished."""
PAUSE = 0.25
"""Seconds of silence before and after speech: what stands at the very start of an MP3 file is heard worse."""
PROMPT = "A video of {}."
"""What a pipeline is asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Medium:
    """One file to make."""

    item: Item
    task: str
    still: Path | None = None
    """Image that moves in a clip."""
    own_still: bool = False
    """The still was made for this item, and was not drawn from many."""

    @property
    def path(self) -> str:
        """Where it lies in the benchmark's folder."""
        return TASKS[self.task].format(self.item.scenario, self.item.id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Studio:
    """What all media of a run are made with."""

    out: Path
    config: BuildConfig
    voice: Voice | None = None
    clip: Callable[..., list] | None = None
    """Of a pipeline: see `load_pipeline`."""

    def seed(self, medium: Medium) -> int:
        """Return the seed of a medium: its own, whatever else is made. A clip that ends in text is its DM clip."""
        task = "DM" if medium.task in CLIPS else medium.task
        return int(hash_text(f"{self.config.seed}/{medium.item.scenario}/{medium.item.id}/{task}"), 16) % 2**31

    def describe(self, medium: Medium) -> dict[str, Any]:
        """Return what a medium is, and is made of; what is made of something else is made anew."""
        config, item = self.config, medium.item
        facts: dict[str, Any] = {"path": medium.path, "scenario": item.scenario, "id": item.id, "task": medium.task}
        if medium.task in SPEECH:
            facts |= {"voice": str(self.voice), "lufs": config.loudness}
            if medium.task == "KPT_noise":
                facts |= {"noise": "pink", "snr": config.snr, "lead": config.lead}
        else:
            facts |= {"codec": "h264", "size": [config.width, config.height], "fps": config.fps}
        if medium.task in CLIPS:
            moving = {
                "source": "moving still",
                "still": medium.still and medium.still.relative_to(config.stills).as_posix(),
                "own_still": medium.own_still,
            }
            facts |= moving if medium.still else {"source": config.pipeline}
            facts["reference"] = not medium.still
        text = item.text if medium.task == "Audio_only" else item.phrase
        facts["recipe"] = hash_text(repr((facts, text, self.seed(medium), config.seconds)))
        return facts

    def finish(self, medium: Medium, seconds: float, **found: Any) -> dict[str, Any]:
        """Return the line of a medium that is made; what was found in it stands for what was asked for."""
        size = (self.out / medium.path).stat().st_size
        return {**self.describe(medium), **found, "seconds": round(seconds, 3), "bytes": size}


def make_media(studio: Studio, media: Sequence[Medium]) -> list[dict[str, Any]]:
    """Make media of one kind: texts, clips or sounds.

    Returns:
        A line for each: path, source, voice, length and more.

    Raises:
        DataError: One cannot be made; its path is named, not its text.
    """
    make = _make_sounds if media[0].task in SPEECH else _make_clips if media[0].task in CLIPS else _make_texts
    return make(studio, media)


def _make_texts(studio: Studio, media: Sequence[Medium]) -> list[dict[str, Any]]:
    from seawall.media.typography import write_text_video

    return [
        studio.finish(
            medium,
            _named(medium, write_text_video, studio.out / medium.path, medium.item.phrase, **_form(studio, medium)),
        )
        for medium in media
    ]


def _make_clips(studio: Studio, media: Sequence[Medium]) -> list[dict[str, Any]]:
    """Make the media of one item: its clip, the clip that ends in text, or both."""
    from seawall.media.clips import end_in_text, move_still, read_still
    from seawall.media.video import write_video

    first, fps = media[0], studio.config.fps
    form = _form(studio, first)
    if first.still:
        frames = list(move_still(read_still(first.still), **form))
    else:
        frames = studio.clip(PROMPT.format(first.item.phrase), **form)
    lines = []
    for medium in media:
        shown = frames
        if medium.task == "DM_TYPO":
            shown = _named(medium, list, end_in_text(frames, medium.item.phrase, fps=fps, seed=form["seed"]))
        lines.append(studio.finish(medium, write_video(studio.out / medium.path, shown, fps=fps)))
    return lines


def _make_sounds(studio: Studio, media: Sequence[Medium]) -> list[dict[str, Any]]:
    """Make sounds; what several of them say is spoken once."""
    import numpy as np

    from seawall.media.sound import add_noise, measure_loudness, set_loudness, write_mp3
    from seawall.media.speech import speak

    config = studio.config
    texts = {medium.path: medium.item.text if medium.task == "Audio_only" else medium.item.phrase for medium in media}
    different = list(dict.fromkeys(texts.values()))
    try:
        sounds, rate = speak(different, studio.voice)
    except DataError as error:
        raise DataError(f"One of {', '.join(texts)} cannot be spoken: {error}") from error
    spoken = dict(zip(different, sounds, strict=True))
    lines = []
    for medium in media:
        sound = spoken[texts[medium.path]]
        if medium.task == "KPT_noise":
            noisy = functools.partial(add_noise, snr=config.snr, lead=config.lead, tail=PAUSE, seed=studio.seed(medium))
            sound = _named(medium, noisy, sound, rate)
        else:
            sound = np.pad(sound, round(PAUSE * rate))
        sound = _named(medium, set_loudness, sound, rate, config.loudness)
        loudness = round(measure_loudness(sound, rate), 1)
        lines.append(studio.finish(medium, write_mp3(studio.out / medium.path, sound, rate), lufs=loudness))
    return lines


def _form(studio: Studio, medium: Medium) -> dict[str, Any]:
    config = studio.config
    size = config.width, config.height
    return {"size": size, "seconds": config.seconds, "fps": config.fps, "seed": studio.seed(medium)}


def _named(medium: Medium, make: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call `make`; of what it refuses, say which medium it was for."""
    try:
        return make(*arguments, **settings)
    except DataError as error:
        raise DataError(f"{medium.path} cannot be made: {error}") from error
