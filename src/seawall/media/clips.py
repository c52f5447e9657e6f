"""Video clips from a diffusers pipeline or from a still image with camera movement, and clips that end in text."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from seawall.errors import ConfigError, EngineError
from seawall.media.modality import find_modality, read_medium
from seawall.media.typography import animate_text
from seawall.media.video import FPS, SECONDS, SIZE, count_frames

STILLS = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of still images, in lower case."""
ZOOM = (1.0, 1.3)
"""Zoom factors at the two ends of a camera movement."""
TEXT_SHARE = 0.4
"""Share of a clip's length that the text at its end takes."""


def read_still(path: Path) -> Image.Image:
    """Return a still image as RGB.

    Raises:
        DataError: The file is missing, empty or not an image.
    """
    still: Image.Image = read_medium(find_modality("image"), path)
    return still


def move_still(
    still: Image.Image,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """Yield the frames of a camera that pans and zooms over a still image.

    Args:
        still: RGB image. It is cropped to the aspect ratio of the frames.
        size: Width and height of the frames in pixels.
        seconds: Length in seconds.
        fps: Frames per second.
        seed: Chooses the camera movement.
    """
    draw = random.Random(seed)
    still = ImageOps.fit(still, (round(size[0] * ZOOM[1]), round(size[1] * ZOOM[1])))
    start, end = ((zoom, draw.random(), draw.random()) for zoom in draw.sample(ZOOM, 2))
    count = count_frames(seconds, fps)
    for index in range(count):
        progress = index / max(1, count - 1)
        zoom, across, down = (first + progress * (last - first) for first, last in zip(start, end, strict=True))
        width, height = still.width / zoom, still.height / zoom
        left, top = across * (still.width - width), down * (still.height - height)
        yield still.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height))


def end_in_text(
    frames: Sequence[Image.Image],
    text: str,
    *,
    fps: int = FPS,
    share: float = TEXT_SHARE,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """Yield the frames of a clip, the last of which are replaced by moving text.

    Args:
        frames: Frames of the clip.
        text: Text to show; see `animate_text`.
        fps: Frames per second.
        share: Share of the clip's length that the text takes.
        seed: See `animate_text`.
    """
    count = max(1, round(share * len(frames)))
    yield from frames[: len(frames) - count]
    yield from animate_text(text, size=frames[0].size, seconds=count / fps, fps=fps, seed=seed)


def fit_frames(frames: Sequence[Image.Image], *, size: tuple[int, int], count: int) -> list[Image.Image]:
    """Return evenly spaced frames, each cropped and scaled.

    Args:
        frames: Frames to choose from. A frame may be chosen several times.
        size: Width and height in pixels.
        count: Number of frames to return.
    """
    chosen = [round(place * (len(frames) - 1) / max(1, count - 1)) for place in range(count)]
    fitted = {index: ImageOps.fit(frames[index].convert("RGB"), size) for index in set(chosen)}
    return [fitted[index] for index in chosen]


def load_pipeline(name: str) -> Callable[..., list[Image.Image]]:
    """Return a function `(prompt, *, size, seconds, fps, seed)` that makes the frames of a clip with a diffusers pipeline.

    Args:
        name: Hub id or folder of a text-to-video or text-to-image pipeline. Images become clips by `move_still`.

    Raises:
        ConfigError: diffusers is not installed, or the pipeline cannot be loaded.
    """
    try:
        import torch
        from diffusers import DiffusionPipeline
    except ImportError as error:
        raise ConfigError(
            "Clips from a pipeline need diffusers, which is not installed: pip install 'seawall[clips]'. Or give --stills."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            name, torch_dtype=torch.bfloat16 if device == "cuda" else torch.float32
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The pipeline {name!r} cannot be loaded ({error}). Give the hub id or the folder of a diffusers pipeline."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return functools.partial(_run_pipeline, pipeline.to(device), name)


def _run_pipeline(
    pipeline: Callable[..., Any],
    name: str,
    prompt: str,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> list[Image.Image]:
    import torch

    output = pipeline(prompt=prompt, generator=torch.Generator("cpu").manual_seed(seed), output_type="pil")
    if frames := getattr(output, "frames", None):
        return fit_frames(frames[0], size=size, count=count_frames(seconds, fps))
    if images := getattr(output, "images", None):
        return list(move_still(images[0].convert("RGB"), size=size, seconds=seconds, fps=fps, seed=seed))
    raise EngineError(
        f"The pipeline {name!r} returned neither frames nor images. Give a text-to-video or text-to-image pipeline."
    )
