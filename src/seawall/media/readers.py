"""Readers of image, video and sound files, the blank of each, and how a medium is fitted to the size of its blank.

PyAV decodes video and sound. A file is held in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SAMPLING_RATE = 16_000
"""Of every audio family in the table, in Hz."""
ANIMATIONS = (".gif", ".webp", ".png")
"""Endings of videos that Pillow reads."""
CUT = 0.95
"""Share of what a file says it holds that must be there, or it is taken for cut short: MP3 is padded, some counts are rounded."""
UNKNOWN_SIZE = 0xFFFFFFFF
"""What stands for the size in the head of a WAV file that was written as a stream."""
FRAME_PIXELS = 224
"""Edge of the frames of a blank video."""


def read_image(path: Path) -> Any:
    from PIL import Image

    return Image.open(path).convert("RGB")


def blank_image(pixels: float) -> Any:
    from PIL import Image

    return Image.new("RGB", (int(pixels),) * 2, (128, 128, 128))


def fit_image(image: Any, pixels: float) -> Any:
    from PIL import ImageOps

    return ImageOps.fit(image, (int(pixels),) * 2)


def read_video(path: Path) -> Any:
    """Return the frames of a video or an animation, shape = (frames, height, width, 3), uint8."""
    import numpy as np
    from PIL import Image, ImageSequence

    if path.suffix.lower() in ANIMATIONS:
        with Image.open(path) as file:
            return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)])
    import av

    with av.open(str(path)) as file:
        if not file.streams.video:
            raise ValueError("it holds no pictures")
        frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in file.decode(video=0)]
        _require_whole(len(frames), file.streams.video[0].frames, "frames")
    return np.stack(frames)


def _require_whole(found: float, stated: float, unit: str) -> None:
    """Raise ValueError where a file holds nothing, or less than it says."""
    if not found or found < CUT * stated:
        raise ValueError(f"it holds {found:g} of {stated:g} {unit}")


def blank_video(frames: float) -> Any:
    import numpy as np

    return np.full((int(frames), FRAME_PIXELS, FRAME_PIXELS, 3), 128, dtype=np.uint8)


def fit_video(video: Any, frames: float) -> Any:
    import numpy as np
    from PIL import Image

    chosen: Sequence[Any] = video[np.linspace(0, len(video) - 1, int(frames)).round().astype(int)]
    return np.stack([np.asarray(fit_image(Image.fromarray(frame), FRAME_PIXELS)) for frame in chosen])


def read_audio(path: Path) -> Any:
    """Return the sound of a file as a waveform at `SAMPLING_RATE`, shape = (samples,), float32; channels are averaged."""
    import av
    import numpy as np

    with av.open(str(path)) as file:
        if not file.streams.audio:
            raise ValueError("it holds no sound")
        stream = file.streams.audio[0]
        whole = av.AudioFifo()  # one call of the resampler: one for each frame takes longer than decoding
        for frame in file.decode(stream):
            frame.pts = None  # gaps are no error
            whole.write(frame)
        resampler = av.AudioResampler(format="fltp", rate=SAMPLING_RATE)
        pieces = [p.to_ndarray() for frame in (whole.read(), None) for p in resampler.resample(frame)]
        samples = np.concatenate([piece.mean(0) for piece in pieces]) if pieces else np.zeros(0)
        _require_whole(len(samples) / SAMPLING_RATE, float((stream.duration or 0) * stream.time_base), "seconds")
    with path.open("rb") as file:  # of a WAV file that was cut FFmpeg tells the length that is left
        name, stated = file.read(4), int.from_bytes(file.read(4), "little")
    if name == b"RIFF" and stated != UNKNOWN_SIZE:
        _require_whole(path.stat().st_size, stated + 8, "bytes")
    return samples.astype(np.float32)


def blank_audio(seconds: float) -> Any:
    import numpy as np

    return np.zeros(int(seconds * SAMPLING_RATE), dtype=np.float32)


def fit_audio(audio: Any, seconds: float) -> Any:
    import numpy as np

    length = int(seconds * SAMPLING_RATE)
    return np.pad(audio[:length], (0, max(0, length - len(audio))))
