"""Typography: text drawn on images, and moving text as frames or as a video file."""

from __future__ import annotations

import colorsys
import functools
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seawall.errors import DataError
from seawall.media.video import FPS, SECONDS, SIZE, count_frames, write_video

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, ...]
"""One value for each channel of an image."""

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono-Bold")
"""Fonts of moving text. matplotlib contains them."""
MOTIONS = ("drift", "grow", "type")
"""Ways in which text moves: sideways, from small to full size, or word by word."""
COMPLETE_AT = 0.5
"""Share of the time after which all of the text is shown."""
MIN_LETTER_HEIGHT = 10
"""Smallest height of letters in pixels."""
MARGIN = 0.08
"""Free margin of moving text on each side, as a share of the frame's width or height."""
LEADING = 1.25
"""Distance of lines, as a multiple of the height of letters."""


@functools.cache
def load_font(name: str, size: int) -> Font:
    """Return a font of matplotlib, or `Aileron`, Pillow's own.

    Args:
        name: File name without ending.
        size: Height in pixels.
    """
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
    """Draw text onto an image, as large as fits, with the last word on a line of its own.

    Args:
        image: Image. It is changed in place.
        text: Text to draw.
        ink: Colour of the letters.
        font_name: See `load_font`.
        size: Share of the largest possible size.
        offset: Shift from the centre in pixels, (right, down).
        letters: Number of letters to draw, at their places in the whole text. None draws all.
    """
    *first, last = text.split()
    lines = [" ".join(first), last] if first else [last]
    band = image.height / len(lines)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        largest = min(0.92 * image.width / load_font(font_name, 100).getlength(line), 0.0075 * band)
        centre = (image.width / 2 + offset[0], (number + 0.5) * band + offset[1])
        font = load_font(font_name, round(100 * largest * size))
        if letters is None:
            draw.text(centre, line, fill=ink, font=font, anchor="mm")
            continue
        left = (centre[0] - font.getlength(line) / 2, centre[1])
        draw.text(left, line[:letters], fill=ink, font=font, anchor="lm")
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
    """Write a video of moving text. For arguments and errors see `animate_text` and `write_video`.

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
    """Yield the frames of moving text. All of it is shown in the second half of the time.

    Args:
        text: Text to show. It is broken into lines so that it is as large as possible.
        size: Width and height of the frames in pixels.
        seconds: Length in seconds.
        fps: Frames per second.
        seed: Chooses font, colours and motion.

    Raises:
        DataError: The text is empty, or too long to be legible at this size.
    """
    draw = random.Random(seed)
    font_name, motion = draw.choice(FONTS), draw.choice(MOTIONS)
    ink, ground = _choose_colours(draw)
    sideways = draw.choice((-1, 1)) * MARGIN / 2 * size[0]
    pixels, lines = wrap_text(text, font_name, size)
    count = count_frames(seconds, fps)
    words = len(text.split())
    for index in range(count):
        time = index / max(1, count - 1)
        progress = min(1.0, time / COMPLETE_AT)
        shown = max(1, round(progress * words)) if motion == "type" else words
        mask = _draw_words(size, font_name, pixels, tuple(lines), shown)
        scale = 0.7 + 0.3 * progress if motion == "grow" else 1.0
        shift = sideways * (1 - 2 * index / max(1, count - 1)) if motion == "drift" else 0.0
        # PIL expects the map from result to source
        centre = [(1 - 1 / scale) * side / 2 for side in size]
        matrix = (1 / scale, 0, centre[0] - shift, 0, 1 / scale, centre[1])
        moved = mask.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        image = Image.new("RGB", size, ground)
        image.paste(ink, mask=moved)
        yield image


def wrap_text(text: str, font_name: str, size: tuple[int, int]) -> tuple[int, list[str]]:
    """Break a text into lines so that it is as large as possible.

    Args:
        text: Text to show.
        font_name: See `load_font`.
        size: Width and height of the frame in pixels.

    Returns:
        Height of the letters in pixels, and the lines.

    Raises:
        DataError: The text is empty, or too long to be legible at this size.
    """
    words = text.split()
    if not words:
        raise DataError("The text to show is empty. Give a text with at least one word.")
    width, height = (side * (1 - 2 * MARGIN) for side in size)
    for pixels in range(int(height / 2), MIN_LETTER_HEIGHT - 1, -1):
        font = load_font(font_name, pixels)
        lines = [words[0]]
        for word in words[1:]:
            if font.getlength(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        if len(lines) * LEADING * pixels <= height and max(map(font.getlength, lines)) <= width:
            return pixels, lines
    raise DataError(
        f"A text of {len(text)} characters is not legible in {size[0]} x {size[1]} pixels. Shorten it or enlarge the frames."
    )


@functools.lru_cache(maxsize=64)
def _draw_words(size: tuple[int, int], font_name: str, pixels: int, lines: tuple[str, ...], words: int) -> Image.Image:
    """Return a mask of the first words of a text, at their places in the whole text."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    font, top = load_font(font_name, pixels), (size[1] - len(lines) * LEADING * pixels) / 2
    for number, line in enumerate(lines):
        left = (size[0] - font.getlength(line)) / 2
        shown, words = line.split()[:words], max(0, words - len(line.split()))
        draw.text((left, top + (number + 0.5) * LEADING * pixels), " ".join(shown), fill=255, font=font, anchor="lm")
    return mask


def _choose_colours(draw: random.Random) -> tuple[Colour, Colour]:
    """Return a dark and a light colour, in either order."""
    hue = draw.random()
    dark, light = (
        tuple(round(255 * part) for part in colorsys.hls_to_rgb((hue + turn) % 1, lightness, 0.6))
        for turn, lightness in ((0, 0.2), (draw.uniform(0.3, 0.7), 0.9))
    )
    return (dark, light) if draw.random() < 0.5 else (light, dark)
