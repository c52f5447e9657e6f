"""Writing videos: frames -> an H.264 file that plays everywhere. What the frames show is the business of its neighbours."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from PIL import Image

from seawall.store.files import explain_full_disk
from seawall.errors import ConfigError, DataError

SIZE = (640, 384)
"""Width and height of a video in pixels, unless asked otherwise."""
SECONDS = 4.0
"""Length of a video, unless asked otherwise."""
FPS = 24
"""Frames a second, unless asked otherwise."""
CODEC = {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"}
"""Settings of x264. With its macroblock tree the same frames of a small video give now one file and now another."""


def count_frames(seconds: float, fps: int) -> int:
    """Return how many frames make a video of so many seconds; at least one."""
    return max(1, round(seconds * fps))


def write_video(path: Path, frames: Iterable[Image.Image], *, fps: int = FPS) -> float:
    """Write frames as MP4 (H.264, yuv420p); the file is either complete or absent. The same frames give the same bytes.

    Args:
        path: Ends in .mp4; its folder is made.
        frames: RGB images of one size, width and height even.
        fps: Frames a second.

    Returns:
        The length in seconds.

    Raises:
        ConfigError: A side is odd, which H.264 with halved colour cannot hold.
        DataError: There is no frame, or one of another size.
        ArtifactError: The disk is full.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    size, number = None, 0
    try:
        with explain_full_disk(path):
            with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as file:
                stream = file.add_stream("libx264", rate=Fraction(fps), options=CODEC)
                stream.thread_count = 1  # several workers share the cores; and the bytes do not depend on the machine
                stream.pix_fmt = "yuv420p"
                for number, frame in enumerate(frames, 1):
                    if size is None:
                        size = stream.width, stream.height = require_even(frame.size)
                    if frame.size != size:
                        raise DataError(
                            f"Frame {number} of {path} is {frame.size}, the first was {size}. Make them equal."
                        )
                    file.mux(stream.encode(av.VideoFrame.from_image(frame)))
                if not number:
                    raise DataError(f"{path} was to be written from no frame at all. Give at least one.")
                file.mux(stream.encode(None))
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return number / fps


def require_even(size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` if H.264 can hold it.

    Raises:
        ConfigError: It cannot.
    """
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ConfigError(f"A video of {size[0]} x {size[1]} pixels cannot be written: both must be even. Round them.")
    return size
