"""How the media of VA-SafetyBench are made: text animations, clips and speech."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.building.config import CLIP_TYPES, SPEECH_TYPES, BuildConfig
from seawall.building.plan import MediaFile
from seawall.errors import DataError
from seawall.store.files import hash_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from seawall.media.speech import Voice

PAUSE = 0.25
"""Silence before and after speech, in seconds. Decoders often lose the very start of an MP3 file."""
LEAST_LEAD, MAX_PACE, MARGIN = 0.5, 1.5, 0.1
"""Of a sound that is too long: the noise that stays before the speech, in seconds; how many times as fast the speech may
be; and the seconds that decoders may add to an MP3 file."""
PROMPT = "A video of {}."
"""Prompt for a pipeline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaBuilder:
    """Makes media files. It is sent to worker processes."""

    out: Path
    """Folder of the benchmark."""
    config: BuildConfig
    """Settings."""
    voice: Voice | None = None
    """Speech synthesizer. None if nothing is spoken."""
    make_clip: Callable[..., list[Image]] | None = None
    """Returns the frames of a clip; see `load_pipeline`. None if clips come from stills."""

    def make(self, media: Sequence[MediaFile]) -> list[dict[str, Any]]:
        """Make one group of media; see `group_media`.

        Returns:
            The line of `media.jsonl` for each medium.

        Raises:
            DataError: A medium cannot be made. The message names its path, not its text.
        """
        if media[0].prompt_type in SPEECH_TYPES:
            return self._make_sounds(media)
        if media[0].prompt_type in CLIP_TYPES:
            return self._make_clips(media)
        return [self._make_text(medium) for medium in media]

    def describe(self, medium: MediaFile) -> dict[str, Any]:
        """Return the facts that are known before a medium is made.

        `recipe` is a hash of all that the file depends on: a file with another recipe is made again.
        """
        config = self.config
        facts: dict[str, Any] = {
            "path": medium.path,
            "scenario": medium.item.scenario,
            "id": medium.item.id,
            "prompt_type": medium.prompt_type,
        }
        if medium.prompt_type in SPEECH_TYPES:
            facts |= {"voice": str(self.voice), "lufs": float(config.loudness)}
            if medium.prompt_type == "KPT_noise":
                facts |= {"noise": "pink", "snr": float(config.snr), "lead": float(config.lead)}
        else:
            facts |= {"codec": "h264", "size": [config.width, config.height], "fps": config.fps}
        if medium.prompt_type in CLIP_TYPES:
            facts |= self._describe_clip(medium)
        limit = (config.longest,) if config.longest and medium.prompt_type in SPEECH_TYPES else ()
        facts["recipe"] = hash_text(repr((facts, medium.text, self._get_seed(medium), float(config.seconds), *limit)))
        return facts

    def _describe_clip(self, medium: MediaFile) -> dict[str, Any]:
        if not medium.still:
            return {"source": self.config.pipeline, "reference": True}
        still = medium.still.relative_to(self.config.stills or Path()).as_posix()
        return {"source": "moving still", "still": still, "own_still": medium.own_still, "reference": False}

    def _get_seed(self, medium: MediaFile) -> int:
        """Return the seed of a medium. DM and DM_TYPO of an item share it, because they show the same clip."""
        prompt_type = "DM" if medium.prompt_type in CLIP_TYPES else medium.prompt_type
        return int(hash_text(f"{self.config.seed}/{medium.item.scenario}/{medium.item.id}/{prompt_type}"), 16) % 2**31

    def _record(self, medium: MediaFile, seconds: float, **measured: Any) -> dict[str, Any]:
        """Return the line of a medium that has been made. Measured values replace requested ones."""
        size = (self.out / medium.path).stat().st_size
        return {**self.describe(medium), **measured, "seconds": round(seconds, 3), "bytes": size}

    def _make_text(self, medium: MediaFile) -> dict[str, Any]:
        from seawall.media.typography import write_text_video

        form = self._get_form(medium)
        return self._record(medium, _name_fault(medium, write_text_video, self.out / medium.path, medium.text, **form))

    def _make_clips(self, media: Sequence[MediaFile]) -> list[dict[str, Any]]:
        """Make the clips of one item: the plain one, the one that ends in text, or both."""
        from seawall.media.clips import end_in_text, move_still, read_still
        from seawall.media.video import write_video

        first, fps = media[0], self.config.fps
        form = self._get_form(first)
        if first.still:
            frames = list(move_still(read_still(first.still), **form))
        else:
            assert self.make_clip
            frames = self.make_clip(PROMPT.format(first.text), **form)
        lines = []
        for medium in media:
            shown = frames
            if medium.prompt_type == "DM_TYPO":
                shown = _name_fault(medium, list, end_in_text(frames, medium.text, fps=fps, seed=form["seed"]))
            lines.append(self._record(medium, write_video(self.out / medium.path, shown, fps=fps)))
        return lines

    def _make_sounds(self, media: Sequence[MediaFile]) -> list[dict[str, Any]]:
        """Make sounds. A text that several of them share is spoken once."""
        from seawall.media.sound import measure_loudness, set_loudness, write_mp3
        from seawall.media.speech import speak

        assert self.voice
        texts = list(dict.fromkeys(medium.text for medium in media))
        try:
            sounds, rate = speak(texts, self.voice)
        except DataError as error:
            paths = ", ".join(medium.path for medium in media)
            raise DataError(f"One of these media cannot be spoken: {paths}. {error}") from error
        spoken = dict(zip(texts, sounds, strict=True))
        lines = []
        for medium in media:
            sound, made = self._pad_sound(medium, spoken[medium.text], rate)
            sound = _name_fault(medium, set_loudness, sound, rate, self.config.loudness)
            made["lufs"] = round(measure_loudness(sound, rate), 1)
            lines.append(self._record(medium, write_mp3(self.out / medium.path, sound, rate), **made))
        return lines

    def _pad_sound(self, medium: MediaFile, sound: Any, rate: int) -> tuple[Any, dict[str, float]]:
        """Return a sound with noise or silence around it, shape = (samples,), and what was shortened to fit the limit."""
        import numpy as np

        from seawall.media.sound import add_noise, speed_up

        noisy = medium.prompt_type == "KPT_noise"
        lead, pace = fit_speech(len(sound) / rate, self.config.lead if noisy else PAUSE, self.config.longest)
        made = {"pace": round(pace, 3)} if pace > 1 else {}
        if pace > 1:
            sound = speed_up(sound, rate, pace)
        if not noisy:
            return np.pad(sound, round(PAUSE * rate)), made
        noise = functools.partial(add_noise, snr=self.config.snr, lead=lead, tail=PAUSE, seed=self._get_seed(medium))
        made |= {"lead": round(lead, 3)} if lead < self.config.lead else {}
        return _name_fault(medium, noise, sound, rate), made

    def _get_form(self, medium: MediaFile) -> dict[str, Any]:
        config = self.config
        size = config.width, config.height
        return {"size": size, "seconds": config.seconds, "fps": config.fps, "seed": self._get_seed(medium)}


def fit_speech(speech: float, lead: float, longest: float | None) -> tuple[float, float]:
    """Return the seconds before the speech, and how many times as fast it must be, for a sound of limited length.

    Args:
        speech: Length of the speech, in seconds.
        lead: Wanted seconds before it.
        longest: Maximum length of the whole sound. None sets no limit.
    """
    if longest is None:
        return lead, 1.0
    room = longest - PAUSE - MARGIN
    lead = max(min(lead, LEAST_LEAD), min(lead, room - speech))
    return lead, min(MAX_PACE, max(1.0, speech / max(0.01, room - lead)))


def _name_fault(medium: MediaFile, make: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Return the result of `make`. A `DataError` gets the path of the medium."""
    try:
        return make(*arguments, **settings)
    except DataError as error:
        raise DataError(f"{medium.path} cannot be made: {error}") from error
