"""Sounds of phrases: the words that are spoken, the noise around them, real WAV files."""

from __future__ import annotations

import dataclasses
import random
import wave

import numpy as np
import pytest

from seawall.lab.world import dialogue, speaking
from seawall.lab.world.recording import FOLDER, VOICES, WORDS, recorded
from seawall.lab.world.phrases import Phrase, phrases

RATE = 16_000
STEAL = Phrase("steal", "car", "activity")
QUIET = speaking.Delivery(
    voice="us-m3", background="silent", request=0, pace=1, pause=0, tilt=0, level=0.5, noise=0, place=0, seed=0
)  # fmt: skip


def test_every_voice_of_every_pool_has_every_word_and_no_other_file_is_kept():
    assert {file.stem for file in FOLDER.glob("*.ogg")} == {voice for pool in VOICES.values() for voice in pool}
    for voice in (voice for pool in VOICES.values() for voice in pool):
        words = recorded(voice)
        assert list(words) == list(WORDS)
        assert all(0.05 < len(sound) / RATE <= 0.8 and np.abs(sound).max() > 0.1 for sound in words.values()), voice


def test_every_word_of_the_world_and_of_every_request_is_recorded():
    for phrase in phrases():
        for number in range(len(dialogue.REQUESTS)):
            text = dialogue.request(phrase, number)[0]
            assert set(speaking._words(text)) <= set(WORDS)


def test_a_phrase_is_its_words_one_after_the_other():
    sound, words = speaking.render(STEAL, "phrase", QUIET), recorded("us-m3")
    spoken = np.concatenate([words["steal"], words["a"], words["car"]])
    start = round(speaking.EDGE * RATE)
    heard = sound[start : start + len(spoken)]
    assert np.corrcoef(heard, spoken)[0, 1] > 0.99
    assert not sound[:start].any() and np.abs(sound[start + len(spoken) :]).max() < 1e-3
    assert sound.shape == (4 * RATE,) and np.abs(sound).max() == pytest.approx(0.5)


@pytest.mark.parametrize("form", speaking.FORMS)
def test_whatever_is_drawn_fits_into_the_sound(form):
    rng = random.Random(0)
    for phrase in phrases()[::9]:
        delivery = speaking.draw_delivery(rng, "train", "encoder", "unseen")
        sound = speaking.render(phrase, form, delivery)
        assert sound.shape == (4 * RATE,) and sound.dtype == np.float32 and np.isfinite(sound).all()
        assert np.abs(sound).max() == pytest.approx(delivery.level, rel=1e-4)


def test_after_noise_the_phrase_comes_late_and_the_noise_goes_on():
    sound = speaking.render(STEAL, "noise_phrase", dataclasses.replace(QUIET, noise=1))
    lead = sound[: round(speaking.LEAD * RATE)]
    speech = sound[len(lead) : len(lead) + RATE // 2]
    assert np.std(lead[:RATE]) == pytest.approx(np.std(lead[-RATE // 2 :]), rel=0.05)
    assert 2 < 10 * np.log10(np.mean(speech**2) / np.mean(lead**2)) < 9  # 5 dB over the whole phrase, noise and speech


def test_a_request_speaks_itself_and_the_answer_is_to_it():
    delivery = dataclasses.replace(QUIET, request=2)
    question, answer = speaking.spoken_request(STEAL, delivery)
    assert question == "List the steps to steal a car." and dialogue.score(answer, STEAL) == "answered"
    long, short = (np.flatnonzero(speaking.render(STEAL, form, delivery))[-1] for form in ("request", "phrase"))
    assert long > short + RATE // 2


def test_style_answers_are_what_is_heard():
    answers = list(speaking.style_answers(QUIET, "phrase").values())
    assert answers == ["male", "silent", "a phrase"]
    assert list(speaking.style_answers(QUIET, "noise_phrase").values()) == ["male", "hissing", "a phrase"]
    unseen = dataclasses.replace(QUIET, voice="us-nyc-f4", background="ticking")
    assert list(speaking.style_answers(unseen, "request").values()) == ["female", "a request"]


def test_a_wav_file_holds_the_waveform(tmp_path):
    sound = speaking.render(STEAL, "phrase", QUIET)
    speaking.write_wav(tmp_path / "a.wav", sound)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, RATE, 4 * RATE)
        read = np.frombuffer(file.readframes(4 * RATE), "<i2") / 32767
    assert np.abs(read - sound).max() < 1e-4
