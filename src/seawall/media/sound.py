"""Sound processing: noise at a chosen SNR, loudness, and MP3 files.

A sound is a waveform, shape = (samples,), float32 in [-1, 1].
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seawall.errors import DataError
from seawall.store.files import explain_failed_write

LOUDNESS = -23.0
"""Default integrated loudness in LUFS. Source: EBU R 128."""
PEAK = 0.89
"""Highest allowed sample, 1 dB below full scale. Lossy coding needs this headroom."""
LAME_GAIN = 0.95
"""Factor by which LAME scales all samples at any bit rate. `write_mp3` compensates for it."""
SILENCE = -70.0
"""Loudness in LUFS below which a sound counts as silence. Source: the absolute gate of ITU-R BS.1770."""
MIX_WINDOW = 1024
"""Samples in a window in which channels are mixed."""


def mix_channels(channels: np.ndarray) -> np.ndarray:
    """Return one waveform in which no channel cancels another, and a channel of silence makes nothing quieter.

    Equal channels give themselves. Others are mixed in short windows, frequency by frequency: the magnitude is that of the
    loudest channel there. The phase is that of the channel which is loudest in the whole sound, or, where that one is 20 dB
    below another, the other's.

    Args:
        channels: Shape = (channels, samples).

    Returns:
        Shape = (samples,), float32.
    """
    channels = np.asarray(channels, np.float32)
    if (channels == channels[:1]).all():
        return channels[0]
    channels = channels[(np.square(channels).mean(1) > 0)]
    if len(channels) == 1:
        return channels[0]
    main = int(np.square(channels).mean(1).argmax())
    length, half = channels.shape[1], MIX_WINDOW // 2
    window = np.sqrt(np.hanning(MIX_WINDOW + 1)[:-1]).astype(np.float32)  # used twice; halves of its square add up to 1
    hops = -(-length // half) + 1
    padded = np.pad(channels, ((0, 0), (half, hops * half - length)))
    mixed = np.zeros(padded.shape[1], np.float32)
    for start in range(0, hops * half, half):
        spectra = np.fft.rfft(padded[:, start : start + MIX_WINDOW] * window)
        sizes = np.abs(spectra)
        loudest = sizes.argmax(0)
        bins = np.arange(len(loudest))
        chosen = np.where(sizes[main] > 0.1 * sizes[loudest, bins], main, loudest)
        scale = sizes[loudest, bins] / np.maximum(sizes[chosen, bins], 1e-12)
        mixed[start : start + MIX_WINDOW] += np.fft.irfft(spectra[chosen, bins] * scale, MIX_WINDOW) * window
    return mixed[half : half + length]


def make_noise(seconds: float, rate: int, *, seed: int) -> np.ndarray:
    """Return pink noise, whose power falls with 1/f, as in most natural sounds.

    Args:
        seconds: Length in seconds.
        rate: Sampling rate in Hz.
        seed: Seed of the noise.
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
    """Return a sound mixed with pink noise, which starts before the sound and ends after it.

    Args:
        sound: Waveform.
        rate: Sampling rate in Hz.
        snr: Signal-to-noise ratio in dB: mean power of the sound over mean power of the noise.
        lead: Seconds of noise before the sound.
        tail: Seconds of noise after the sound.
        seed: Seed of the noise.

    Returns:
        Waveform, longer than the sound by `lead` and `tail`. If it would clip, sound and noise are turned down together.

    Raises:
        DataError: The sound is silent, so that no SNR is defined.
    """
    before, after = round(lead * rate), round(tail * rate)
    mixed = make_noise((before + len(sound) + after) / rate, rate, seed=seed)
    overlap = mixed[before : before + len(sound)]  # a view
    power = float(np.mean(sound**2)) if len(sound) else 0.0
    if not power:
        raise DataError("A silent sound cannot be mixed with noise at an SNR. Check how the sound was made.")
    mixed *= np.sqrt(power / np.mean(overlap**2) / 10 ** (snr / 10))
    overlap += sound
    return mixed / max(1.0, np.abs(mixed).max() / PEAK)


def measure_loudness(sound: np.ndarray, rate: int) -> float:
    """Return the integrated loudness in LUFS, measured by FFmpeg's `ebur128`. Values up to `SILENCE` mean silence.

    Source: ITU-R BS.1770.
    """
    import av

    if not len(sound):
        return -np.inf
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    # the filter needs blocks of 0.4 s, and repeating a short sound does not change its loudness
    graph.push(_make_frame(np.tile(sound, -(-rate // len(sound))), rate, "flt"))
    graph.push(None)
    loudness = -np.inf
    while True:
        try:
            loudness = float(graph.pull().metadata.get("lavfi.r128.I", loudness))
        except (av.error.EOFError, av.error.BlockingIOError):
            return loudness


def set_loudness(sound: np.ndarray, rate: int, loudness: float = LOUDNESS) -> np.ndarray:
    """Return a sound scaled to a loudness. It is quieter if its peaks would exceed `PEAK`.

    Args:
        sound: Waveform.
        rate: Sampling rate in Hz.
        loudness: Integrated loudness in LUFS.

    Raises:
        DataError: The sound is silent.
    """
    found = measure_loudness(sound, rate)
    if found <= SILENCE:
        raise DataError(
            f"A sound of {len(sound) / rate:.2f} s is silent ({found:.0f} LUFS), so its loudness cannot be set. Check how the "
            "sound was made."
        )
    scaled = sound * 10 ** ((loudness - found) / 20)
    return (scaled / max(1.0, np.abs(scaled).max() / PEAK)).astype(np.float32)


def speed_up(sound: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """Return speech that takes less time at the same pitch, by FFmpeg's `atempo`.

    Args:
        sound: Waveform.
        rate: Sampling rate in Hz.
        factor: How many times as fast, from 1 to 2.
    """
    import av

    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    tempo, sink = graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    graph.push(_make_frame(sound, rate, "flt"))
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(parts).astype(np.float32)


def write_mp3(path: Path, sound: np.ndarray, rate: int, *, bit_rate: int = 64_000) -> float:
    """Write a waveform as MP3 with one channel. The file is complete or absent.

    Args:
        path: File that ends in .mp3. Its folder is created.
        sound: Waveform.
        rate: Sampling rate in Hz: 16000, 22050, 24000, 32000, 44100 or 48000.
        bit_rate: Bits per second.

    Returns:
        The length in seconds.

    Raises:
        DataError: The sound is empty.
        ArtifactError: The disk is full.
    """
    import av

    if not len(sound):
        raise DataError(f"{path} cannot be written from an empty sound. Check how the sound was made.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with explain_failed_write(path):
            with av.open(str(partial), "w", format="mp3") as file:
                stream = file.add_stream("libmp3lame", rate=rate, layout="mono")
                stream.bit_rate = bit_rate
                file.mux(stream.encode(_make_frame(sound / LAME_GAIN, rate, "fltp")))
                file.mux(stream.encode(None))
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return len(sound) / rate


def _make_frame(sound: np.ndarray, rate: int, format: str) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32)[None], format=format, layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    return frame
