"""Videos of moving text and of still images: format, legible text, and errors."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest
from PIL import Image

from seawall.errors import ConfigError, DataError
from seawall.media.clips import end_in_text, fit_frames, move_still, read_still
from seawall.media.typography import animate_text, wrap_text, write_text_video
from seawall.media.video import write_video

FORMAT = {"size": (160, 96), "seconds": 1.0, "fps": 8}


def test_a_text_video_has_the_requested_format_and_reproducible_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        assert write_text_video(tmp_path / name, "wash a car", seed=5, **FORMAT) == 1.0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames, float(stream.average_rate)) == (160, 96, 8, 8.0)


def test_the_default_text_video_has_the_published_format_and_shows_its_text(tmp_path):
    assert write_text_video(tmp_path / "a.mp4", "wash a car", seed=2) == 4.0
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate), file.duration) == (640, 384, 24.0, 4_000_000)
        shown = [frame.to_ndarray(format="gray").astype(float) for frame in file.decode(stream)]
    assert len(shown) == 96
    same, other = (
        np.asarray(next(itertools.islice(animate_text(text, seed=2), 80, None)).convert("L"), float)
        for text in ("wash a car", "paint a boat")
    )
    assert np.corrcoef(shown[80].ravel(), same.ravel())[0, 1] > 0.98
    assert np.corrcoef(shown[80].ravel(), other.ravel())[0, 1] < 0.8


def test_equal_frames_give_equal_files(tmp_path):
    for seed in range(40):
        files = set()
        for _ in range(3):
            write_text_video(tmp_path / "a.mp4", "wash a car", size=(96, 64), seconds=0.5, fps=8, seed=seed)
            files.add((tmp_path / "a.mp4").read_bytes())
        assert len(files) == 1, seed


@pytest.mark.parametrize("seed", range(6))
def test_all_text_is_shown_in_the_second_half(seed):
    frames = [np.asarray(frame, np.int16) for frame in animate_text("wash a car", seed=seed, **FORMAT)]
    ground = frames[0][0, 0]
    inked = [(np.abs(frame - ground).sum(2) > 100).mean() for frame in frames]
    assert min(inked[4:]) > 0.02
    assert max(inked[4:]) == pytest.approx(min(inked[4:]), rel=0.1)
    assert any(not np.array_equal(one, other) for one, other in itertools.pairwise(frames))


def test_text_is_as_large_as_possible():
    (large, one), (small, many) = (
        wrap_text(text, "DejaVuSans", (160, 96)) for text in ("car", "wash a car by the old boat")
    )
    assert large > small and one == ["car"] and " ".join(many) == "wash a car by the old boat"
    with pytest.raises(DataError, match="text to show is empty"):
        wrap_text("  ", "DejaVuSans", (160, 96))
    with pytest.raises(DataError, match=r"not legible in 160 x 96"):
        wrap_text("word " * 200, "DejaVuSans", (160, 96))


def test_a_still_becomes_a_moving_clip_and_a_clip_can_end_in_text():
    still = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8))
    frames = list(move_still(still, seed=1, **FORMAT))
    assert len(frames) == 8 and {frame.size for frame in frames} == {(160, 96)}
    assert not np.array_equal(np.asarray(frames[0]), np.asarray(frames[-1]))
    ended = list(end_in_text(frames, "wash a car", fps=8, share=0.5, seed=1))
    assert len(ended) == 8 and ended[:4] == frames[:4]
    assert not np.array_equal(np.asarray(ended[-1]), np.asarray(frames[-1]))
    assert [frame.size for frame in fit_frames(frames, size=(64, 64), count=3)] == [(64, 64)] * 3


def test_errors_leave_no_file(tmp_path):
    good = [Image.new("RGB", (64, 64))] * 2
    with pytest.raises(ConfigError, match="both must be even"):
        write_video(tmp_path / "a.mp4", [Image.new("RGB", (63, 64))])
    with pytest.raises(DataError, match=r"Frame 3 of .* is \(32, 64\)"):
        write_video(tmp_path / "a.mp4", [*good, Image.new("RGB", (32, 64))])
    with pytest.raises(DataError, match="without frames"):
        write_video(tmp_path / "a.mp4", [])
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        read_still(tmp_path / "b.png")
