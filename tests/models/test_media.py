"""Media files: read, fitted to the blank, and refused with the name of what is wrong."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from PIL import Image

from seawall.errors import DataError, ModelError
from seawall.models.media import find_modality, read_medium


def write_wav(path, samples, rate=16_000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return path


def test_a_wav_file_is_its_waveform(tmp_path):
    path = write_wav(tmp_path / "a.wav", [[0, 0], [16384, 0], [-32768, -32768]], channels=2)
    assert read_medium(find_modality("audio"), path).tolist() == [0, 0.25, -1]


def test_an_animation_is_its_frames(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    video = read_medium(find_modality("video"), tmp_path / "a.gif")
    assert video.shape == (3, 6, 8, 3) and video[:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255], [0, 255, 0]]


@pytest.mark.parametrize("name", ["image", "video", "audio"])
def test_a_medium_is_fitted_to_the_blank(name):
    modality = find_modality(name)
    larger = modality.blank(7)
    fitted, blank = modality.fit(larger, 3), modality.blank(3)
    assert np.asarray(fitted).shape == np.asarray(blank).shape
    assert np.array_equal(np.asarray(modality.fit(blank, 3)), np.asarray(blank))


@pytest.mark.parametrize("name", ["image", "video", "audio"])
def test_files_that_are_missing_empty_or_something_else(name, tmp_path):
    modality = find_modality(name)
    path = tmp_path / f"a{modality.endings[0]}"
    with pytest.raises(DataError, match=rf"no {name} .*a\."):
        read_medium(modality, path)
    for content in (b"", b"no medium at all"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"not a readable {name}"):
            read_medium(modality, path)


def test_files_cut_short(tmp_path):
    Image.effect_noise((64, 64), 90).save(tmp_path / "a.png")
    write_wav(tmp_path / "a.wav", range(1000))
    for name, path in (("image", tmp_path / "a.png"), ("audio", tmp_path / "a.wav")):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"not a readable {name}"):
            read_medium(find_modality(name), path)


def test_a_sampling_rate_that_no_model_takes(tmp_path):
    with pytest.raises(DataError, match=r"44100 Hz.*needed are 16000 Hz"):
        read_medium(find_modality("audio"), write_wav(tmp_path / "a.wav", [0, 1], rate=44_100))


def test_a_modality_that_is_not_there():
    with pytest.raises(ModelError, match=r"no modality 'smell'.*register_modality"):
        find_modality("smell")
