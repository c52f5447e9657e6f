"""Settings of `build`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from seawall.errors import ConfigError
from seawall.store.va_safetybench import PROMPT_TYPES

CLIP_TYPES = ("DM", "DM_TYPO")
"""Prompt types whose media need a source of clips."""
SPEECH_TYPES = ("Audio_only", "KPT", "KPT_noise")
"""Prompt types whose media need a voice."""
MEDIA_TYPES = tuple(name for types in PROMPT_TYPES.values() for name in types if name != "Text_only")
"""Prompt types that have a medium."""
FREE = ("media", "types", "stills", "pipeline", "voice")
"""Settings that may change when a run is resumed. `media.jsonl` records for each file what it was made from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of `build`."""

    as_published: bool = False
    """Write the questions exactly as published, including words that were replaced by mistake. Default: correct them."""
    media: bool = True
    """Make the media. Without them, only the question files are written."""
    types: tuple[str, ...] | None = None
    """Prompt types to make media for: DM, TYPO, DM_TYPO, Audio_only, KPT, KPT_noise. Default: all of them."""
    stills: Path | None = None
    """Folder of images for the clips (DM, DM_TYPO). A camera moves over each image. MM-SafetyBench's `imgs` fits; any images do."""
    pipeline: str | None = None
    """Diffusers pipeline for the clips instead of stills, text-to-video or text-to-image: a hub id or a folder."""
    voice: str = "auto"
    """Speech synthesizer: `piper`, `espeak-ng` or the path of a Piper voice (.onnx). `auto` takes Piper if it is installed."""
    width: int = 640
    """Width of the videos, in pixels. Must be even."""
    height: int = 384
    """Height of the videos, in pixels. Must be even."""
    seconds: float = 4.0
    """Length of the videos, in seconds."""
    fps: int = 24
    """Frames per second of the videos."""
    snr: float = 10.0
    """Signal-to-noise ratio of the speech in KPT_noise, in dB."""
    lead: float = 2.0
    """Noise before the speech in KPT_noise, in seconds."""
    longest: float | None = None
    """Maximum length of a sound, in seconds: what the audio model takes. Longer ones get less noise before the speech, then
    faster speech, at most 1.5 times. None sets no limit."""
    loudness: float = -23.0
    """Loudness of all sounds, in LUFS."""
    seed: int = 0
    """Random seed of colours, motions, noise and clips."""

    def __post_init__(self) -> None:
        faults = []
        types = set(self.types or ())
        if unknown := sorted(types - set(MEDIA_TYPES)):
            faults.append(f"types has {', '.join(unknown)}; it must be one or more of {', '.join(MEDIA_TYPES)}")
        if self.stills and self.pipeline:
            faults.append("both stills and pipeline are given; give only one source of clips")
        if self.media and types & set(CLIP_TYPES) and not (self.stills or self.pipeline):
            faults.append("types has clips (DM, DM_TYPO), which need a source; give --stills or --pipeline")
        for name, least in (("width", 64), ("height", 64), ("seconds", 0.1), ("fps", 1)):
            if getattr(self, name) < least:
                faults.append(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("width", "height"):
            if getattr(self, name) % 2:
                faults.append(f"{name} is {getattr(self, name)}; it must be even")
        if self.longest is not None and self.longest < 1:
            faults.append(f"longest is {self.longest}; it must be at least 1")
        if self.lead < 0:
            faults.append(f"lead is {self.lead}; it must not be negative")
        if not -60 <= self.loudness <= -5:
            faults.append(f"loudness is {self.loudness}; it must be from -60 to -5 LUFS")
        if faults:
            raise ConfigError("; ".join(faults) + ".")
