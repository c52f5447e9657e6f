"""Sound as waveforms, shape = (samples,), float32 in [-1, 1]: noise at a chosen SNR, loudness, MP3 files."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seawall.store.files import explain_full_disk
from seawall.errors import DataError

LOUDNESS = -23.0
"""Integrated loudness in LUFS that EBU R 128 asks of a programme."""
PEAK = 0.89
"""Highest sample: -1 dB below full scale, the headroom that lossy coding needs."""
LAME_GAIN = 0.95
"""What LAME multiplies all samples by, at any bit rate; undone before, so that a file is as loud as its waveform."""
SILENCE = -70.0
"""Gate of ITU-R BS.1770 in LUFS: what is quieter is silence."""


def make_noise(seconds: float, rate: int, *, seed: int) -> np.ndarray:
    """Return pink noise: power falls with 1/f, as in most sounds of the world.

    Args:
        seconds: Length.
        rate: Samples a second.
        seed: The same seed gives the same noise.
    """
    samples = max(1, round(seconds * rate))
    white = np.random.default_rng(seed).standard_normal(samples)
    spectrum = np.fft.rfft(white)
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, samples)
    return (noise / (np.abs(noise).max() or 1)).astype(np.float32)


def add_noise(
    sound: np.ndarray, rate: int, *, snr: float, lead: float = 0.0, tail: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Return a sound in pink noise that begins before it and ends after it.

    Args:
        sound: Waveform.
        rate: Samples a second.
        snr: Mean power of the sound over that of the noise, in dB.
        lead: Seconds of noise alone before the sound, ...
        tail: ... and after it.
        seed: Seed of the noise.

    Returns:
        Waveform, longer by `lead` and `tail`; turned down as a whole where it would clip, which leaves the ratio.

    Raises:
        DataError: The sound is silent: no noise has a ratio to it.
    """
    before, after = round(lead * rate), round(tail * rate)
    noise = make_noise((before + len(sound) + after) / rate, rate, seed=seed)
    spoken = noise[before : before + len(sound)]  # a view
    power = float(np.mean(sound**2)) if len(sound) else 0.0
    if not power:
        raise DataError("A silent sound cannot be mixed with noise at a ratio. Check what spoke it.")
    noise *= np.sqrt(power / np.mean(spoken**2) / 10 ** (snr / 10))
    spoken += sound
    return noise / max(1.0, np.abs(noise).max() / PEAK)


def measure_loudness(sound: np.ndarray, rate: int) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770, by FFmpeg's `ebur128`); `SILENCE` or less is silence."""
    import av

    if not len(sound):
        return -np.inf
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    # the meter needs blocks of 0.4 s; repeating a short sound does not make it louder
    graph.push(_frame(np.tile(sound, -(-rate // len(sound))), rate, "flt"))
    graph.push(None)
    loudness = -np.inf
    while True:
        try:
            loudness = float(graph.pull().metadata.get("lavfi.r128.I", loudness))
        except (av.error.EOFError, av.error.BlockingIOError):
            return loudness


def set_loudness(sound: np.ndarray, rate: int, loudness: float = LOUDNESS) -> np.ndarray:
    """Return the sound at a loudness in LUFS; less where its peaks would pass `PEAK`.

    Raises:
        DataError: It is silent.
    """
    found = measure_loudness(sound, rate)
    if found <= SILENCE:
        raise DataError(f"A sound of {len(sound) / rate:.2f} s is silent ({found:.0f} LUFS). Check what made it.")
    louder = sound * 10 ** ((loudness - found) / 20)
    return (louder / max(1.0, np.abs(louder).max() / PEAK)).astype(np.float32)


def write_mp3(path: Path, sound: np.ndarray, rate: int, *, bit_rate: int = 64_000) -> float:
    """Write a waveform as MP3, one channel; the file is either complete or absent.

    Args:
        path: Ends in .mp3; its folder is made.
        sound: Waveform.
        rate: Samples a second: 16, 22.05, 24, 32, 44.1 or 48 kHz.
        bit_rate: Bits a second.

    Returns:
        The length in seconds.

    Raises:
        DataError: The sound is empty.
        ArtifactError: The disk is full.
    """
    import av

    if not len(sound):
        raise DataError(f"{path} was to be written from an empty sound. Check what made it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with explain_full_disk(path):
            with av.open(str(partial), "w", format="mp3") as file:
                stream = file.add_stream("libmp3lame", rate=rate, layout="mono")
                stream.bit_rate = bit_rate
                file.mux(stream.encode(_frame(sound / LAME_GAIN, rate, "fltp")))
                file.mux(stream.encode(None))
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return len(sound) / rate


def _frame(sound: np.ndarray, rate: int, form: str) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32)[None], format=form, layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    return frame
