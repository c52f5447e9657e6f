"""Sound: noise at a given SNR, loudness, and MP3 files."""

from __future__ import annotations

import av
import numpy as np
import pytest

from seawall.errors import DataError
from seawall.media.sound import SILENCE, add_noise, make_noise, measure_loudness, set_loudness, speed_up, write_mp3

RATE = 16_000


def tone(seconds=1.0, level=0.3):
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
def test_noise_has_the_given_snr_and_surrounds_the_sound(snr):
    sound = tone(level=0.1)
    noisy = add_noise(sound, RATE, snr=snr, lead=0.5, tail=0.25, seed=1)
    assert len(noisy) == round(1.75 * RATE)
    silent = add_noise(np.full_like(sound, 1e-6), RATE, snr=120.0, lead=0.5, tail=0.25, seed=1)
    assert np.abs(silent).max() < 1e-5, "the SNR is relative to the sound"
    scale = np.dot(noisy[8000:24000], sound) / np.dot(sound, sound)
    noise = noisy[8000:24000] / scale - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.5)


def test_noise_is_pink_and_depends_on_the_seed_only():
    noise = make_noise(4.0, RATE, seed=3)
    assert np.array_equal(noise, make_noise(4.0, RATE, seed=3))
    assert not np.array_equal(noise, make_noise(4.0, RATE, seed=4))
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[4 * low : 8 * low].sum() for low in (100, 200, 400, 800)]
    assert max(octaves) / min(octaves) == pytest.approx(1, abs=0.25), "each octave has the same power"


def test_loudness_is_set_and_peaks_are_limited():
    assert measure_loudness(set_loudness(tone(), RATE, -23.0), RATE) == pytest.approx(-23.0, abs=0.3)
    click = np.zeros(RATE, np.float32)
    click[8000:8040] = 0.5
    assert np.abs(set_loudness(click, RATE, -5.0)).max() <= 0.9


def test_silence_is_refused():
    assert measure_loudness(np.zeros(RATE, np.float32), RATE) <= SILENCE
    with pytest.raises(DataError, match="silent"):
        set_loudness(np.zeros(RATE, np.float32), RATE)
    with pytest.raises(DataError, match="silent"):
        add_noise(np.zeros(RATE, np.float32), RATE, snr=0.0)


def test_an_mp3_file_contains_the_sound(tmp_path):
    path = tmp_path / "deep" / "a.mp3"
    assert write_mp3(path, tone(), RATE) == 1.0
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        assert (stream.codec_context.name[:3], stream.rate, stream.channels) == ("mp3", RATE, 1)
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])
    assert np.abs(np.fft.rfft(heard[:RATE])).argmax() * RATE / len(heard[:RATE]) == pytest.approx(440, abs=2)
    assert len(heard) == pytest.approx(RATE, abs=1152), "up to one frame of padding"
    assert measure_loudness(heard, RATE) == pytest.approx(measure_loudness(tone(), RATE), abs=0.15)
    with pytest.raises(DataError, match="empty sound"):
        write_mp3(path, np.zeros(0, np.float32), RATE)
    assert [file.name for file in path.parent.iterdir()] == ["a.mp3"]


def test_faster_speech_keeps_its_pitch():
    rate = 16_000
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32)
    fast = speed_up(tone, rate, 1.25)
    assert len(fast) == pytest.approx(len(tone) / 1.25, rel=0.02)
    spectrum = np.abs(np.fft.rfft(fast))
    assert spectrum.argmax() * rate / len(fast) == pytest.approx(440, abs=5)
    assert np.array_equal(fast, speed_up(tone, rate, 1.25))
