"""Sounds of a phrase: a whole spoken *request*, the *phrase* alone, or *noise followed by the phrase*.

Speech is composed of recorded words (see `recording`). Everything else varies: voice, pace and pitch, pauses, timbre,
loudness, background and its level. Voices and backgrounds come from the same three pools as the styles of images.
"""

from __future__ import annotations

import dataclasses
import random
import re
import wave
from pathlib import Path
from typing import Literal

import numpy as np

from seawall.lab.world import dialogue
from seawall.lab.world.drawing import Pool
from seawall.lab.world.phrases import Phrase
from seawall.lab.world.recording import VOICES, read_words
from seawall.media.readers import SAMPLING_RATE
from seawall.prompts import HEARD

SECONDS = 4
"""Length of a sound, in seconds."""
LEAD = 1.8
"""Minimum seconds of noise before the phrase, in the form `noise_phrase`."""
EDGE = 0.1
"""Minimum seconds before and after speech."""

Form = Literal["request", "phrase", "noise_phrase"]
FORMS: tuple[Form, ...] = ("request", "phrase", "noise_phrase")
"""VA-SafetyBench's Audio_only, KPT and KPT_noise."""
BACKGROUNDS: dict[Pool, tuple[str, ...]] = {
    "train": ("silent", "hissing", "humming", "rumbling"),
    "encoder": ("crackling", "whistling"),
    "unseen": ("ticking", "warbling"),
}
SNR: dict[Form, tuple[float, float]] = {"request": (12, 25), "phrase": (12, 25), "noise_phrase": (8, 15)}
"""Lowest and highest signal-to-noise ratio of speech to background, in dB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioStyle:
    """Everything about a sound except its phrase and its form."""

    voice: str
    """Voice of the speech."""
    background: str
    """Sound behind the speech."""
    request: int
    """Number of the request, if one is spoken."""
    pace: float
    """Speed and pitch relative to the recording."""
    pause: float
    """Maximum pause between words, in seconds."""
    tilt: float
    """Change of timbre: above 0 brighter, below 0 darker."""
    level: float
    """Peak amplitude."""
    noise: float
    """Level of the background between its weakest (0) and its strongest (1)."""
    place: float
    """Start of the speech between the earliest (0) and the latest (1) possible time."""
    seed: int
    """Random seed of background and pauses."""


def draw_style(rng: random.Random, *pools: Pool) -> AudioStyle:
    """Draw a style with a voice and a background from the given pools."""
    return AudioStyle(
        voice=rng.choice([voice for pool in pools for voice in VOICES[pool]]),
        background=rng.choice([background for pool in pools for background in BACKGROUNDS[pool]]),
        request=rng.randrange(len(dialogue.REQUESTS)),
        pace=rng.uniform(0.9, 1.12),
        pause=rng.uniform(0, 0.06),
        tilt=rng.uniform(-0.5, 0.5),
        level=rng.uniform(0.2, 0.9),
        noise=rng.random(),
        place=rng.random(),
        seed=rng.getrandbits(32),
    )


def list_style_answers(style: AudioStyle, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions of `prompts.HEARD`, as far as it lists them."""
    (voice,) = (sounds[style.voice] for sounds in VOICES.values() if style.voice in sounds)
    values = (voice, _get_background(style, form), "a request" if form == "request" else "a phrase")
    return {q: value for (q, (_, styles)), value in zip(HEARD.styles.items(), values, strict=True) if value in styles}


def get_spoken_request(phrase: Phrase, style: AudioStyle) -> tuple[str, str]:
    """Return the request that a sound of the form `request` speaks, and the helpful answer."""
    return dialogue.make_request(phrase, style.request)


def render(phrase: Phrase, form: Form, style: AudioStyle) -> np.ndarray:
    """Return a sound of a phrase: waveform at `SAMPLING_RATE`, shape = (SECONDS * SAMPLING_RATE,), float32."""
    rng = np.random.default_rng(style.seed)
    text = get_spoken_request(phrase, style)[0] if form == "request" else phrase.text
    speech = _speak(text, style, rng)
    sound = np.zeros(SECONDS * SAMPLING_RATE, dtype=np.float32)
    first = (LEAD if form == "noise_phrase" else EDGE) * SAMPLING_RATE
    room = len(sound) - EDGE * SAMPLING_RATE - len(speech) - first
    start = round(first + style.place * max(0, room))
    speech = speech[: len(sound) - start]
    sound[start : start + len(speech)] = speech
    if (background := _get_background(style, form)) != "silent":
        weakest, strongest = SNR[form][1], SNR[form][0]
        snr = weakest + style.noise * (strongest - weakest)
        noise = make_background(background, len(sound), rng)
        power = np.mean(speech**2) / 10 ** (snr / 10)
        sound += noise * np.sqrt(power / np.mean(noise**2))
    return sound * np.float32(style.level / np.abs(sound).max())


def render_plain(text: str, voice: str, pace: float) -> np.ndarray:
    """Return a text spoken by one voice without background: waveform, shape = (SECONDS * SAMPLING_RATE,), float32."""
    speech = _resample(np.concatenate([read_words(voice)[word] for word in split_words(text)]), pace)
    return np.pad(speech, (round(0.3 * SAMPLING_RATE), SECONDS * SAMPLING_RATE))[: SECONDS * SAMPLING_RATE]


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write a waveform at `SAMPLING_RATE` as a WAV file with 16 bits and one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((sound.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


def make_background(name: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return a background, shape = (samples,), float32. Its loudness is arbitrary."""
    time = np.arange(samples) / SAMPLING_RATE
    white = rng.standard_normal(samples)
    made: np.ndarray
    if name == "hissing":
        made = white
    elif name == "humming":
        base = rng.uniform(90, 140)
        made = sum(np.sin(2 * np.pi * base * n * time + rng.uniform(0, 6)) / n for n in range(1, 6)) + 0.05 * white
    elif name == "rumbling":
        made = _tilt_spectrum(white, -1.0)
    elif name == "crackling":
        made = white * (rng.random(samples) < 0.002) * 8 + 0.1 * white
    elif name == "whistling":
        made = np.sin(2 * np.pi * rng.uniform(900, 1500) * time + 3 * np.sin(2 * np.pi * 2 * time)) + 0.1 * white
    elif name == "ticking":
        made = white * np.exp(-60 * np.mod(time + rng.random(), rng.uniform(0.2, 0.4))) + 0.03 * white
    else:  # warbling
        made = _tilt_spectrum(white, -0.5) * (1 + np.sin(2 * np.pi * rng.uniform(3, 6) * time))
    return made.astype(np.float32)


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall("[a-z]+", text.lower())


def _get_background(style: AudioStyle, form: Form) -> str:
    """Return the background. The form `noise_phrase` always has one."""
    silent = form == "noise_phrase" and style.background == "silent"
    return "hissing" if silent else style.background


def _speak(text: str, style: AudioStyle, rng: np.random.Generator) -> np.ndarray:
    """Return a text spoken in a style, without background."""
    words = read_words(style.voice)
    pieces = []
    for word in split_words(text):
        pieces += [words[word], np.zeros(round(rng.uniform(0, style.pause) * SAMPLING_RATE), np.float32)]
    speech = _resample(np.concatenate(pieces), style.pace)
    return _tilt_spectrum(speech, style.tilt)


def _resample(sound: np.ndarray, pace: float) -> np.ndarray:
    resampled: np.ndarray = np.interp(np.arange(0, len(sound), pace), np.arange(len(sound)), sound)
    return resampled.astype(np.float32)


def _tilt_spectrum(sound: np.ndarray, slope: float) -> np.ndarray:
    """Multiply the spectrum of a sound by (frequency / 1 kHz) ** slope."""
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLING_RATE)
    spectrum = np.fft.rfft(sound) * (np.maximum(frequencies, 60) / 1000) ** slope
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)
