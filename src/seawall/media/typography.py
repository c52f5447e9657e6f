"""Typography: text drawn on a background, as large as fits; and text that moves, as frames or as a video file."""

from __future__ import annotations

import colorsys
import functools
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seawall.errors import DataError
from seawall.media.video import FPS, SECONDS, SIZE, count_frames, write_video

Colour = tuple[int, ...]
"""One value for each channel of the image."""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono-Bold")
"""Fonts of moving text."""
MOTIONS = ("drift", "grow", "type")
"""How text moves: across a little, from smaller to its full size, or word after word."""
ARRIVED = 0.5
"""Share of the time after which all of the text stands there."""
LEGIBLE = 10
"""Smallest height of letters, in pixels."""
MARGIN = 0.08
"""Share of each side of a frame that moving text leaves free."""
LEADING = 1.25
"""Distance of lines, in heights of letters."""


@functools.cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font by its file name without ending, from those that matplotlib ships, or Pillow's own `Aileron`."""
    if name == "Aileron":
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf"), size)


def draw_text(
    image: Image.Image,
    text: str,
    *,
    ink: Colour,
    font_name: str = "DejaVuSans",
    size: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
    letters: int | None = None,
) -> None:
    """Draw `text` onto `image` in place, its last word on a line of its own, each line as large as fits.

    Args:
        image: Image, changed in place.
        text: What to draw.
        ink: Colour of the letters.
        font_name: See `font`.
        size: Share of the room that the letters take.
        offset: Shift from the middle, in pixels.
        letters: Draw only so many of the first letters, each where it stands in the whole text.
    """
    *first, last = text.split()
    lines = [" ".join(first), last] if first else [last]
    band = image.height / len(lines)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        fits = min(0.92 * image.width / font(font_name, 100).getlength(line), 0.0075 * band)
        middle = (image.width / 2 + offset[0], (number + 0.5) * band + offset[1])
        drawn = font(font_name, round(100 * fits * size))
        if letters is None:
            draw.text(middle, line, fill=ink, font=drawn, anchor="mm")
            continue
        left = (middle[0] - drawn.getlength(line) / 2, middle[1])
        draw.text(left, line[:letters], fill=ink, font=drawn, anchor="lm")
        letters = max(0, letters - len(line))


def write_text_video(
    path: Path,
    text: str,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> float:
    """Write a video of moving text: see `animate_text`, and `write_video` for the file and what it raises.

    Returns:
        The length in seconds.
    """
    return write_video(path, animate_text(text, size=size, seconds=seconds, fps=fps, seed=seed), fps=fps)


def animate_text(
    text: str,
    *,
    size: tuple[int, int] = SIZE,
    seconds: float = SECONDS,
    fps: int = FPS,
    seed: int = 0,
) -> Iterator[Image.Image]:
    """Yield the frames of a text that moves, all of it to be read in the second half of the time.

    Args:
        text: What to show; as many lines as make it largest.
        size: Width and height in pixels.
        seconds: Length.
        fps: Frames a second.
        seed: Draws font, colours and motion.

    Raises:
        DataError: There is no text, or it is too long to be read at this size.
    """
    draw = random.Random(seed)
    font_name, motion = draw.choice(FONTS), draw.choice(MOTIONS)
    ink, ground = _draw_colours(draw)
    sideways = draw.choice((-1, 1)) * MARGIN / 2 * size[0]
    pixels, lines = wrap_text(text, font_name, size)
    number = count_frames(seconds, fps)
    words = len(text.split())
    for frame in range(number):
        done = min(1.0, frame / max(1, number - 1) / ARRIVED)
        mask = _draw_words(
            size, font_name, pixels, tuple(lines), max(1, round(done * words)) if motion == "type" else words
        )
        scale = 0.7 + 0.3 * done if motion == "grow" else 1.0
        shift = sideways * (1 - 2 * frame / max(1, number - 1)) if motion == "drift" else 0.0
        # PIL wants, for each pixel of the result, where it comes from
        middle = [(1 - 1 / scale) * side / 2 for side in size]
        matrix = (1 / scale, 0, middle[0] - shift, 0, 1 / scale, middle[1])
        moved = mask.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        image = Image.new("RGB", size, ground)
        image.paste(ink, mask=moved)
        yield image


def wrap_text(text: str, font_name: str, size: tuple[int, int]) -> tuple[int, list[str]]:
    """Return the largest height of letters at which a text fits into a frame, in pixels, and its lines.

    Raises:
        DataError: There is no text, or it is too long to be read at this size.
    """
    words = text.split()
    if not words:
        raise DataError("There is no text to show. Give one with a letter in it.")
    width, height = (side * (1 - 2 * MARGIN) for side in size)
    for pixels in range(int(height / 2), LEGIBLE - 1, -1):
        letters = font(font_name, pixels)
        lines = [words[0]]
        for word in words[1:]:
            if letters.getlength(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        if len(lines) * LEADING * pixels <= height and max(map(letters.getlength, lines)) <= width:
            return pixels, lines
    raise DataError(f"A text of {len(text)} characters cannot be read in {size[0]} x {size[1]} pixels. Shorten it.")


@functools.lru_cache(maxsize=64)
def _draw_words(size: tuple[int, int], font_name: str, pixels: int, lines: tuple[str, ...], words: int) -> Image.Image:
    """Return the mask of the first words of a text, each where it stands in the whole text."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    letters, top = font(font_name, pixels), (size[1] - len(lines) * LEADING * pixels) / 2
    for number, line in enumerate(lines):
        left = (size[0] - letters.getlength(line)) / 2
        shown, words = line.split()[:words], max(0, words - len(line.split()))
        draw.text((left, top + (number + 0.5) * LEADING * pixels), " ".join(shown), fill=255, font=letters, anchor="lm")
    return mask


def _draw_colours(draw: random.Random) -> tuple[Colour, Colour]:
    """Return a dark and a light colour, in either order."""
    hue = draw.random()
    dark, light = (
        tuple(round(255 * part) for part in colorsys.hls_to_rgb((hue + turn) % 1, lightness, 0.6))
        for turn, lightness in ((0, 0.2), (draw.uniform(0.3, 0.7), 0.9))
    )
    return (dark, light) if draw.random() < 0.5 else (light, dark)
