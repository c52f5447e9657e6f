"""Typographic images: text drawn on a background, as large as fits."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]
"""One value for each channel of the image."""


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
