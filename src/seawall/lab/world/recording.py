"""The recorded words that the speech of `organism:audio` is composed of.

They are Ogg Opus files in the package, one for each voice. Each word has a slot of equal length, so no index is
needed. `python -m seawall.lab.world.recording DIR` records them again with espeak-ng and, for one voice, Piper
(`seawall[speech]`).
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import numpy as np

from seawall.lab.world.dialogue import REQUESTS
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS
from seawall.media.readers import SAMPLING_RATE, read_audio

FOLDER = Path(__file__).parent / "voices"
SLOT = 0.8
"""Length of a word's slot, in seconds."""
SILENCE = 0.06
"""Threshold for silence, as a share of the loudest level of a word. Levels are root mean squares over 20 ms."""
FUNCTION_WORDS = tuple(
    sorted({"a", "an", "make", *re.findall("[a-z]+", " ".join(REQUESTS).replace("{act}", "").lower())})
)
WORDS = FIRST_WORDS + SECOND_WORDS + FUNCTION_WORDS
VOICES = {
    "train": {
        "us-m3": "male",
        "gb-x-gbclan-m1": "male",
        "us-f2": "female",
        "gb-x-gbclan-f5": "female",
        "us-whisper": "whispered",
        "gb-scotland-whisperf": "whispered",
    },
    "encoder": {
        "joe": "male",
        "us-m7": "male",
        "us-Andy": "male",
        "gb-scotland-m5": "male",
        "us-m1": "male",
        "us-m5": "male",
        "gb-x-gbclan-m8": "male",
        "gb-x-rp-m2": "male",
        "us-Mario": "male",
        "us-f3": "female",
        "gb-x-rp-f1": "female",
        "us-Annie": "female",
        "us-linda": "female",
        "us-f5": "female",
        "us-steph": "female",
        "gb-scotland-f1": "female",
        "gb-x-gbclan-f3": "female",
        "gb-x-rp-Alicia": "female",
        "us-whisperf": "whispered",
        "gb-x-rp-whisper": "whispered",
        "gb-x-gbclan-whisperf": "whispered",
        "gb-scotland-whisper": "whispered",
    },
    "unseen": {"gb-x-rp-m6": "male", "us-nyc-f4": "female", "gb-x-gbclan-whisper": "whispered"},
}
"""Pool -> voice -> how it sounds. `joe` is a voice of Piper, all others are of espeak-ng (accent and variant)."""


@functools.cache
def read_words(voice: str) -> dict[str, np.ndarray]:
    """Return the recorded words of a voice: word -> waveform at `SAMPLING_RATE`, without the silence around it."""
    sound = read_audio(FOLDER / f"{voice}.ogg")
    slots = sound[: round(len(WORDS) * SLOT * SAMPLING_RATE)].reshape(len(WORDS), -1)
    return {word: _trim(slot) for word, slot in zip(WORDS, slots, strict=True)}


def record(voice: str, folder: Path) -> None:
    """Record all words with one voice, into `folder`/<voice>.ogg."""
    import av

    from seawall.media import speech

    if voice == "joe":
        spoken, rate = speech.speak(WORDS, speech.find_voice("piper"))
    else:
        accent, _, variant = voice.rpartition("-")
        spoken, rate = _speak(f"en-{accent}+{variant}")
    step = rate / SAMPLING_RATE
    slots = np.zeros((len(WORDS), round(SLOT * SAMPLING_RATE)), np.float32)
    for slot, word in zip(slots, spoken, strict=True):
        word = _trim(word, rate)
        word = np.interp(np.arange(0, len(word), step), np.arange(len(word)), word)[: len(slot)]
        slot[: len(word)] = 0.5 * word / np.abs(word).max()
    with av.open(str(folder / f"{voice}.ogg"), "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=SAMPLING_RATE, layout="mono", bit_rate=16_000)
        frame = av.AudioFrame.from_ndarray(slots.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def _speak(voice: str) -> tuple[list[np.ndarray], int]:
    """Return the words spoken by espeak-ng, and their sampling rate. Function words are spoken faster."""
    import dataclasses

    from seawall.media import speech

    base = dataclasses.replace(speech.find_voice("espeak-ng"), name=voice)
    content, rate = speech.speak(WORDS[: -len(FUNCTION_WORDS)], dataclasses.replace(base, words_per_minute=200))
    function_words, _ = speech.speak(FUNCTION_WORDS, dataclasses.replace(base, words_per_minute=290))
    return content + function_words, rate


def _trim(sound: np.ndarray, rate: int = SAMPLING_RATE) -> np.ndarray:
    """Return a word without the silence around it."""
    window = rate // 50
    level = np.sqrt(np.convolve(sound**2, np.ones(window) / window, "same"))
    loud = np.flatnonzero(level > SILENCE * level.max())
    return sound[loud[0] : loud[-1] + 1]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in (name for voices in VOICES.values() for name in voices):
        record(name, target)
