"""Images of written phrases: text in any font, size and place on a textured background.

Colours, textures, fonts and pools are those of the small world's images (`world.drawing`), so that style questions
have true answers. The encoder's training uses the pools `train` and `encoder`; tests use `unseen`.
"""

from __future__ import annotations

import dataclasses
import random

import numpy as np
from PIL import Image, ImageDraw

from seawall.lab.world.drawing import COLOURS, ImageStyle, paint_background
from seawall.media.typography import load_font

SIDE = 112
"""Width and height of an image in pixels."""
PATCH = 16
"""Width and height of the encoder's patches in pixels: one patch holds one word piece."""
SIZES = (13, 23)
"""Smallest and largest size of letters in pixels."""
MARGIN = 3
ATTEMPTS = 40
"""Layouts tried for a text. From halfway on, letters are of the smallest size."""


@dataclasses.dataclass(frozen=True)
class Word:
    """A word at its place."""

    text: str
    """The word."""
    x: float
    """Left edge in pixels."""
    y: float
    """Middle of its line in pixels."""
    size: int
    """Size of its letters in pixels."""


def lay_out(text: str, style: ImageStyle) -> list[Word]:
    """Return the words of a text at their places. The style's seed decides size, line breaks and position.

    Raises:
        ValueError: The text fits into no layout.
    """
    rng = random.Random(style.seed)
    words = text.split()
    for attempt in range(ATTEMPTS):
        size = rng.randint(*SIZES) if attempt < ATTEMPTS // 2 else SIZES[0]
        font = load_font(style.font, size)
        widths = [font.getlength(word) for word in words]
        gap = font.getlength(" ") * rng.uniform(0.9, 1.4)
        pitch = max(PATCH, round(size * rng.uniform(1.12, 1.4)))
        width = rng.uniform(70, SIDE - 2 * MARGIN) if rng.random() < 0.4 else SIDE - 2 * MARGIN
        if max(widths) > SIDE - 2 * MARGIN:
            continue
        lines = _break_lines(widths, gap, width)
        if pitch * len(lines) <= SIDE - 2:
            break
    else:
        raise ValueError(f"{text!r} does not fit into an image of {SIDE} pixels.")
    lengths = [sum(widths[i] for i in line) + gap * (len(line) - 1) for line in lines]
    left = rng.uniform(MARGIN, max(MARGIN, SIDE - MARGIN - max(lengths)))
    top = rng.uniform(1, max(1, SIDE - 1 - pitch * len(lines)))
    centred = rng.random() < 0.4
    placed = []
    for number, (line, length) in enumerate(zip(lines, lengths, strict=True)):
        x = left + (max(lengths) - length) / 2 * centred
        for i in line:
            placed.append(Word(words[i], x, top + pitch * (number + 0.5), size))
            x += widths[i] + gap
    return placed


def _break_lines(widths: list[float], gap: float, width: float) -> list[list[int]]:
    """Return the indices of the words of each line, none wider than `width` if it has more than one word."""
    lines: list[list[int]] = [[]]
    used = 0.0
    for i, word in enumerate(widths):
        if lines[-1] and used + gap + word > width:
            lines.append([])
            used = 0.0
        used += word + gap * bool(lines[-1])
        lines[-1].append(i)
    return lines


def find_centres(words: list[Word], pieces: list[list[str]], font_name: str) -> list[tuple[float, float]]:
    """Return the centre (x, y) in pixels of each word piece, in reading order.

    Args:
        words: Words at their places.
        pieces: Pieces of each word. Together they are the word.
        font_name: See `media.typography.load_font`.
    """
    centres = []
    for word, parts in zip(words, pieces, strict=True):
        font, done = load_font(font_name, word.size), ""
        for part in parts:
            left, done = font.getlength(done), done + part
            centres.append((word.x + (left + font.getlength(done)) / 2, word.y))
    return centres


def draw_mask(words: list[Word], font_name: str) -> Image.Image:
    """Return the words as a grey image: 255 where there is ink."""
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    for word in words:
        draw.text((word.x, word.y), word.text, fill=255, font=load_font(font_name, word.size), anchor="lm")
    return mask


def render(text: str, style: ImageStyle) -> Image.Image:
    """Return an RGB image of a text, `SIDE` x `SIDE` pixels."""
    rng = np.random.default_rng(style.seed)
    paper = paint_background(style, rng)[:SIDE, :SIDE].astype(np.float32)
    ink = np.asarray(draw_mask(lay_out(text, style), style.font), dtype=np.float32)[..., None] / 255
    image = paper * (1 - ink) + np.array(COLOURS[style.colour], dtype=np.float32) * ink
    if style.noise:
        image += rng.normal(0, style.noise, (SIDE, SIDE, 1)).astype(np.float32)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))
