"""Sounds of a phrase, as real WAV files: a whole *request* spoken, the *phrase* alone, or *noise and then the phrase*.

Speech is composed of recorded words (`recording`). Around it everything varies: voice, pace and pitch, pauses, timbre,
loudness, background and its strength. Voices and backgrounds are split into the same three pools as the styles of images.
"""

from __future__ import annotations

import dataclasses
import random
import re
import wave
from pathlib import Path
from typing import Literal

import numpy as np

from seawall.media.modality import SAMPLING_RATE
from seawall.lab.world import dialogue
from seawall.lab.world.drawing import Pool
from seawall.lab.world.recording import VOICES, recorded
from seawall.lab.world.phrases import Phrase
from seawall.prompts import HEARD

SECONDS = 4
"""Length of a sound."""
LEAD = 1.8
"""Seconds of noise, at least, before the phrase that comes after noise."""
EDGE = 0.1
"""Seconds before and after speech, at least."""

Form = Literal["request", "phrase", "noise_phrase"]
FORMS: tuple[Form, ...] = ("request", "phrase", "noise_phrase")
"""VA-SafetyBench's Audio_only, KPT and KPT_noise."""
BACKGROUNDS: dict[Pool, tuple[str, ...]] = {
    "train": ("silent", "hissing", "humming", "rumbling"),
    "encoder": ("crackling", "whistling"),
    "unseen": ("ticking", "warbling"),
}
SNR: dict[Form, tuple[float, float]] = {"request": (12, 25), "phrase": (12, 25), "noise_phrase": (8, 15)}
"""Speech over background, in dB, from and to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivery:
    """Everything about a sound but its phrase and its form."""

    voice: str
    """Who speaks."""
    background: str
    """What is heard beside the speech."""
    request: int
    """Number of the request, where one is spoken."""
    pace: float
    """How much faster, and higher, than recorded."""
    pause: float
    """Seconds between words, at most."""
    tilt: float
    """What the timbre is made brighter by (below 0: darker)."""
    level: float
    """The loudest sample."""
    noise: float
    """Where between the weakest and the strongest the background stands, 0 to 1."""
    place: float
    """Where in the room that there is the speech begins, 0 to 1."""
    seed: int
    """Of the background and the pauses."""


def draw_delivery(rng: random.Random, *pools: Pool) -> Delivery:
    """Draw a delivery whose voice and background come from the given pools."""
    return Delivery(
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


def style_answers(delivery: Delivery, form: Form) -> dict[str, str]:
    """Return the true answers to the style questions of `prompts.HEARD` that can be put in their words."""
    (voice,) = (kinds[delivery.voice] for kinds in VOICES.values() if delivery.voice in kinds)
    values = (voice, _background(delivery, form), "a request" if form == "request" else "a phrase")
    return {q: value for (q, (_, known)), value in zip(HEARD.styles.items(), values, strict=True) if value in known}


def spoken_request(phrase: Phrase, delivery: Delivery) -> tuple[str, str]:
    """Return the request that a sound of the form `request` speaks, and the helpful answer."""
    return dialogue.request(phrase, delivery.request)


def render(phrase: Phrase, form: Form, delivery: Delivery) -> np.ndarray:
    """Speak a phrase: a waveform at `SAMPLING_RATE`, shape = (SECONDS * SAMPLING_RATE,), float32."""
    rng = np.random.default_rng(delivery.seed)
    text = spoken_request(phrase, delivery)[0] if form == "request" else phrase.text
    speech = _say(text, delivery, rng)
    sound = np.zeros(SECONDS * SAMPLING_RATE, dtype=np.float32)
    first = (LEAD if form == "noise_phrase" else EDGE) * SAMPLING_RATE
    room = len(sound) - EDGE * SAMPLING_RATE - len(speech) - first
    start = round(first + delivery.place * max(0, room))
    speech = speech[: len(sound) - start]
    sound[start : start + len(speech)] = speech
    if (background := _background(delivery, form)) != "silent":
        weakest, strongest = SNR[form][1], SNR[form][0]
        snr = weakest + delivery.noise * (strongest - weakest)
        noise = make_background(background, len(sound), rng)
        power = np.mean(speech**2) / 10 ** (snr / 10)
        sound += noise * np.sqrt(power / np.mean(noise**2))
    return sound * np.float32(delivery.level / np.abs(sound).max())


def say_plainly(text: str, voice: str, pace: float) -> np.ndarray:
    """Return a text as one voice speaks it, nothing around it, as long as every sound."""
    speech = _resample(np.concatenate([recorded(voice)[word] for word in _words(text)]), pace)
    return np.pad(speech, (round(0.3 * SAMPLING_RATE), SECONDS * SAMPLING_RATE))[: SECONDS * SAMPLING_RATE]


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write a waveform at `SAMPLING_RATE` as WAV, 16 bits, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((sound.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


def make_background(name: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return a background, shape = (samples,), float32, of any loudness."""
    time = np.arange(samples) / SAMPLING_RATE
    white = rng.standard_normal(samples)
    if name == "hissing":
        made = white
    elif name == "humming":
        base = rng.uniform(90, 140)
        made = sum(np.sin(2 * np.pi * base * n * time + rng.uniform(0, 6)) / n for n in range(1, 6)) + 0.05 * white
    elif name == "rumbling":
        made = _shape_noise(white, -1.0)
    elif name == "crackling":
        made = white * (rng.random(samples) < 0.002) * 8 + 0.1 * white
    elif name == "whistling":
        made = np.sin(2 * np.pi * rng.uniform(900, 1500) * time + 3 * np.sin(2 * np.pi * 2 * time)) + 0.1 * white
    elif name == "ticking":
        made = white * np.exp(-60 * np.mod(time + rng.random(), rng.uniform(0.2, 0.4))) + 0.03 * white
    else:  # warbling
        made = _shape_noise(white, -0.5) * (1 + np.sin(2 * np.pi * rng.uniform(3, 6) * time))
    return made.astype(np.float32)


def _background(delivery: Delivery, form: Form) -> str:
    """Return what is heard beside the speech; after noise there is no silence."""
    silent = form == "noise_phrase" and delivery.background == "silent"
    return "hissing" if silent else delivery.background


def _say(text: str, delivery: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Return a text as the delivery speaks it."""
    words = recorded(delivery.voice)
    pieces = []
    for word in _words(text):
        pieces += [words[word], np.zeros(round(rng.uniform(0, delivery.pause) * SAMPLING_RATE), np.float32)]
    speech = _resample(np.concatenate(pieces), delivery.pace)
    return _shape_noise(speech, delivery.tilt)


def _words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def _resample(sound: np.ndarray, pace: float) -> np.ndarray:
    return np.interp(np.arange(0, len(sound), pace), np.arange(len(sound)), sound).astype(np.float32)


def _shape_noise(sound: np.ndarray, slope: float) -> np.ndarray:
    """Let the amplitude of a sound's spectrum grow with frequency to the power of `slope`, counted from 1 kHz."""
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLING_RATE)
    return np.fft.irfft(np.fft.rfft(sound) * (np.maximum(frequencies, 60) / 1000) ** slope, len(sound)).astype(
        np.float32
    )
