"""Precisions and device maps: what is loaded, and that injection and synthesis work on it."""

from __future__ import annotations

import sys

import pytest
import torch

from sample_pairs import make_pair
from seawall.errors import ModelError
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import MODELS, register_model
from seawall.models.load import load_model
from seawall.synthesis.optimize import Task, optimize
from seawall.synthesis.verify import verify_embeddings

EXAMPLES = [Example(question=q, answer="A boat.", medium=BLANK) for q in ("What is this?", "Describe the image.")]
DISK = {
    "model.vision_tower": "cpu",
    "model.multi_modal_projector": "cpu",
    "model.language_model": "disk",
    "lm_head": "disk",
}


def synthesize(loaded, **settings):
    """Return the start and the finished task of three optimiser steps."""
    start = encode_media(loaded, [BLANK])
    task = Task(record="a", content=[list(EXAMPLES)], embeddings=start)
    (done,) = optimize(loaded, [task], learning_rate=0.02, threshold=0, max_steps=3, batch_size=1, **settings)
    return start, done


@pytest.mark.parametrize("share_prefix", [False, True])
def test_synthesis_in_bf16_keeps_the_embedding_in_fp32(tiny_path, share_prefix):
    loaded = load_model(str(tiny_path), precision="bf16")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    start, done = synthesize(loaded, share_prefix=share_prefix)
    assert start.dtype == done.embeddings.dtype == torch.float32
    assert not torch.equal(done.embeddings, done.embeddings.bfloat16().float())  # its steps are finer than bf16
    assert done.curve[-1] < done.curve[0]


def test_fp32_converts_a_bf16_checkpoint(tiny_path, tmp_path):
    load_model(str(tiny_path), precision="bf16").model.save_pretrained(tmp_path / "half")
    load_model(str(tiny_path)).processor.save_pretrained(tmp_path / "half")
    assert load_model(str(tmp_path / "half")).model.dtype == torch.bfloat16
    assert load_model(str(tmp_path / "half"), precision="fp32").model.dtype == torch.float32


@pytest.mark.parametrize("device_map", ["auto", DISK], ids=["auto", "disk"])
def test_a_model_distributed_by_accelerate_gives_the_same_embeddings(tiny_path, device_map):
    plain, distributed = load_model(str(tiny_path)), load_model(str(tiny_path), device_map=device_map)
    if device_map == DISK:
        assert any(parameter.is_meta for parameter in distributed.model.parameters())
    assert distributed.fingerprint == plain.fingerprint
    for share_prefix in (False, True):
        start, expected = synthesize(plain, share_prefix=share_prefix)
        own_start, done = synthesize(distributed, share_prefix=share_prefix)
        assert torch.equal(own_start, start)
        torch.testing.assert_close(done.embeddings, expected.embeddings, rtol=1e-5, atol=1e-6)
        verdicts = [
            verify_embeddings(loaded, done.embeddings, [make_pair("0")], share_prefix=share_prefix)
            for loaded in (plain, distributed)
        ]
        assert verdicts[0] == verdicts[1]


def test_four_bits_need_bitsandbytes(tiny_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ModelError, match=r'pip install "seawall\[quantized\]"'):
        load_model(str(tiny_path), precision="4bit")


def test_an_unknown_precision_is_refused(tiny_path):
    with pytest.raises(ModelError, match=r"no precision 'fp8'\. Known: fp32, bf16, 4bit"):
        load_model(str(tiny_path), precision="fp8")


@pytest.mark.parametrize("settings", [{"precision": "4bit"}, {"device_map": "auto"}])
def test_a_model_made_by_a_function_is_neither_quantised_nor_distributed(settings, monkeypatch):
    monkeypatch.setattr(MODELS, "_values", dict(MODELS._values))
    register_model("mine", lambda: (None, None))
    with pytest.raises(ModelError, match="'mine' is made by a function"):
        load_model("mine", **settings)


def test_checkpointing_gives_the_same_embeddings_and_restores_the_model(tiny):
    (_, plain), (_, checkpointed) = synthesize(tiny), synthesize(tiny, activation_checkpointing=True)
    assert torch.equal(plain.embeddings, checkpointed.embeddings)
    assert not any(module.training for module in tiny.model.modules()) and not tiny.model.is_gradient_checkpointing
