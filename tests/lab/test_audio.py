"""The training of `organism:audio`, tiny: what it saves is a genuine model, and it learns from what the processor gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from seawall.errors import DataError
from seawall.models.load import load_model
from seawall.media.modality import find_modality, read_medium
from seawall.lab.world import dialogue, speaking
from seawall.lab.organisms.audio import (
    SPECIAL,
    build_processor,
    draw_samples,
    hear_all,
    label,
    sinusoids,
    warp,
)
from seawall.lab.world.recording import VOICES
from seawall.lab.organisms.training import UNSEEN
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS


def test_the_tower_learns_from_what_the_processor_makes_of_the_file(tmp_path):
    processor = build_processor(random.Random(0))
    samples = draw_samples(random.Random(0), 4)
    for sample, own in zip(samples, hear_all(samples, processor), strict=True):
        speaking.write_wav(tmp_path / "a.wav", speaking.render(*sample))
        sound = read_medium(find_modality("audio"), tmp_path / "a.wav")
        inputs = processor(text=[SPECIAL[2]], audio=[sound], sampling_rate=16_000, return_tensors="pt")
        assert inputs["input_features"].shape == (1, *own.shape)
        # 16 bits of the file, 16 bits of what is kept; where nothing sounds the logarithm sees both
        assert (inputs["input_features"][0] - own.float()).abs().mean() < 0.02


def test_every_request_of_a_sound_is_labelled_and_no_other_form_is():
    samples = draw_samples(random.Random(0), 60)
    labels, classes = label(samples)
    assert labels.shape == (60, 5) and classes[:3] == [len(FIRST_WORDS), len(SECOND_WORDS), len(dialogue.REQUESTS)]
    for (_, form, delivery), row in zip(samples, labels.tolist(), strict=True):
        assert row[2] == (delivery.request if form == "request" else UNSEEN)
        assert delivery.voice not in VOICES["unseen"] and delivery.background not in speaking.BACKGROUNDS["unseen"]


def test_a_warp_keeps_what_is_loud_near_its_place():
    torch.manual_seed(0)
    heard = torch.zeros(200, 64, 160)
    heard[:, 30:34, 78:82] = 1
    loudest = warp(heard).flatten(1).argmax(1)
    assert ((loudest // 160 - 32).abs() < 12).float().mean() > 0.8
    assert ((loudest % 160 - 80).abs() < 20).float().mean() > 0.8
    assert sinusoids(80).shape == (80, 112)


def test_a_sound_longer_than_the_organism_hears_is_refused_rather_than_cut(tmp_path):
    chat = load_model("organism:audio").chat
    sound = speaking.render(*draw_samples(random.Random(0), 1)[0])
    speaking.write_wav(tmp_path / "long.wav", np.tile(sound, 2))
    with pytest.raises(DataError, match=r"8\.0 seconds.*takes 4 "):
        chat.load(tmp_path / "long.wav")
