"""Decoding of video and audio files by PyAV (FFmpeg): upright frames, and waveforms with their channels mixed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.media.pixels import require_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

PROTOCOLS = "file"
"""Protocols that FFmpeg may use. A file that refers to an address on the network is refused."""
PLAYLISTS = ("hls", "concat", "dash", "sdp", "rtsp", "image2", "imf", "lavfi")
"""Names of FFmpeg's formats that only refer to other files."""
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that read the transparency of WebM files, by codec. FFmpeg's own ones ignore it."""
MIN_COMPLETE = 0.95
"""Share of its stated length that a file must have. MP3 files are padded, and some files round the stated length."""
UNKNOWN_SIZES = (range(0x7FFFF000, 0x80001000), range(0xFFFFF000, 0x100000000))
"""Sizes in the header of WAV files that a program wrote to a pipe, when it did not know the length yet."""
MAX_STRAYS = 10
"""Frames that may seem to be in the junk behind the last frame of an MP3 file. More of them are taken for sound."""
XING_MARKS = (b"Xing", b"Info")
"""Marks in the first frame of an MP3 file that states how many frames it has."""


def decode_video(path: Path) -> NDArray[np.uint8]:
    """Return the frames of a video as a player shows them, shape = (frames, height, width, 3), uint8.

    The display matrix (rotation and mirroring) is applied, and transparent pixels are white.

    Raises:
        OSError: The file is missing or not a video.
        ValueError: It is truncated or too large, has no pictures, or its display matrix is no quarter turn.
    """
    import numpy as np
    from av.stream import Disposition

    with _open(path) as file:
        streams = [one for one in file.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            raise ValueError("it has no pictures")
        stream = streams[0]
        frames, size, end = [], 0, 0.0
        for frame in _decode_frames(file, stream):
            frames.append(_show(frame))
            require_size(size := size + frames[-1].nbytes)
            end = max(end, float((frame.pts or 0) + (frame.duration or 0)) * float(frame.time_base or 0))
        if "mov" in file.format.name:  # an edit list may leave out frames that the header counts
            _require_complete(len(frames), sum(not entry.is_discard for entry in stream.index_entries), "frames")
        else:
            _require_complete(len(frames), stream.frames, "frames")
            _require_complete(end, _get_container_seconds(file), "seconds")
    video = np.empty((len(frames), *frames[0].shape), np.uint8)
    for index in range(len(frames)):  # frees each frame once it is copied
        video[index], frames[index] = frames[index], frames[0][:0]
    return video


def decode_audio(path: Path, rate: int) -> NDArray[np.float32]:
    """Return all channels of an audio file at a sampling rate, shape = (channels, samples), float32.

    Args:
        path: The file.
        rate: Sampling rate in Hz.

    Raises:
        OSError: The file is missing, damaged or not audio.
        ValueError: It is truncated or too large, or has no sound.
    """
    import av
    import numpy as np

    with _open(path) as file:
        if not file.streams.audio:
            raise ValueError("it has no sound")
        stream = file.streams.audio[0]
        stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        stated, is_mp3 = stated or _get_container_seconds(file), file.format.name == "mp3"
        if is_mp3:  # without a count of its frames, FFmpeg estimates the length from the size
            stated = _read_mp3_seconds(path, stream.rate)
        fifo = av.AudioFifo()  # resampling each frame on its own takes longer than decoding
        junk: list[int] = []
        for frame in _decode_mp3(file, stream, stated, junk) if is_mp3 else file.decode(stream):
            frame.pts = None  # accept gaps between frames
            fifo.write(frame)
            require_size(4 * fifo.samples * len(frame.layout.channels))
        resampler = av.AudioResampler(format="flt", rate=rate)  # PyAV reads only 8 channels of a format with planes
        parts = [part for frame in (fifo.read(), None) for part in resampler.resample(frame)]
        pieces = [part.to_ndarray().reshape(-1, part.layout.nb_channels).T for part in parts]
        channels = np.concatenate(pieces, axis=1, dtype=np.float32) if pieces else np.zeros((1, 0), np.float32)
        _require_complete(channels.shape[1] / rate, stated, "seconds")
    _require_complete_wav(path)
    if not junk:
        return channels
    log.warning("%s has %d bytes behind its last frame that are no sound. They are ignored.", path, sum(junk))
    return channels[:, : round(stated * rate)] if stated else channels


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a file with FFmpeg. Its name is never taken for a protocol.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is a playlist.
    """
    import av

    with av.open(f"file:{path}", options={"protocol_whitelist": PROTOCOLS}) as file:
        if {*file.format.name.split(",")} & {*PLAYLISTS}:
            raise ValueError("it is a playlist, which only refers to other files")
        yield file


def _get_container_seconds(file: Any) -> float:
    """Return the length that the header of a Matroska or WebM file states, 0 if it is unknown."""
    return file.duration / 1e6 if "matroska" in file.format.name and file.duration else 0.0


def _decode_frames(file: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a video stream, with their transparency if they have any."""
    import av

    name = ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or "1" not in (stream.metadata.get("alpha_mode"), stream.metadata.get("ALPHA_MODE")):
        yield from file.decode(stream)
        return
    decoder: Any = av.CodecContext.create(name, "r")
    for packet in file.demux(stream):
        yield from decoder.decode(packet if packet.size else None)


def _show(frame: Any) -> NDArray[np.uint8]:
    """Return a frame upright and on white, shape = (height, width, 3), uint8."""
    import numpy as np

    if any(component.is_alpha for component in frame.format.components):
        rgba = frame.to_ndarray(format="rgba", threads=1).astype(np.uint16)
        colour, alpha = rgba[..., :3], rgba[..., 3:]
        pixels = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        pixels = frame.to_ndarray(format="rgb24", threads=1)
    return _turn(pixels, frame)


def _turn(pixels: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Apply the display matrix of a frame.

    Raises:
        ValueError: It turns by another angle than a multiple of 90 degrees.
    """
    import numpy as np
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()  # x' = a x + c y, y' = b x + d y
    kept, swapped = max(abs(a), abs(d)), max(abs(b), abs(c))
    if max(kept, swapped) < 100 * min(kept, swapped):
        raise ValueError(f"its display matrix turns it by {frame.rotation} degrees; encode it again without rotation")
    if swapped > kept:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _decode_mp3(file: Any, stream: Any, stated: float, junk: list[int]) -> Iterator[Any]:
    """Yield the frames of an MP3 stream up to its last frame.

    Args:
        file: The open file.
        stream: Its stream.
        stated: Length that the file states in seconds, 0 if it states none.
        junk: Gets the sizes in bytes of what follows the last frame and is no sound.

    Raises:
        OSError: It is damaged before its last frame.
    """
    import av

    fault, found, strays = None, 0.0, 0
    for packet in file.demux(stream):
        complete = stated and found >= MIN_COMPLETE * stated
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            if _has_frame_header(bytes(packet)) and not complete:
                raise
            fault = error
            junk.append(packet.size)
            continue
        if fault and packet.size:  # junk may look like a few frames
            strays += 1
            junk.append(packet.size)
            if not complete or strays > MAX_STRAYS:
                raise fault
            continue
        found += sum(frame.samples for frame in frames) / stream.rate
        yield from frames


def _has_frame_header(data: bytes) -> bool:
    """Return whether data begins like a frame of MP3: with eleven bits that are set."""
    return len(data) > 1 and data[0] == 0xFF and data[1] >= 0xE0


def _read_mp3_seconds(path: Path, rate: int) -> float:
    """Return the length that an MP3 file states in its first frame, 0 if it states none."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            file.seek(10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:]))))
        else:
            file.seek(0)
        first = file.read(4096)
    for mark in XING_MARKS:
        place = first.find(mark)
        if 0 < place < 200 and first[place + 7] & 1:
            frames = int.from_bytes(first[place + 8 : place + 12], "big")
            return frames * (1152 if rate >= 32_000 else 576) / rate
    return 0.0


def _require_complete_wav(path: Path) -> None:
    """Raise ValueError if a WAV file is shorter than its header states. FFmpeg ignores the header of a truncated file."""
    with path.open("rb") as file:
        name, stated = file.read(4), int.from_bytes(file.read(4), "little")
    if name == b"RIFF" and not any(stated in sizes for sizes in UNKNOWN_SIZES):
        _require_complete(path.stat().st_size, stated + 8, "bytes")


def _require_complete(found: float, stated: float, unit: str) -> None:
    """Raise ValueError if a file is empty, or shorter than it states."""
    if not found or found < MIN_COMPLETE * stated:
        raise ValueError(f"it has {found:g} of {stated:g} {unit}")
