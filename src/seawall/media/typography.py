"""Typographic images: text drawn on a background, wrapped and sized to fit."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]


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
    fill: float = 0.9,
    offset: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Draw `text` onto `image` in place, one or two words a line, as large as fits.

    Args:
        image: RGB image, changed in place.
        text: What to draw.
        ink: Colour of the letters.
        font_name: See `font`.
        fill: Share of the image's width (or height) that the text may take.
        offset: Where in the free space the text stands: (-1, -1) top left, (0, 0) the middle, (1, 1) bottom right.
    """
    words = text.split()
    lines = [" ".join(words[:-1]), words[-1]] if len(words) > 1 else words
    block = "\n".join(lines)
    draw = ImageDraw.Draw(image)
    probe = draw.multiline_textbbox((0, 0), block, font=font(font_name, 40), align="center")
    width, height = probe[2] - probe[0], probe[3] - probe[1]
    size = max(8, int(40 * fill * min(image.width / width, image.height / height)))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), block, font=font(font_name, size), align="center")
    x = (image.width - (right - left)) * (1 + offset[0]) / 2 - left
    y = (image.height - (bottom - top)) * (1 + offset[1]) / 2 - top
    draw.multiline_text((x, y), block, fill=ink, font=font(font_name, size), align="center")
