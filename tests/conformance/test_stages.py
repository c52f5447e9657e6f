"""Synthesis and training on families of each kind: flattened rows, several projectors, token types, videos, sound."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch
from PIL import Image

from conformance.conftest import QUESTION, TEXT_ONLY, make_row, name_of
from seawall.alignment.config import AlignConfig
from seawall.alignment.mixture import Row
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
SHOWN = Example(question=QUESTION, answer="Yes.", medium=BLANK)


@pytest.mark.parametrize("family", ROWS, ids=name_of)
def test_the_synthesis_lowers_the_loss(family, media_folder):
    loaded = make_row(family, media_folder).copy().loaded
    starts = encode_media(loaded, [BLANK])
    task = Task(record="a", examples=[[SHOWN]], embeddings=starts[:1])
    rate = 0.05 * starts.std().item()
    (done,) = optimize(loaded, iter([task]), rate=rate, threshold=0, max_steps=3, batch_size=1)
    assert done.embeddings.shape == starts[:1].shape
    assert done.curve[-1] < done.curve[0]


@pytest.mark.parametrize("model_type", ["llava_next", "qwen2_vl"])
def test_a_larger_image_becomes_a_start_of_the_blanks_rows(model_type, media_folder, tmp_path):
    loaded = make_row(find_family(model_type, "image"), media_folder).loaded
    Image.effect_noise((120, 300), 90).save(tmp_path / "large.png")
    start, blank = encode_media(loaded, [tmp_path / "large.png"]), encode_media(loaded, [BLANK])
    assert start.shape == blank.shape and not torch.equal(start, blank)


@pytest.mark.parametrize("family", ROWS, ids=name_of)
def test_the_training_sees_synthetic_as_real_media(family, media_folder, tmp_path):
    row = make_row(family, media_folder)

    def first_loss(name, embedding):
        """Return the loss of a first step on text, one medium (real where there is no embedding) and one more real medium."""
        loaded = dataclasses.replace(row.copy().loaded, processor=types.SimpleNamespace())
        examples = [TEXT_ONLY, SHOWN, dataclasses.replace(SHOWN, medium=row.files[1])]
        if embedding is None:
            examples[1] = dataclasses.replace(SHOWN, medium=row.files[0])
        keys = [None, "a#0" if embedding is not None else None, None]
        rows = [Row(example, key) for example, key in zip(examples, keys, strict=True)]
        store = types.SimpleNamespace(read=lambda _: embedding)
        config = AlignConfig(steps=1, batch_size=3, checkpoints=1)
        return train(loaded, rows, store, tmp_path / name, config)[0]["loss"]

    real, own = first_loss("real", None), first_loss("own", row.own[0])
    assert own == pytest.approx(real, abs=1e-4)
    assert abs(first_loss("zero", torch.zeros_like(row.own[0])) - real) > 1e-3
