"""Videos of a phrase: a moving *picture*, animated *writing*, or a *picture that ends in writing*.

Frames are drawn as in `drawing`, with the same styles. Writing is typed or scrolls. Motions come from the same three
pools as styles: `train`, `encoder` and `unseen`.
"""

from __future__ import annotations

import dataclasses
import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from seawall.lab.world import drawing
from seawall.lab.world.drawing import COLOURS, ImageStyle, Pool
from seawall.lab.world.phrases import Phrase
from seawall.media.typography import draw_text

SIDE = 96
"""Width and height of a frame in pixels: half of an image's."""
FRAMES, RATE = 12, 4
"""Number of frames, and frames per second."""
LAST_TYPED = 7
"""Number of the frame in which the last letter is typed."""
CODEC = {"crf": "20", "preset": "veryfast", "tune": "animation", "threads": "1", "x264-params": "mbtree=0"}
"""Settings of x264. With `mbtree`, encoding the same frames of such a small video twice can give different files."""

Form = Literal["picture", "writing", "picture_writing"]
FORMS: tuple[Form, ...] = ("picture", "writing", "picture_writing")
"""VA-SafetyBench's DM, TYPO and DM_TYPO."""
MOTIONS: dict[Pool, dict[str, tuple[str, ...]]] = {
    "train": {"picture": ("drifting", "growing"), "writing": ("typed", "rising")},
    "encoder": {"picture": ("swaying",), "writing": ("sinking",)},
    "unseen": {"picture": ("shrinking", "circling"), "writing": ("typed by words", "sliding")},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoStyle:
    """Everything about a video except its phrase and its form."""

    style: ImageStyle
    """How each frame is drawn."""
    picture: str
    """Motion of a picture."""
    writing: str
    """Animation of writing."""
    angle: float
    """Direction or phase of the motion, in radians."""


def draw_style(rng: random.Random, *pools: Pool) -> VideoStyle:
    """Draw a style from the given pools."""
    motions = [rng.choice([motion for pool in pools for motion in MOTIONS[pool][of]]) for of in ("picture", "writing")]
    style = drawing.draw_style(rng, *pools)
    return VideoStyle(style=style, picture=motions[0], writing=motions[1], angle=rng.uniform(0, 2 * np.pi))


def list_style_answers(style: VideoStyle, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions.

    Whether the video is a drawing or writing has no answer for a picture that ends in writing.
    """
    answers = drawing.list_style_answers(style.style, "picture" if form == "picture" else "writing")
    return dict(list(answers.items())[:-1]) if form == "picture_writing" else answers


def render(phrase: Phrase, form: Form, style: VideoStyle) -> np.ndarray:
    """Return a video of a phrase, shape = (FRAMES, SIDE, SIDE, 3), uint8."""
    still, rng = style.style, np.random.default_rng(style.style.seed)
    paper: np.ndarray = np.asarray(Image.fromarray(drawing.paint_background(still, rng)).reduce(2), dtype=np.float32)
    paper = paper + rng.normal(0, still.noise, (SIDE, SIDE, 1)) if still.noise else paper
    picture = Image.new("L", (drawing.SIDE, drawing.SIDE))
    drawing.draw_logograms(picture, phrase, still, (255,), rng)
    masks = [
        _move(picture, style.picture, frame / (FRAMES - 1), style.angle)
        if form == "picture" or (form == "picture_writing" and frame < FRAMES // 2)
        else _write(phrase.text, style, frame if form == "writing" else None)
        for frame in range(FRAMES)
    ]
    ink = np.stack([np.asarray(mask.reduce(2), dtype=np.float32) for mask in masks])[..., None] / 255
    video: np.ndarray = paper + ink * (np.array(COLOURS[still.colour]) - paper)
    return video.clip(0, 255).astype(np.uint8)


def repeat_frame(frame: Image.Image) -> np.ndarray:
    """Return a video in which nothing moves."""
    return np.repeat(np.asarray(frame)[None], FRAMES, 0)


def find_visible_words(phrase: Phrase, form: Form, style: VideoStyle) -> np.ndarray:
    """Return for each frame whether the first and the second word are visible as a whole, shape = (FRAMES, 2), bool."""
    if form != "writing":
        return np.ones((FRAMES, 2), dtype=bool)
    if style.writing.startswith("typed"):
        letters = np.array([_count_letters(phrase.text, style, frame) for frame in range(FRAMES)])
        return np.stack([letters >= len(phrase.first), letters == len(phrase.text)], 1)
    down = _scroll(style.writing, np.linspace(0, 1, FRAMES))[1] / drawing.SIDE
    return np.stack([(down > -0.08) & (down < 0.58), (down > -0.58) & (down < 0.08)], 1)


def write_mp4(file: Path | io.BytesIO, frames: np.ndarray, rate: int = RATE) -> None:
    """Write a video as H.264 in MP4.

    Args:
        file: Path or buffer to write to.
        frames: Shape = (frames, height, width, 3), uint8.
        rate: Frames per second.
    """
    import av

    target = file if isinstance(file, io.BytesIO) else str(file)
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=CODEC)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, rate)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _move(picture: Image.Image, motion: str, time: float, angle: float) -> Image.Image:
    """Return a picture at a time from 0 to 1 of its motion."""
    zoom, shift, turn = 1.0, (0.0, 0.0), 0.0
    swing = 2 * np.pi * time + angle
    if motion == "drifting":
        shift = (10 * (2 * time - 1) * np.cos(angle), 10 * (2 * time - 1) * np.sin(angle))
    elif motion == "circling":
        shift = (9 * np.cos(swing), 9 * np.sin(swing))
    elif motion == "swaying":
        turn = 0.14 * np.sin(swing)
    else:
        zoom = 0.75 + 0.25 * (time if motion == "growing" else 1 - time)
    middle = drawing.SIDE / 2
    across, down = np.cos(turn) / zoom, np.sin(turn) / zoom
    x = middle - across * (middle + shift[0]) - down * (middle + shift[1])
    y = middle + down * (middle + shift[0]) - across * (middle + shift[1])
    return picture.transform(picture.size, Image.Transform.AFFINE, (across, down, x, -down, across, y), 2)


def _write(text: str, style: VideoStyle, frame: int | None) -> Image.Image:
    """Return the writing in a frame. None gives the whole text at its final position."""
    image, still = Image.new("L", (drawing.SIDE, drawing.SIDE)), style.style
    offset, letters = (12 * still.offset[0], 60 * still.offset[1]), None
    if frame is not None and style.writing.startswith("typed"):
        letters = _count_letters(text, style, frame)
    elif frame is not None:
        across, down = _scroll(style.writing, frame / (FRAMES - 1))
        offset = (offset[0] + across, offset[1] + down)
    draw_text(image, text, ink=(255,), font_name=still.font, size=still.size, offset=offset, letters=letters)
    return image


def _count_letters(text: str, style: VideoStyle, frame: int) -> int:
    """Return the number of letters that have been typed up to a frame."""
    letters = round(len(text) * min(1, (frame + 1) / (LAST_TYPED + 1)))
    if style.writing == "typed by words" and letters < len(text):
        return text.rfind(" ", 0, letters + 1) + 1
    return letters


def _scroll(writing: str, time: Any) -> tuple[Any, Any]:
    """Return the distance of scrolling writing from its final position, across and down, in pixels.

    Args:
        writing: Animation of the writing.
        time: Time from 0 to 1.
    """
    way = 0.4 * drawing.SIDE * (1 - 2 * time)
    return {"rising": (0, way), "sinking": (0, -way), "sliding": (0.3 * way, way)}[writing]
