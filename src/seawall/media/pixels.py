"""Still images and animations as 8-bit RGB, as a viewer shows them on a white page.

Each mode of Pillow is converted by what it means, transparency shows white, and the EXIF orientation is applied. A mode
whose white is not defined is refused.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

log = logging.getLogger(__name__)

SIGNATURES = (b"GIF8", b"\x89PNG\r\n\x1a\n", b"RIFF")
"""First bytes of animations that Pillow reads. `RIFF` starts WebP, and also WAV and AVI."""
MIN_EDGE = 32
"""Smallest edge in pixels of an image that is given to a processor. Of a smaller one some families make no token, or only one,
which Mistral 3 cannot take, and others take an axis of 1 or 3 pixels for the colour channels."""
MIN_FRAME_EDGE = 4
"""Smallest edge in pixels of a frame."""
MAX_BYTES = 2**33
"""Largest size of a decoded medium in memory, in bytes: 57 s of a video of 1920 x 1080 pixels with 24 frames per second."""
REFUSED_FORMATS = ("EPS",)
"""Formats that Pillow reads by running another program."""
GREY_KEYS = {"L;2": 85, "L;4": 17}
"""Factor from the samples of a PNG file, in which it states its transparent grey, to Pillow's pixels, by raw mode."""
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF files, and the value for images whose white is 0."""
ORIENTATION = 274
"""EXIF tag of the orientation."""
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Pillow's `Transpose` that puts an image upright, by EXIF orientation."""
NEARLY_WHITE = 250
"""Values from here on count as white in the warning about white content."""


def is_animation(path: Path) -> bool:
    """Return whether Pillow reads a file as an animation, by its first bytes.

    Raises:
        OSError: The file is missing.
    """
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(SIGNATURES) and (not head.startswith(b"RIFF") or head[8:] == b"WEBP")


def load_image(path: Path) -> Image.Image:
    """Return an image, or the first frame of an animation, as RGB.

    Raises:
        OSError: The file is missing, truncated or not an image.
        ValueError: It is too large, or its mode does not define what white is.
    """
    with _open(path) as image:
        return enlarge(to_rgb(image, str(path)))


def load_animation(path: Path) -> np.ndarray[Any, Any]:
    """Return the frames of an animation, shape = (frames, height, width, 3), uint8.

    Raises:
        OSError: The file is missing, truncated or not an image.
        ValueError: It is too large, or its mode does not define what white is.
    """
    import numpy as np
    from PIL import ImageSequence

    frames = []
    with _open(path) as animation:
        require_size(3 * animation.width * animation.height * getattr(animation, "n_frames", 1))
        for frame in ImageSequence.Iterator(animation):
            frames.append(np.asarray(enlarge(to_rgb(frame, str(path)), MIN_FRAME_EDGE)))
    return np.stack(frames)


def to_rgb(image: Image.Image, name: str = "an image") -> Image.Image:
    """Return an image as a viewer shows it on a white page: upright, 8-bit RGB.

    Args:
        image: Image of any mode, not loaded yet.
        name: File name for the log.

    Raises:
        OSError: The file is truncated.
        ValueError: The mode does not define what white is.
    """
    from PIL import Image

    scale = _find_key_scale(image)  # known only before the pixels are loaded
    image.load()
    flat = _scale_to_bytes(image) if image.mode[0] in "IF" else _flatten(image, scale, name)
    turn = TURNS.get(_find_orientation(image, name))
    return flat if turn is None else flat.transpose(Image.Transpose(turn))


def enlarge(image: Image.Image, edge: int = MIN_EDGE) -> Image.Image:
    """Return an image with edges of at least `edge` pixels. Each pixel of a smaller image becomes a square of pixels."""
    from PIL import Image

    factor = -(-edge // min(image.size))
    if factor <= 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def require_size(found: int) -> None:
    """Raise ValueError if a decoded medium has more bytes than `MAX_BYTES`."""
    if found > MAX_BYTES:
        raise ValueError(f"it takes more than {MAX_BYTES / 2**30:g} GiB in memory; make it shorter or smaller")


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Open an image or an animation.

    Raises:
        OSError: It cannot be opened.
        ValueError: It has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    with path.open("rb") as file:  # of a path, Pillow maps TIFF files into memory, which garbles those to be turned
        try:
            yield Image.open(file, formats=_list_formats())
        except Image.DecompressionBombError as error:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            raise ValueError(f"it has more than {limit / 1e6:.0f} million pixels; scale it down") from error
        except UnidentifiedImageError as error:
            raise OSError("it has no known image format") from error


@functools.cache
def _list_formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in Image.ID if name not in REFUSED_FORMATS]


def _find_key_scale(image: Image.Image) -> int:
    """Return the factor from the transparent grey that a PNG file states to the grey of its pixels."""
    tiles = getattr(image, "tile", None)
    return GREY_KEYS.get(tiles[0].args, 1) if tiles and isinstance(tiles[0].args, str) else 1


def _find_orientation(image: Image.Image, name: str) -> int:
    """Return the EXIF orientation of a loaded image, 1 for upright."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception as error:  # broken EXIF data raise nearly anything
        log.warning("%s has unreadable EXIF data (%s). It is taken as upright.", name, type(error).__name__)
        return 1


def _flatten(image: Image.Image, scale: int, name: str) -> Image.Image:
    """Return an image of 8 bits as RGB, on white where it is transparent."""
    import numpy as np
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    key = image.info.get("transparency")
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    if isinstance(key, int) and image.mode == "L":
        image.info["transparency"] = key * scale
    elif isinstance(key, tuple) and max(key) > 255:  # 16 bits a channel, of which Pillow keeps the upper 8
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and image.mode not in ("1", "L", "P"):  # left over from the palette of a GIF file
        del image.info["transparency"]
    layer = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if np.asarray(flat).min() >= NEARLY_WHITE and np.asarray(layer.getchannel("A")).max() > 127:
        log.warning("%s is white on a transparent ground, which cannot be seen on white.", name)
    return flat


def _scale_to_bytes(image: Image.Image) -> Image.Image:
    """Return a grey image of more than 8 bits as RGB.

    Raises:
        ValueError: The mode does not define what white is.
    """
    import numpy as np
    from PIL import Image

    white = _find_white(image)
    grey = np.asarray(image).astype(np.int64).clip(0, white)
    flat = (grey * 255 + white // 2) // white
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        flat = 255 - flat
    if isinstance(key := image.info.get("transparency"), int):
        flat[grey == key] = 255
    return Image.fromarray(flat.astype(np.uint8)).convert("RGB")


def _find_white(image: Image.Image) -> int:
    """Return the value of white in a grey image of more than 8 bits.

    Raises:
        ValueError: It is not defined.
    """
    if image.mode.startswith("I;16") and image.format != "FITS":
        bits = getattr(image, "tag_v2", {}).get(BITS, (16,))
        return int(2 ** bits[0] - 1)
    if image.mode == "I" and image.format == "PPM":  # Pillow scales them to 16 bits
        return 65_535
    kind = "floating-point" if image.mode == "F" else "32-bit or signed"
    raise ValueError(
        f"its pixels are {kind} numbers (mode {image.mode}), for which no white is defined; save it with 8 or 16 bits"
    )
