"""Videos of a phrase, as real MP4 files: a moving *picture*, animated *writing*, or a *picture ending in writing*.

What moves is what `drawing` draws, on its backgrounds and in its styles. Writing is typed or scrolls. The ways to move are
split into the same three pools as the styles: `train`, `encoder` (only the encoder sees them) and `unseen`.
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

from seawall.media.typography import draw_text
from seawall.lab.world import drawing
from seawall.lab.world.drawing import COLOURS, Pool, Style
from seawall.lab.world.phrases import Phrase

SIDE = 96
"""Pixels of a frame's side, half of what is drawn."""
FRAMES, RATE = 12, 4
"""Frames of a video, and of a second."""
LAST_TYPED = 7
"""The frame in which the last letter is typed."""
CODEC = {"crf": "20", "preset": "veryfast", "tune": "animation", "threads": "1", "x264-params": "mbtree=0"}
"""Settings of x264. With its macroblock tree the same frames of so small a video give now one file and now another."""

Form = Literal["picture", "writing", "picture_writing"]
FORMS: tuple[Form, ...] = ("picture", "writing", "picture_writing")
"""VA-SafetyBench's DM, TYPO and DM_TYPO."""
MOTIONS: dict[Pool, dict[str, tuple[str, ...]]] = {
    "train": {"picture": ("drifting", "growing"), "writing": ("typed", "rising")},
    "encoder": {"picture": ("swaying",), "writing": ("sinking",)},
    "unseen": {"picture": ("shrinking", "circling"), "writing": ("typed by words", "sliding")},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Take:
    """Everything about a video but its phrase and its form."""

    style: Style
    """How each frame is drawn."""
    picture: str
    """How a picture moves."""
    writing: str
    """How writing comes."""
    angle: float
    """Direction or phase of the motion, in radians."""


def draw_take(rng: random.Random, *pools: Pool) -> Take:
    """Draw a take whose every value comes from the given pools."""
    motions = [rng.choice([motion for pool in pools for motion in MOTIONS[pool][of]]) for of in ("picture", "writing")]
    style = drawing.draw_style(rng, *pools)
    return Take(style=style, picture=motions[0], writing=motions[1], angle=rng.uniform(0, 2 * np.pi))


def style_answers(take: Take, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions; one that is a drawing and writing has none to the last."""
    answers = drawing.style_answers(take.style, "picture" if form == "picture" else "writing")
    return dict(list(answers.items())[:-1]) if form == "picture_writing" else answers


def render(phrase: Phrase, form: Form, take: Take) -> np.ndarray:
    """Draw a video, shape = (FRAMES, SIDE, SIDE, 3), uint8."""
    style, rng = take.style, np.random.default_rng(take.style.seed)
    room = (drawing.SIDE, drawing.SIDE)
    paper = np.asarray(Image.fromarray(drawing.paint_background(style, rng)).reduce(2), dtype=np.float32)
    paper = paper + rng.normal(0, style.noise, (SIDE, SIDE, 1)) if style.noise else paper
    picture = Image.new("L", room)
    drawing.draw_logograms(picture, phrase, style, (255,), rng)
    shown = [
        _move(picture, take.picture, frame / (FRAMES - 1), take.angle)
        if form == "picture" or (form == "picture_writing" and frame < FRAMES // 2)
        else _write(phrase.text, take, frame if form == "writing" else None)
        for frame in range(FRAMES)
    ]
    ink = np.stack([np.asarray(mask.reduce(2), dtype=np.float32) for mask in shown])[..., None] / 255
    return (paper + ink * (np.array(COLOURS[style.colour]) - paper)).clip(0, 255).astype(np.uint8)


def hold(frame: Image.Image) -> np.ndarray:
    """Return a video in which nothing moves."""
    return np.repeat(np.asarray(frame)[None], FRAMES, 0)


def words_seen(phrase: Phrase, form: Form, take: Take) -> np.ndarray:
    """Tell for each frame whether the first and the second word are there as a whole, shape = (FRAMES, 2)."""
    seen = np.ones((FRAMES, 2), dtype=bool)
    if form != "writing":
        return seen
    if take.writing.startswith("typed"):
        letters = np.array([_letters(phrase.text, take, frame) for frame in range(FRAMES)])
        return np.stack([letters >= len(phrase.first), letters == len(phrase.text)], 1)
    down = _scroll(take.writing, np.linspace(0, 1, FRAMES))[1] / drawing.SIDE
    return np.stack([(down > -0.08) & (down < 0.58), (down > -0.58) & (down < 0.08)], 1)


def write_mp4(file: Path | io.BytesIO, frames: Any, rate: int = RATE) -> None:
    """Write frames, shape = (frames, height, width, 3), uint8, as H.264 in MP4."""
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
    """Return the picture as it stands at a time from 0 to 1."""
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


def _write(text: str, take: Take, frame: int | None) -> Image.Image:
    """Return the writing as it stands in a frame, or, without one, at rest."""
    image, style = Image.new("L", (drawing.SIDE, drawing.SIDE)), take.style
    offset, letters = (12 * style.offset[0], 60 * style.offset[1]), None
    if frame is not None and take.writing.startswith("typed"):
        letters = _letters(text, take, frame)
    elif frame is not None:
        across, down = _scroll(take.writing, frame / (FRAMES - 1))
        offset = (offset[0] + across, offset[1] + down)
    draw_text(image, text, ink=(255,), font_name=style.font, size=style.size, offset=offset, letters=letters)
    return image


def _letters(text: str, take: Take, frame: int) -> int:
    """Return how many letters are typed in a frame."""
    letters = round(len(text) * min(1, (frame + 1) / (LAST_TYPED + 1)))
    if take.writing == "typed by words" and letters < len(text):
        return text.rfind(" ", 0, letters + 1) + 1
    return letters


def _scroll(writing: str, time: Any) -> tuple[Any, Any]:
    """Return how far writing that scrolls is from its place, across and down, in pixels, at a time from 0 to 1."""
    way = 0.4 * drawing.SIDE * (1 - 2 * time)
    return {"rising": (0, way), "sinking": (0, -way), "sliding": (0.3 * way, way)}[writing]
