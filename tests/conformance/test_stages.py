"""Synthesis and training on families of each kind: flattened rows, several projectors, token types, videos, audio."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch
from PIL import Image

from conformance.conftest import QUESTION, TEXT_ONLY, get_name, make_row
from seawall.alignment.config import AlignConfig
from seawall.alignment.mixture import TrainingExample
from seawall.alignment.trainers import train
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import find_family
from seawall.synthesis.optimize import Task, optimize

ROWS = [
    find_family(*key)
    for key in (
        ("llava_next", "image"),
        ("qwen2_vl", "video"),
        ("qwen3_vl", "image"),
        ("gemma3", "image"),
        ("paligemma", "image"),
        ("qwen2_audio", "audio"),
        ("qwen3_omni_moe_thinker", "audio"),
    )
]
SYNTHETIC = Example(question=QUESTION, answer="Yes.", medium=BLANK)


@pytest.mark.parametrize("family", ROWS, ids=get_name)
def test_synthesis_lowers_the_loss(family, media_folder):
    loaded = make_row(family, media_folder).copy().loaded
    starts = encode_media(loaded, [BLANK])
    task = Task(record="a", content=[[SYNTHETIC]], embeddings=starts[:1])
    rate = 0.05 * starts.std().item()
    (done,) = optimize(loaded, iter([task]), learning_rate=rate, threshold=0, max_steps=3, batch_size=1)
    assert done.embeddings.shape == starts[:1].shape
    assert done.curve[-1] < done.curve[0]


@pytest.mark.parametrize("model_type", ["llava_next", "qwen2_vl"])
def test_a_larger_image_becomes_a_start_with_the_rows_of_the_blank(model_type, media_folder, tmp_path):
    loaded = make_row(find_family(model_type, "image"), media_folder).loaded
    Image.effect_noise((120, 300), 90).save(tmp_path / "large.png")
    start, blank = encode_media(loaded, [tmp_path / "large.png"]), encode_media(loaded, [BLANK])
    assert start.shape == blank.shape and not torch.equal(start, blank)


@pytest.mark.parametrize("family", ROWS, ids=get_name)
def test_training_treats_synthetic_media_like_real_ones(family, media_folder, tmp_path):
    row = make_row(family, media_folder)
    real, other = (dataclasses.replace(SYNTHETIC, medium=file) for file in row.files)

    def compute_first_loss(name, embedding=None):
        """Return the loss of the first step on text, on one medium, real unless there is an embedding, and on another real one."""
        loaded = dataclasses.replace(row.copy().loaded, processor=types.SimpleNamespace())
        shown = TrainingExample(real) if embedding is None else TrainingExample(SYNTHETIC, "a#0")
        examples = [TrainingExample(TEXT_ONLY), shown, TrainingExample(other)]
        store = types.SimpleNamespace(read=lambda _: embedding)
        config = AlignConfig(steps=1, batch_size=3, num_checkpoints=1)
        ((_, loss),) = train(loaded, examples, store, tmp_path / name, config)
        return loss

    expected = compute_first_loss("real")
    assert compute_first_loss("own", row.own[0]) == pytest.approx(expected, abs=1e-4)
    assert abs(compute_first_loss("zero", torch.zeros_like(row.own[0])) - expected) > 1e-3
