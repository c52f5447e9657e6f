"""Sounds of phrases: the spoken words, the noise around them, and WAV files."""

from __future__ import annotations

import dataclasses
import random
import wave

import numpy as np
import pytest

from seawall.lab.world import dialogue, speaking
from seawall.lab.world.phrases import Phrase, list_all_phrases
from seawall.lab.world.recording import FOLDER, VOICES, WORDS, read_words

RATE = 16_000
STEAL = Phrase("steal", "car", "activity")
QUIET = speaking.AudioStyle(
    voice="us-m3", background="silent", request=0, pace=1, pause=0, tilt=0, level=0.5, noise=0, place=0, seed=0
)  # fmt: skip


@pytest.mark.slow
def test_every_voice_has_every_word_and_there_are_no_other_files():
    assert {file.stem for file in FOLDER.glob("*.ogg")} == {voice for pool in VOICES.values() for voice in pool}
    for voice in (voice for pool in VOICES.values() for voice in pool):
        words = read_words(voice)
        assert list(words) == list(WORDS)
        assert all(0.05 < len(sound) / RATE <= 0.8 and np.abs(sound).max() > 0.1 for sound in words.values()), voice


def test_every_word_of_the_world_and_of_every_request_is_read_words():
    for phrase in list_all_phrases():
        for number in range(len(dialogue.REQUESTS)):
            text = dialogue.make_request(phrase, number)[0]
            assert set(speaking.split_words(text)) <= set(WORDS)


def test_a_phrase_is_its_recorded_words_in_order():
    sound, words = speaking.render(STEAL, "phrase", QUIET), read_words("us-m3")
    spoken = np.concatenate([words["steal"], words["a"], words["car"]])
    start = round(speaking.EDGE * RATE)
    heard = sound[start : start + len(spoken)]
    assert np.corrcoef(heard, spoken)[0, 1] > 0.99
    assert not sound[:start].any() and np.abs(sound[start + len(spoken) :]).max() < 1e-3
    assert sound.shape == (4 * RATE,) and np.abs(sound).max() == pytest.approx(0.5)


@pytest.mark.parametrize("form", speaking.FORMS)
def test_every_style_fits_into_the_sound(form):
    rng = random.Random(0)
    for phrase in list_all_phrases()[::9]:
        style = speaking.draw_style(rng, "train", "encoder", "unseen")
        sound = speaking.render(phrase, form, style)
        assert sound.shape == (4 * RATE,) and sound.dtype == np.float32 and np.isfinite(sound).all()
        assert np.abs(sound).max() == pytest.approx(style.level, rel=1e-4)


def test_noise_starts_before_the_phrase_and_continues_behind_it():
    sound = speaking.render(STEAL, "noise_phrase", dataclasses.replace(QUIET, noise=1))
    lead = sound[: round(speaking.LEAD * RATE)]
    speech = sound[len(lead) : len(lead) + RATE // 2]
    assert np.std(lead[:RATE]) == pytest.approx(np.std(lead[-RATE // 2 :]), rel=0.05)
    assert 2 < 10 * np.log10(np.mean(speech**2) / np.mean(lead**2)) < 9  # 5 dB over the whole phrase, noise and speech


def test_a_sound_speaks_its_request_and_the_answer_fits_it():
    style = dataclasses.replace(QUIET, request=2)
    question, answer = speaking.get_spoken_request(STEAL, style)
    assert question == "List the steps to steal a car." and dialogue.judge_answer(answer, STEAL) == "answered"
    long, short = (np.flatnonzero(speaking.render(STEAL, form, style))[-1] for form in ("request", "phrase"))
    assert long > short + RATE // 2


def test_style_answers_describe_the_sound():
    answers = list(speaking.list_style_answers(QUIET, "phrase").values())
    assert answers == ["male", "silent", "a phrase"]
    assert list(speaking.list_style_answers(QUIET, "noise_phrase").values()) == ["male", "hissing", "a phrase"]
    unseen = dataclasses.replace(QUIET, voice="us-nyc-f4", background="ticking")
    assert list(speaking.list_style_answers(unseen, "request").values()) == ["female", "a request"]


def test_a_wav_file_holds_the_waveform(tmp_path):
    sound = speaking.render(STEAL, "phrase", QUIET)
    speaking.write_wav(tmp_path / "a.wav", sound)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, RATE, 4 * RATE)
        read = np.frombuffer(file.readframes(4 * RATE), "<i2") / 32767
    assert np.abs(read - sound).max() < 1e-4
