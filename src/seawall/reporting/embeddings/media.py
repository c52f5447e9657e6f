"""Media as data URIs: thumbnails of images and videos, spectrograms and short recordings of sounds."""

from __future__ import annotations

import base64
import dataclasses
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seawall.media.readers import SAMPLING_RATE
from seawall.media.sound import write_mp3
from seawall.models.chat import Chat, Medium

EDGE = 128
"""Longest edge of a thumbnail in pixels."""
FRAMES = 3
"""Frames of a video that its thumbnail shows side by side."""
SECONDS = 8
"""Seconds of a sound that the page plays."""
BIT_RATE = 32_000
"""Bits per second of that recording."""
WINDOW, HOP = 400, 160
"""Samples in a window of the spectrogram, and between two windows."""
RANGE = 7.0
"""Range of the spectrogram from black to white, in powers of e."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediumView:
    """A medium as the page shows it."""

    name: str
    """File name, or `blank`."""
    picture: str = ""
    """Data URI of a thumbnail. Empty if the modality has none."""
    sound: str = ""
    """Data URI of a recording. Empty for all but sounds."""


def view_medium(chat: Chat, medium: Medium) -> MediumView:
    """Return a medium as the page shows it, cropped or cut to the size of the blank, as the synthesis uses it.

    How it is shown depends on the form in which the modality reads it: an image of Pillow, frames (a 4-D array of
    bytes), or a waveform (a 1-D array). Any other form is shown by its name only.

    Raises:
        DataError: It cannot be read.
    """
    loaded = chat.load(medium, fit=True)
    name = medium.name if isinstance(medium, Path) else str(medium)
    if isinstance(loaded, Image.Image):
        return MediumView(name=name, picture=_encode_picture(loaded))
    if isinstance(loaded, np.ndarray) and loaded.ndim == 4:
        return MediumView(name=name, picture=_encode_picture(_join_frames(loaded)))
    if isinstance(loaded, np.ndarray) and loaded.ndim == 1 and len(loaded) > WINDOW:
        sound = loaded[: SECONDS * SAMPLING_RATE]
        return MediumView(name=name, picture=_encode_picture(_draw_spectrogram(sound)), sound=_encode_sound(sound))
    return MediumView(name=name)


def _join_frames(video: np.ndarray[Any, Any]) -> Image.Image:
    """Return evenly spaced frames side by side. The video has the shape (frames, height, width, 3)."""
    chosen = np.linspace(0, len(video) - 1, min(FRAMES, len(video))).round().astype(int)
    frames = [Image.fromarray(video[index]) for index in chosen]
    for frame in frames:
        frame.thumbnail((EDGE * 3 // 4, EDGE * 3 // 4))
    width, height = frames[0].size
    joined = Image.new("RGB", ((width + 2) * len(frames) - 2, height), "white")
    for number, frame in enumerate(frames):
        joined.paste(frame, (number * (width + 2), 0))
    return joined


def _draw_spectrogram(sound: np.ndarray[Any, Any]) -> Image.Image:
    """Return the spectrogram of a waveform: time to the right, frequency upwards, loud is dark."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    level = np.log(np.square(np.abs(np.fft.rfft(windows, axis=1))) + 1e-6)
    loudness = np.clip((level - (level.max() - RANGE)) / RANGE, 0, 1) if np.ptp(level) else np.zeros_like(level)
    pixels = (255 * (1 - loudness)).astype(np.uint8).T[::-1]
    return Image.fromarray(pixels).resize((EDGE * 3 // 2, EDGE // 2), Image.Resampling.BILINEAR)


def _encode_picture(picture: Image.Image) -> str:
    small, buffer = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((max(EDGE, EDGE * FRAMES), EDGE))
    small.save(buffer, "JPEG", quality=88)
    return _make_uri("image/jpeg", buffer.getvalue())


def _encode_sound(sound: np.ndarray[Any, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.mp3"
        write_mp3(path, sound, SAMPLING_RATE, bit_rate=BIT_RATE)
        return _make_uri("audio/mpeg", path.read_bytes())


def _make_uri(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"
