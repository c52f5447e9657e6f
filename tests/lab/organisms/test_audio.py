"""The training of `organism:audio`: inputs, labels and augmentation."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from seawall.errors import DataError
from seawall.lab.organisms.audio import (
    SPECIAL,
    augment,
    build_processor,
    draw_samples,
    extract_features,
    make_labels,
    make_sinusoids,
)
from seawall.lab.organisms.training import NO_LABEL
from seawall.lab.world import dialogue, speaking
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS
from seawall.lab.world.recording import VOICES
from seawall.media.modality import find_modality, read_medium
from seawall.models.load import load_model


def test_the_tower_learns_from_the_features_that_the_processor_computes_of_a_file(tmp_path):
    processor = build_processor(random.Random(0))
    samples = draw_samples(random.Random(0), 4)
    for sample, own in zip(samples, extract_features(samples, processor.feature_extractor), strict=True):
        speaking.write_wav(tmp_path / "a.wav", speaking.render(*sample))
        sound = read_medium(find_modality("audio"), tmp_path / "a.wav")
        inputs = processor(text=[SPECIAL[2]], audio=[sound], sampling_rate=16_000, return_tensors="pt")
        assert inputs["input_features"].shape == (1, *own.shape)
        # files have 16 bits and so do the stored features; in silence the logarithm shows both roundings
        assert (inputs["input_features"][0] - torch.from_numpy(own).float()).abs().mean() < 0.02


def test_only_sounds_of_requests_have_a_label_for_the_request():
    samples = draw_samples(random.Random(0), 60)
    labels, classes = make_labels(samples)
    assert labels.shape == (60, 5) and classes[:3] == [len(FIRST_WORDS), len(SECOND_WORDS), len(dialogue.REQUESTS)]
    for (_, form, style), row in zip(samples, labels.tolist(), strict=True):
        assert row[2] == (style.request if form == "request" else NO_LABEL)
        assert style.voice not in VOICES["unseen"] and style.background not in speaking.BACKGROUNDS["unseen"]


def test_augmentation_moves_loud_parts_only_a_little():
    torch.manual_seed(0)
    spectrograms = torch.zeros(200, 64, 160)
    spectrograms[:, 30:34, 78:82] = 1
    loudest = augment(spectrograms).flatten(1).argmax(1)
    assert ((loudest // 160 - 32).abs() < 12).float().mean() > 0.8
    assert ((loudest % 160 - 80).abs() < 20).float().mean() > 0.8
    assert make_sinusoids(80).shape == (80, 112)


def test_a_sound_that_is_too_long_is_refused(tmp_path):
    chat = load_model("organism:audio").chat
    sound = speaking.render(*draw_samples(random.Random(0), 1)[0])
    speaking.write_wav(tmp_path / "long.wav", np.tile(sound, 2))
    with pytest.raises(DataError, match=r"8\.0 seconds.*takes 4 "):
        chat.load(tmp_path / "long.wav")
