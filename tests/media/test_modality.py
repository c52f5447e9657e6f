"""Media files: reading, fitting to the blank, and errors for files that cannot be read."""

from __future__ import annotations

import wave

import av
import numpy as np
import pytest
from PIL import Image

from seawall.errors import DataError, ModelError
from seawall.media.modality import find_modality, read_medium
from seawall.models import chat
from seawall.models.prompting import rows


def write_wav(path, samples, rate=16_000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return path


def test_a_wav_file_is_read_as_its_waveform(tmp_path):
    path = write_wav(tmp_path / "a.wav", [[0, 0], [8192, 8192], [-32768, -32768]], channels=2)
    assert read_medium(find_modality("audio"), path).tolist() == [0, 0.25, -1]


def test_an_animation_is_read_as_its_frames(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    video = read_medium(find_modality("video"), tmp_path / "a.gif")
    assert video.shape == (3, 6, 8, 3) and video[:, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255], [0, 255, 0]]


@pytest.mark.parametrize("name", ["image", "video", "audio"])
def test_a_medium_is_fitted_to_the_size_of_the_blank(name):
    modality = find_modality(name)
    larger = modality.blank(7)
    fitted, blank = modality.fit(larger, 3), modality.blank(3)
    assert np.asarray(fitted).shape == np.asarray(blank).shape
    assert np.array_equal(np.asarray(modality.fit(blank, 3)), np.asarray(blank))


@pytest.mark.parametrize("name", ["image", "video", "audio"])
def test_missing_empty_and_unreadable_files_are_refused(name, tmp_path):
    modality = find_modality(name)
    path = tmp_path / f"a{modality.endings[0]}"
    with pytest.raises(DataError, match=rf"no {name} .*a\."):
        read_medium(modality, path)
    for content in (b"", b"no medium at all"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"not a readable {name}"):
            read_medium(modality, path)


def test_truncated_images_and_wav_files_are_refused(tmp_path):
    Image.effect_noise((64, 64), 90).save(tmp_path / "a.png")
    write_wav(tmp_path / "a.wav", range(1000))
    for name, path in (("image", tmp_path / "a.png"), ("audio", tmp_path / "a.wav")):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"not a readable {name}"):
            read_medium(find_modality(name), path)


def write_tone(path, rate=44_100, seconds=1.0):
    """Write a tone of 440 Hz with the encoder that the file's ending asks for."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    with av.open(str(path), "w") as file:
        stream = file.add_stream({".mp3": "mp3", ".flac": "flac"}[path.suffix], rate=rate, layout="mono")
        kind, dtype, scale = ("fltp", "f4", 1) if path.suffix == ".mp3" else ("s16", "i2", 32_767)
        frame = av.AudioFrame.from_ndarray((tone * scale).astype(dtype)[None], format=kind, layout="mono")
        frame.sample_rate = rate
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def write_mp4(path, greys):
    """Write a video of grey frames."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, width=64, height=48, pix_fmt="yuv420p")
        for grey in greys:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, dtype=np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", [".mp3", ".flac"])
def test_compressed_audio_is_read_as_a_waveform_at_the_models_rate(tmp_path, ending):
    sound = read_medium(find_modality("audio"), write_tone(tmp_path / f"a{ending}"))
    assert sound.dtype == np.float32 and len(sound) == pytest.approx(16_000, rel=0.05)
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum.argmax() * 16_000 / len(sound) == pytest.approx(440, rel=0.01)
    assert np.abs(sound).max() == pytest.approx(0.3, rel=0.1)


def test_a_video_is_read_as_its_frames(tmp_path):
    greys = range(0, 240, 20)
    video = read_medium(find_modality("video"), write_mp4(tmp_path / "a.mp4", greys))
    assert video.shape == (12, 48, 64, 3) and video.dtype == np.uint8
    assert video.mean((1, 2, 3)) == pytest.approx(greys, abs=2)


def test_truncated_audio_and_video_is_refused(tmp_path):
    files = write_tone(tmp_path / "a.mp3"), write_tone(tmp_path / "a.flac"), write_mp4(tmp_path / "a.mp4", range(200))
    for name, path in zip(("audio", "audio", "video"), files, strict=True):
        read_medium(find_modality(name), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=f"not a readable {name}"):
            read_medium(find_modality(name), path)


def test_a_file_of_another_modality_is_refused(tmp_path):
    write_mp4(tmp_path / "a.mp4", [0, 9]).rename(tmp_path / "a.wav")
    with pytest.raises(DataError, match="it has no sound"):
        read_medium(find_modality("audio"), tmp_path / "a.wav")
    write_tone(tmp_path / "a.mp3").rename(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="it has no pictures"):
        read_medium(find_modality("video"), tmp_path / "a.mp4")


def test_an_unknown_modality_is_refused_with_advice():
    with pytest.raises(ModelError, match=r"no modality 'smell'.*register_modality"):
        find_modality("smell")


def test_the_media_cache_drops_the_oldest_media_when_it_is_full(tiny, images, monkeypatch):
    own, read = chat.Chat(tiny.processor, tiny.family), []
    monkeypatch.setattr(own, "load", lambda medium, load=own.load, **kw: read.append(medium) or load(medium, **kw))
    one = sum(value.nbytes for value in own.process_medium(chat.BLANK).values())
    monkeypatch.setattr(rows, "MEDIA_CACHE_BYTES", 2 * one)
    for medium in (images[0], images[1], chat.BLANK, images[1], images[0]):
        own.process_medium(medium)
    assert read == [chat.BLANK, images[0], images[1], chat.BLANK, images[0]]
    monkeypatch.setattr(rows, "MEDIA_CACHE_BYTES", 0)
    assert own.process_medium(images[2])["pixel_values"].shape[0] == 1, "the newest is kept, whatever its size"
