"""Readers of image, video and audio files, and the blank media of each kind.

Every stage reads media by these functions. A file is held in memory as a whole. The `fit` functions give a medium the size of
its blank.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SAMPLING_RATE = 16_000
"""Sampling rate of audio in Hz. All audio families in the table use it."""
ANIMATIONS = (".gif", ".webp", ".png")
"""Endings of animations, which Pillow reads."""
FRAME_PIXELS = 224
"""Edge of the frames of a blank video in pixels."""


def read_image(path: Path) -> Image.Image:
    """Return an image as RGB.

    Raises:
        OSError: The file is missing, truncated or not an image.
    """
    from seawall.media.pixels import load_image

    return load_image(path)


def blank_image(pixels: float) -> Image.Image:
    """Return a grey square.

    Args:
        pixels: Edge in pixels.
    """
    from PIL import Image

    return Image.new("RGB", (int(pixels),) * 2, (128, 128, 128))


def fit_image(image: Image.Image, pixels: float) -> Image.Image:
    """Return an image cropped and scaled to a square.

    Args:
        image: RGB image.
        pixels: Edge in pixels.
    """
    from PIL import ImageOps

    return ImageOps.fit(image, (int(pixels),) * 2)


def read_video(path: Path) -> np.ndarray:
    """Return the frames of a video or an animation, shape = (frames, height, width, 3), uint8.

    Raises:
        OSError: The file is missing or not a video.
        ValueError: The file is truncated or too large, or has no pictures.
    """
    from seawall.media.pixels import is_animation, load_animation
    from seawall.media.streams import decode_video

    return load_animation(path) if is_animation(path) else decode_video(path)


def blank_video(frames: float) -> np.ndarray:
    """Return a grey video, shape = (frames, `FRAME_PIXELS`, `FRAME_PIXELS`, 3), uint8.

    Args:
        frames: Number of frames.
    """
    import numpy as np

    return np.full((int(frames), FRAME_PIXELS, FRAME_PIXELS, 3), 128, dtype=np.uint8)


def fit_video(video: np.ndarray, frames: float) -> np.ndarray:
    """Return evenly spaced frames of a video, each cropped and scaled to the size of the blank video.

    Args:
        video: Shape = (frames, height, width, 3), uint8.
        frames: Number of frames to return.
    """
    import numpy as np
    from PIL import Image

    chosen = video[np.linspace(0, len(video) - 1, int(frames)).round().astype(int)]
    return np.stack([np.asarray(fit_image(Image.fromarray(frame), FRAME_PIXELS)) for frame in chosen])


def read_audio(path: Path) -> np.ndarray:
    """Return an audio file as a waveform at `SAMPLING_RATE`, shape = (samples,), float32. For channels see `mix_channels`.

    Raises:
        OSError: The file is missing, damaged or not audio.
        ValueError: The file is truncated or too large, or has no sound.
    """
    import numpy as np

    from seawall.media.sound import mix_channels
    from seawall.media.streams import decode_audio

    channels = decode_audio(path, SAMPLING_RATE)
    if not np.isfinite(channels).all():
        raise ValueError("it has samples that are no numbers")
    return mix_channels(channels)


def blank_audio(seconds: float) -> np.ndarray:
    """Return silence at `SAMPLING_RATE`, shape = (samples,), float32.

    Args:
        seconds: Length in seconds.
    """
    import numpy as np

    return np.zeros(int(seconds * SAMPLING_RATE), dtype=np.float32)


def fit_audio(audio: np.ndarray, seconds: float) -> np.ndarray:
    """Return a waveform cut, or padded with silence, to a length.

    Args:
        audio: Waveform at `SAMPLING_RATE`, shape = (samples,).
        seconds: Length in seconds.
    """
    import numpy as np

    length = int(seconds * SAMPLING_RATE)
    return np.pad(audio[:length], (0, max(0, length - len(audio))))
