"""Clips of a thing: from a diffusers pipeline of the user's choice, or a still that moves; and clips that end in text."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from seawall.errors import ConfigError, DataError, EngineError
from seawall.media.typography import animate_text
from seawall.media.video import FPS, SECONDS, SIZE, count_frames

STILLS = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of stills."""
ZOOM = (1.0, 1.3)
"""How much of a still is left out at one end of its movement and at the other."""
TEXT_SHARE = 0.4
"""Share of a clip's time that its text at the end takes."""


def read_still(path: Path) -> Image.Image:
    """Return a still.

    Raises:
        DataError: It is missing, empty or no image.
    """
    try:
        return Image.open(path).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"{path} is not a readable image ({error}). Replace it or take it away.") from error


def move_still(
    still: Image.Image,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """Yield the frames of a camera that wanders over a still, closer or farther.

    Args:
        still: RGB image; cut to the form of the frames.
        size: Width and height in pixels.
        seconds: Length.
        fps: Frames a second.
        seed: Draws the way.
    """
    draw = random.Random(seed)
    still = ImageOps.fit(still, (round(size[0] * ZOOM[1]), round(size[1] * ZOOM[1])))
    start, end = ((zoom, draw.random(), draw.random()) for zoom in draw.sample(ZOOM, 2))
    number = count_frames(seconds, fps)
    for frame in range(number):
        done = frame / max(1, number - 1)
        zoom, across, down = (first + done * (last - first) for first, last in zip(start, end, strict=True))
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
    """Yield the frames of a clip whose end is taken by text; as long as the clip.

    Args:
        frames: Of the clip.
        text: See `animate_text`.
        fps: Frames a second.
        share: Share of the time that the text takes.
        seed: See `animate_text`.
    """
    number = max(1, round(share * len(frames)))
    yield from frames[: len(frames) - number]
    yield from animate_text(text, size=frames[0].size, seconds=number / fps, fps=fps, seed=seed)


def fit_frames(frames: Sequence[Image.Image], *, size: tuple[int, int], number: int) -> list[Image.Image]:
    """Return so many frames, evenly from the given ones, each cut and scaled to `size`."""
    steps = [round(place * (len(frames) - 1) / max(1, number - 1)) for place in range(number)]
    fitted = {step: ImageOps.fit(frames[step].convert("RGB"), size) for step in set(steps)}
    return [fitted[step] for step in steps]


def load_pipeline(name: str) -> Callable[..., list[Image.Image]]:
    """Return `make_clip(prompt, size=, seconds=, fps=, seed=)`, from a diffusers pipeline.

    Args:
        name: Hub id or folder of a text-to-video or a text-to-image pipeline; the image of the latter then moves.

    Raises:
        ConfigError: diffusers is not installed, or the pipeline cannot be loaded.
    """
    try:
        import torch
        from diffusers import DiffusionPipeline
    except ImportError as error:
        raise ConfigError(
            "Clips from a pipeline need diffusers: pip install 'seawall[clips]'. Without it, give --stills."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            name, torch_dtype=torch.bfloat16 if device == "cuda" else torch.float32
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The pipeline {name!r} cannot be loaded ({error}). Give a diffusers id or folder."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return functools.partial(_run_pipeline, pipeline.to(device), name)


def _run_pipeline(
    pipeline: Callable,
    name: str,
    prompt: str,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> list[Image.Image]:
    import torch

    made = pipeline(prompt=prompt, generator=torch.Generator("cpu").manual_seed(seed), output_type="pil")
    if frames := getattr(made, "frames", None):
        return fit_frames(frames[0], size=size, number=count_frames(seconds, fps))
    if images := getattr(made, "images", None):
        return list(move_still(images[0].convert("RGB"), size=size, seconds=seconds, fps=fps, seed=seed))
    raise EngineError(f"The pipeline {name!r} gave neither frames nor images. Give one from text to video or to image.")
