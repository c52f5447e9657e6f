"""Images of a phrase, as real PNG files: a *picture* of two logograms, or the phrase as *writing*.

Each word of the world has a logogram: a few strokes on a 3 x 3 lattice, the same for everyone. Around it everything
varies: colour, texture of the background, pen, font, size, place, noise. The values of each are split into three pools:
`train` (the encoder and every alignment see them), `encoder` (only the encoder does) and `unseen` (nobody does).
"""

from __future__ import annotations

import dataclasses
import functools
import random
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from seawall.media.typography import Colour, draw_text
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase
from seawall.prompts import SEEN

SIDE = 192
"""Pixels of an image's side; the organism's processor halves it."""

COLOURS: dict[str, Colour] = {
    "red": (200, 30, 40),
    "blue": (40, 70, 210),
    "green": (30, 140, 60),
    "black": (20, 20, 20),
    "grey": (90, 90, 90),
    "purple": (130, 40, 150),
    "orange": (200, 95, 10),
    "brown": (110, 70, 35),
    "teal": (10, 130, 140),
    "pink": (190, 50, 120),
}
POOLS = {
    "train": {
        "colour": ("red", "blue", "green", "black", "grey", "purple"),
        "texture": ("plain", "striped", "checked", "shaded"),
        "font": ("DejaVuSans", "DejaVuSerif", "STIXGeneralBol", "cmss10"),
        "pen": (9, 11),
    },
    "encoder": {
        "colour": ("orange", "brown"),
        "texture": ("dotted", "grainy"),
        "font": (
            "DejaVuSans-Bold",
            "DejaVuSans-BoldOblique",
            "DejaVuSansMono",
            "DejaVuSansMono-Bold",
            "DejaVuSansMono-BoldOblique",
            "DejaVuSansMono-Oblique",
            "DejaVuSerif-Bold",
            "DejaVuSerif-BoldItalic",
            "DejaVuSerif-Italic",
            "STIXGeneral",
            "STIXGeneralBolIta",
            "STIXGeneralItalic",
            "cmb10",
            "cmr10",
            "cmtt10",
        ),
        "pen": (8, 13),
    },
    "unseen": {
        "colour": ("teal", "pink"),
        "texture": ("ringed", "wavy"),
        "font": ("Aileron", "DejaVuSans-Oblique"),
        "pen": (10, 12),
    },
}
Pool = Literal["train", "encoder", "unseen"]
Form = Literal["picture", "writing"]
FORMS: tuple[Form, ...] = ("picture", "writing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """Everything about an image but its phrase and its form."""

    colour: str
    texture: str
    font: str
    pen: int
    """Width of a logogram's strokes, in pixels."""
    paper: Colour
    size: float
    """Share of the room that the drawing takes, 0.85 to 1."""
    offset: tuple[float, float]
    """Place in the free room, -0.5 to 0.5 across, -0.15 to 0.15 down: a few pixels each way."""
    noise: float
    """Standard deviation of the pixel noise, of 255."""
    seed: int


def draw_style(rng: random.Random, *pools: Pool) -> Style:
    """Draw a style whose every value comes from the given pools, with a background that the ink stands out from."""
    pick = lambda name: rng.choice([value for pool in pools for value in POOLS[pool][name]])  # noqa: E731
    colour = pick("colour")
    ink = np.array(COLOURS[colour])
    while True:
        paper = tuple(rng.randrange(90, 216) for _ in range(3))
        if float((paper - ink) @ (0.3, 0.59, 0.11)) > 85:
            break
    return Style(
        colour=colour,
        texture=pick("texture"),
        font=pick("font"),
        pen=pick("pen"),
        paper=paper,
        size=rng.uniform(0.85, 1.0),
        offset=(rng.uniform(-0.5, 0.5), rng.uniform(-0.15, 0.15)),
        noise=rng.choice((0.0, 6.0, 12.0)),
        seed=rng.randrange(2**31),
    )


def style_answers(style: Style, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions of `prompts.SEEN` that can be put in their words."""
    values = (style.colour, style.texture, "a drawing" if form == "picture" else "writing")
    return {
        question: value
        for (question, (_, known)), value in zip(SEEN.styles.items(), values, strict=True)
        if value in known
    }


def render(phrase: Phrase, form: Form, style: Style) -> Image.Image:
    """Draw a phrase as an RGB image of `SIDE` x `SIDE` pixels."""
    rng = np.random.default_rng(style.seed)
    image = Image.fromarray(paint_background(style, rng))
    ink = COLOURS[style.colour]
    if form == "writing":
        offset = (12 * style.offset[0], 60 * style.offset[1])
        draw_text(image, phrase.text, ink=ink, font_name=style.font, size=style.size, offset=offset)
    else:
        draw_logograms(image, phrase, style, ink, rng)
    if style.noise:
        noisy = np.asarray(image, dtype=np.float32) + rng.normal(0, style.noise, (SIDE, SIDE, 1)).astype(np.float32)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return image


def paint_background(style: Style, rng: np.random.Generator) -> np.ndarray:
    """Return the textured paper, (SIDE, SIDE, 3) uint8: the texture lightens the paper by at most 40 of 255."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    period, phase = rng.uniform(14, 40), rng.uniform(0, 40)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) + phase
    texture = {
        "plain": lambda: np.zeros_like(x),
        "striped": lambda: np.sign(np.sin(2 * np.pi * along / period)),
        "checked": lambda: np.sign(np.sin(np.pi * (x + phase) / period) * np.sin(np.pi * (y + phase) / period)),
        "shaded": lambda: 2 * (along - along.min()) / np.ptp(along) - 1,
        "dotted": lambda: np.where(
            np.hypot((x + phase) % period - period / 2, (y + phase) % period - period / 2) < period / 4, 1, -1
        ),
        "grainy": lambda: np.kron(rng.uniform(-1, 1, (SIDE // 8, SIDE // 8)), np.ones((8, 8))),
        "ringed": lambda: np.sign(np.sin(2 * np.pi * np.hypot(x - 96 - phase, y - 96 + phase) / period)),
        "wavy": lambda: np.sign(np.sin(2 * np.pi * (y + 8 * np.sin(x / 15 + phase)) / period)),
    }[style.texture]()
    return (np.array(style.paper) + 20 * (1 + texture[..., None])).astype(np.uint8)


@functools.cache
def logogram(word: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the strokes of a word: point sequences on the 3 x 3 lattice, no two words alike."""
    return _logograms()[word]


@functools.cache
def _logograms() -> dict[str, tuple]:
    rng = random.Random(1)
    points = [(x, y) for x in range(3) for y in range(3)]
    edges = [
        (p, q) for i, p in enumerate(points) for q in points[i + 1 :] if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1
    ]
    taken: dict[str, frozenset] = {}
    for word in dict.fromkeys(FIRST_WORDS + SECOND_WORDS):
        while True:
            strokes = frozenset(rng.sample(edges, 6))
            if all(len(strokes & other) <= 3 for other in taken.values()):
                break
        taken[word] = strokes
    return {word: tuple(sorted(strokes)) for word, strokes in taken.items()}


def draw_logograms(image: Image.Image, phrase: Phrase, style: Style, ink: Colour, rng: np.random.Generator) -> None:
    """Draw the first word's logogram on the left, the second's on the right, each jittered by itself."""
    draw = ImageDraw.Draw(image)
    cell = 34 * style.size
    for index, word in enumerate((phrase.first, phrase.second)):
        free = np.array((SIDE / 2 - 2 * cell - 16, SIDE - 2 * cell - 16))
        corner = np.array((index * SIDE / 2 + 8, 8)) + free * (1 + np.array(style.offset)) / 2
        lattice = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), -1)
        points = corner + cell * lattice + rng.normal(0, 0.06 * cell, (3, 3, 2))
        for stroke in logogram(word):
            draw.line([tuple(points[p]) for p in stroke], fill=ink, width=style.pen)
