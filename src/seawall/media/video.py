"""Writing of frames as H.264 video files. Default sizes and rates of all videos stand here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from PIL import Image

from seawall.errors import ConfigError, DataError
from seawall.store.files import explain_failed_write

SIZE = (640, 384)
"""Default width and height of a video in pixels."""
SECONDS = 4.0
"""Default length of a video in seconds."""
FPS = 24
"""Default frames per second."""
CODEC = {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"}
"""Settings of x264. With its macroblock tree (`mbtree`), equal frames of small videos can give different files."""


def count_frames(seconds: float, fps: int) -> int:
    """Return the number of frames of a video, at least one."""
    return max(1, round(seconds * fps))


def write_video(path: Path, frames: Iterable[Image.Image], *, fps: int = FPS) -> float:
    """Write frames as MP4 (H.264, yuv420p). The file is complete or absent. Equal frames give equal bytes.

    Args:
        path: File that ends in .mp4. Its folder is created.
        frames: RGB images of one size, with even width and height.
        fps: Frames per second.

    Returns:
        The length in seconds.

    Raises:
        ConfigError: Width or height is odd.
        DataError: There are no frames, or they differ in size.
        ArtifactError: The disk is full.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    size, count = None, 0
    try:
        with explain_failed_write(path):
            with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as file:
                stream = file.add_stream("libx264", rate=Fraction(fps), options=CODEC)
                stream.thread_count = 1  # the bytes must not depend on the machine, and workers share the cores
                stream.pix_fmt = "yuv420p"
                for count, frame in enumerate(frames, 1):
                    if size is None:
                        size = stream.width, stream.height = require_even(frame.size)
                    if frame.size != size:
                        raise DataError(
                            f"Frame {count} of {path} is {frame.size}, but the first one is {size}. Give frames of one size."
                        )
                    file.mux(stream.encode(av.VideoFrame.from_image(frame)))
                if not count:
                    raise DataError(f"{path} cannot be written without frames. Give at least one frame.")
                file.mux(stream.encode(None))
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count / fps


def require_even(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size in pixels if H.264 supports it.

    Raises:
        ConfigError: Width or height is odd or too small, which yuv420p does not allow.
    """
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ConfigError(
            f"A video of {size[0]} x {size[1]} pixels cannot be written: both must be even. Round them to even numbers."
        )
    return size
