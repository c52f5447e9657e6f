"""Media: how a file of each modality is read, what its blank is, and how a real medium is fitted to the blank.

`register_modality` adds one; see docs/new_modality.md. PyAV decodes video and sound; a file is held in memory as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seawall import phrasing
from seawall.errors import DataError, ModelError

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of medium."""

    name: str
    """As in the table of families: `image`, `video`, `audio`, or one of yours."""
    word: str
    """What it is called in questions and answers."""
    argument: str
    """The keyword under which a processor takes a list of such media."""
    endings: tuple[str, ...]
    """Endings of its files."""
    read: Callable[[Path], Any]
    """Returns a file as the processor takes it; raises OSError, EOFError or ValueError where it cannot be read."""
    blank: Callable[[float], Any]
    """Returns the medium that shows nothing, of the given size."""
    fit: Callable[[Any, float], Any] = lambda medium, _: medium
    """Returns a medium cut or scaled to the given size."""
    unit: str = ""
    """What the size counts."""
    size: Callable[[Any], float] = lambda _: 0
    """Returns the size of a medium, where a family limits it."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further keywords for the processor."""


def find_modality(name: str) -> Modality:
    """Return a modality by name.

    Raises:
        ModelError: There is none.
    """
    if name not in MODALITIES:
        raise ModelError(
            f"There is no modality {name!r} (there are {', '.join(MODALITIES)}). "
            "Add it with seawall.register_modality(...): docs/new_modality.md."
        )
    return MODALITIES[name]


def register_modality(modality: Modality) -> None:
    """Add a modality, or replace one, for this process; `prepare` then takes its name, and its word stands in sentences."""
    MODALITIES[modality.name] = modality
    phrasing.MEDIA[modality.name] = modality.word


def read_medium(modality: Modality, path: Path | str) -> Any:
    """Return a medium's file as the processor takes it.

    Raises:
        DataError: The file is missing, empty, cut short or not of this modality.
    """
    name = modality.name
    try:
        return modality.read(Path(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no {name} {path}. Check the folder that the media list stands in.") from error
    except (OSError, EOFError, ValueError, SyntaxError) as error:  # Pillow and PyAV raise all of these
        raise DataError(
            f"{path} is not a readable {name} ({error}). Replace the file or take it off the list."
        ) from error


def _read_image(path: Path) -> Any:
    from PIL import Image

    return Image.open(path).convert("RGB")


def _blank_image(pixels: float) -> Any:
    from PIL import Image

    return Image.new("RGB", (int(pixels),) * 2, (128, 128, 128))


def _fit_image(image: Any, pixels: float) -> Any:
    from PIL import ImageOps

    return ImageOps.fit(image, (int(pixels),) * 2)


def _read_video(path: Path) -> Any:
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


def _blank_video(frames: float) -> Any:
    import numpy as np

    return np.full((int(frames), FRAME_PIXELS, FRAME_PIXELS, 3), 128, dtype=np.uint8)


def _fit_video(video: Any, frames: float) -> Any:
    import numpy as np
    from PIL import Image

    chosen: Sequence[Any] = video[np.linspace(0, len(video) - 1, int(frames)).round().astype(int)]
    return np.stack([np.asarray(_fit_image(Image.fromarray(frame), FRAME_PIXELS)) for frame in chosen])


def _read_audio(path: Path) -> Any:
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


def _blank_audio(seconds: float) -> Any:
    import numpy as np

    return np.zeros(int(seconds * SAMPLING_RATE), dtype=np.float32)


def _fit_audio(audio: Any, seconds: float) -> Any:
    import numpy as np

    length = int(seconds * SAMPLING_RATE)
    return np.pad(audio[:length], (0, max(0, length - len(audio))))


MODALITIES = {
    modality.name: modality
    for modality in (
        Modality(
            name="image",
            word=phrasing.MEDIA["image"],
            argument="images",
            endings=(".png", ".jpg", ".jpeg", ".webp"),
            read=_read_image,
            blank=_blank_image,
            fit=_fit_image,
            unit="pixels",
        ),
        Modality(
            name="video",
            word=phrasing.MEDIA["video"],
            argument="videos",
            endings=(".mp4", ".webm", ".mkv", ".mov", ".avi", *ANIMATIONS),
            read=_read_video,
            blank=_blank_video,
            fit=_fit_video,
            unit="frames",
        ),
        Modality(
            name="audio",
            word=phrasing.MEDIA["audio"],
            argument="audio",
            endings=(".wav", ".mp3", ".flac", ".ogg", ".m4a"),
            read=_read_audio,
            blank=_blank_audio,
            fit=_fit_audio,
            unit="seconds",
            size=lambda audio: len(audio) / SAMPLING_RATE,
            settings={"sampling_rate": SAMPLING_RATE},
        ),
    )
}
