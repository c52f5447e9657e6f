"""Readers of image, video and audio files, and the blank media of each kind.

PyAV decodes video and audio. A file is held in memory as a whole. The `fit` functions give a medium the size of its blank.
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
MIN_COMPLETE = 0.95
"""Share of its stated length that a file must have. MP3 files are padded, and some files round the stated length."""
UNKNOWN_SIZE = 0xFFFFFFFF
"""Size in the header of WAV files that were written as a stream."""
FRAME_PIXELS = 224
"""Edge of the frames of a blank video in pixels."""


def read_image(path: Path) -> Image.Image:
    """Return an image as RGB.

    Raises:
        OSError: The file is missing, truncated or not an image.
    """
    from PIL import Image

    return Image.open(path).convert("RGB")


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
        ValueError: The file is truncated or has no pictures.
    """
    import numpy as np
    from PIL import Image, ImageSequence

    if path.suffix.lower() in ANIMATIONS:
        with Image.open(path) as animation:
            return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)])
    import av

    with av.open(str(path)) as file:
        if not file.streams.video:
            raise ValueError("it has no pictures")
        frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in file.decode(video=0)]
        _require_complete(len(frames), file.streams.video[0].frames, "frames")
    return np.stack(frames)


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
    """Return an audio file as a waveform at `SAMPLING_RATE`, shape = (samples,), float32. Channels are averaged.

    Raises:
        OSError: The file is missing or not audio.
        ValueError: The file is truncated or has no sound.
    """
    import av
    import numpy as np

    with av.open(str(path)) as file:
        if not file.streams.audio:
            raise ValueError("it has no sound")
        stream = file.streams.audio[0]
        fifo = av.AudioFifo()  # resampling each frame on its own takes longer than decoding
        for frame in file.decode(stream):
            frame.pts = None  # accept gaps between frames
            fifo.write(frame)
        resampler = av.AudioResampler(format="fltp", rate=SAMPLING_RATE)
        pieces = [piece.to_ndarray() for frame in (fifo.read(), None) for piece in resampler.resample(frame)]
        samples = np.concatenate([piece.mean(0) for piece in pieces]) if pieces else np.zeros(0)
        stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        _require_complete(len(samples) / SAMPLING_RATE, stated, "seconds")
    _require_complete_wav(path)
    return samples.astype(np.float32)


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


def _require_complete_wav(path: Path) -> None:
    """Raise ValueError if a WAV file is shorter than its header states. FFmpeg ignores the header of a truncated file."""
    with path.open("rb") as file:
        name, stated = file.read(4), int.from_bytes(file.read(4), "little")
    if name == b"RIFF" and stated != UNKNOWN_SIZE:
        _require_complete(path.stat().st_size, stated + 8, "bytes")


def _require_complete(found: float, stated: float, unit: str) -> None:
    """Raise ValueError if a file is empty, or shorter than it states."""
    if not found or found < MIN_COMPLETE * stated:
        raise ValueError(f"it has {found:g} of {stated:g} {unit}")
