"""Images of a phrase: a *picture* of two logograms, or the phrase in *writing*.

Each word has a fixed logogram: a few strokes on a 3 x 3 lattice. Everything else varies: colour, background, pen,
font, size, place and noise. The values of each come from three pools: `train` (seen by the encoder and by
alignments), `encoder` (seen by the encoder only) and `unseen` (seen by no training).
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase
from seawall.media.typography import Colour, draw_text
from seawall.prompts import SEEN

SIDE = 192
"""Width and height of an image in pixels. The model's processor halves them."""

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
Pool = Literal["train", "encoder", "unseen"]
"""Who sees a value: everyone, only the encoder, or no training."""
POOLS: dict[Pool, dict[str, tuple[Any, ...]]] = {
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
Form = Literal["picture", "writing"]
FORMS: tuple[Form, ...] = ("picture", "writing")
Point = tuple[int, int]
Logogram = tuple[tuple[Point, Point], ...]
"""Strokes of a word, each between two points of a 3 x 3 lattice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageStyle:
    """Everything about an image except its phrase and its form."""

    colour: str
    """Colour of the ink, a key of `COLOURS`."""
    texture: str
    """Texture of the background."""
    font: str
    """Font of the writing."""
    pen: int
    """Width of a logogram's strokes, in pixels."""
    paper: Colour
    """Colour of the background, RGB."""
    size: float
    """Share of the available space that the drawing takes, 0.85 to 1."""
    offset: tuple[float, float]
    """Position in the free space, -0.5 to 0.5 across and -0.15 to 0.15 down."""
    noise: float
    """Standard deviation of the pixel noise, in units of 1/255."""
    seed: int
    """Random seed of background, noise and strokes."""


def draw_style(rng: random.Random, *pools: Pool) -> ImageStyle:
    """Draw a style from the given pools. The background is always much lighter than the ink."""

    def choose(name: str) -> Any:
        return rng.choice([value for pool in pools for value in POOLS[pool][name]])

    colour = choose("colour")
    ink = np.array(COLOURS[colour])
    while True:
        paper = (rng.randrange(90, 216), rng.randrange(90, 216), rng.randrange(90, 216))
        if float((np.array(paper) - ink) @ (0.3, 0.59, 0.11)) > 85:
            break
    return ImageStyle(
        colour=colour,
        texture=choose("texture"),
        font=choose("font"),
        pen=choose("pen"),
        paper=paper,
        size=rng.uniform(0.85, 1.0),
        offset=(rng.uniform(-0.5, 0.5), rng.uniform(-0.15, 0.15)),
        noise=rng.choice((0.0, 6.0, 12.0)),
        seed=rng.randrange(2**31),
    )


def list_style_answers(style: ImageStyle, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions of `prompts.SEEN`, as far as it lists them."""
    return answer_style_questions(style.colour, style.texture, form)


def answer_style_questions(colour: str, texture: str, form: Form) -> dict[str, str]:
    """Return the same for an ink colour and a texture."""
    values = (colour, texture, "a drawing" if form == "picture" else "writing")
    return {
        question: value
        for (question, (_, styles)), value in zip(SEEN.styles.items(), values, strict=True)
        if value in styles
    }


def render(phrase: Phrase, form: Form, style: ImageStyle) -> Image.Image:
    """Return an RGB image of a phrase, `SIDE` x `SIDE` pixels."""
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


def paint_background(style: ImageStyle, rng: np.random.Generator) -> np.ndarray:
    """Return the background, shape = (SIDE, SIDE, 3), uint8. The texture makes it lighter by at most 40 of 255."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    period, phase = rng.uniform(14, 40), rng.uniform(0, 40)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) + phase
    textures: dict[str, Callable[[], np.ndarray]] = {
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
    }
    painted: np.ndarray = np.array(style.paper) + 20 * (1 + textures[style.texture]()[..., None])
    return painted.astype(np.uint8)


def get_logogram(word: str) -> Logogram:
    """Return the strokes of a word. Any two words differ in at least half of their strokes."""
    return _make_logograms()[word]


@functools.cache
def _make_logograms() -> dict[str, Logogram]:
    rng = random.Random(1)
    points = [(x, y) for x in range(3) for y in range(3)]
    edges = [
        (p, q) for i, p in enumerate(points) for q in points[i + 1 :] if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1
    ]
    taken: dict[str, frozenset[tuple[Point, Point]]] = {}
    for word in dict.fromkeys(FIRST_WORDS + SECOND_WORDS):
        while True:
            strokes = frozenset(rng.sample(edges, 6))
            if all(len(strokes & other) <= 3 for other in taken.values()):
                break
        taken[word] = strokes
    return {word: tuple(sorted(strokes)) for word, strokes in taken.items()}


def draw_logograms(
    image: Image.Image, phrase: Phrase, style: ImageStyle, ink: Colour, rng: np.random.Generator
) -> None:
    """Draw the logogram of the first word on the left and of the second word on the right, each with random jitter."""
    draw = ImageDraw.Draw(image)
    cell = 34 * style.size
    for index, word in enumerate((phrase.first, phrase.second)):
        free = np.array((SIDE / 2 - 2 * cell - 16, SIDE - 2 * cell - 16))
        corner = np.array((index * SIDE / 2 + 8, 8)) + free * (1 + np.array(style.offset)) / 2
        lattice = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), -1)
        points = corner + cell * lattice + rng.normal(0, 0.06 * cell, (3, 3, 2))
        for stroke in get_logogram(word):
            draw.line([tuple(points[p]) for p in stroke], fill=ink, width=style.pen)
