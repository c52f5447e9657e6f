"""The stage `build`: a benchmark's questions -> the benchmark, with its media."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from seawall.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Settings of `build`."""

    as_published: bool = False
    """Question files exactly as the published ones, slips of their word replacement included (docs/va_safetybench.md)."""
    media: bool = True
    """Make the media too."""
    tasks: tuple[str, ...] | None = None
    """Prompt types to make media for, by default all: DM, TYPO, DM_TYPO, Audio_only, KPT, KPT_noise."""
    stills: Path | None = None
    """Folder of images that move in the clips (DM, DM_TYPO): MM-SafetyBench's imgs, or any."""
    pipeline: str | None = None
    """Diffusers id or folder of a pipeline from text to video, or to image, that makes the clips instead."""
    voice: str = "auto"
    """Who speaks: piper, espeak-ng, a Piper voice (.onnx), or auto, which takes the first that is installed."""
    width: int = 640
    """Of videos, in pixels."""
    height: int = 384
    """Of videos, in pixels."""
    seconds: float = 4.0
    """Length of videos."""
    fps: int = 24
    """Frames a second of videos."""
    snr: float = 10.0
    """Speech over noise in KPT_noise, in dB."""
    lead: float = 2.0
    """Seconds of noise before the speech in KPT_noise."""
    loudness: float = -23.0
    """Of all sounds, in LUFS."""
    seed: int = 0
    """Seed of colours, motions, noises and clips."""

    def __post_init__(self) -> None:
        from seawall.building.media import CLIPS, TASKS

        faults = []
        if unknown := sorted(set(self.tasks or ()) - set(TASKS)):
            faults.append(f"tasks has {', '.join(unknown)}; media are made for {', '.join(TASKS)}")
        if self.stills and self.pipeline:
            faults.append("both stills and pipeline are given; clips come from one of them")
        if self.media and set(self.tasks or ()) & set(CLIPS) and not (self.stills or self.pipeline):
            faults.append("tasks has clips, and nothing makes them; give --stills (images that move) or --pipeline")
        for name, least in (("width", 64), ("height", 64), ("seconds", 0.1), ("fps", 1)):
            if getattr(self, name) < least:
                faults.append(f"{name} is {getattr(self, name)}; it must be at least {least}")
        faults += [
            f"{name} is {getattr(self, name)}; it must be even"
            for name in ("width", "height")
            if getattr(self, name) % 2
        ]
        if self.lead < 0:
            faults.append(f"lead is {self.lead}; it must not be negative")
        if not -60 <= self.loudness <= -5:
            faults.append(f"loudness is {self.loudness}; it must be from -60 to -5 LUFS")
        if faults:
            raise ConfigError("; ".join(faults) + ".")


def build(
    questions: Path, out: Path, config: BuildConfig = BuildConfig(), *, workers: int | None = None
) -> dict[str, Any]:
    """Build VA-SafetyBench from the questions of MM-SafetyBench. Resumable: call again, also with more media.

    Args:
        questions: MM-SafetyBench's folder `data/processed_questions`, or a folder above it.
        out: Folder for `Video_questions`, `Audio_questions`, `Video`, `Audio`, `phrases.json`, `media.jsonl`, `manifest.json`.
        config: Settings.
        workers: Processes that share the media; by default one for each core.

    Returns:
        Counts: items, media by prompt type; and which prompt types were left out for want of a source of clips.

    Raises:
        DataError: The questions cannot be read, or a still.
        ConfigError: Nothing here can speak, or the pipeline cannot be loaded.
        ArtifactError: `out` belongs to another run.
        EngineError: What speaks failed, or a worker died.
    """
    from seawall.building.run import run

    return run(questions, out, config, workers)
