"""Precisions and device maps: what is loaded, and that injection and synthesis work on it."""

from __future__ import annotations

import sys

import pytest
import torch

from seawall.errors import ModelError
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import register_model
from seawall.models.load import load_model
from seawall.models.memory import count_kept_bytes, gradient_checkpointing
from seawall.synthesis.objective import losses
from seawall.synthesis.optimize import Task, optimize
from seawall.synthesis.verify import verify

TURNS = [Example(question=q, answer="A boat.", medium=BLANK) for q in ("What is this?", "Describe the image.")]
PAIR = {"category": "activity", "phrase": "a boat", "content": {"question": "What is this?", "answer": "A boat."}}
DISK = {
    "model.vision_tower": "cpu",
    "model.multi_modal_projector": "cpu",
    "model.language_model": "disk",
    "lm_head": "disk",
}


def synthesized(loaded, **settings):
    start = encode_media(loaded, [BLANK])
    task = Task(record="a", turns=[list(TURNS)], embeddings=start)
    (done,) = optimize(loaded, [task], rate=0.02, threshold=0, max_steps=3, batch_size=1, **settings)
    return start, done


@pytest.mark.parametrize("packed", [False, True])
def test_synthesis_in_bf16_keeps_the_embedding_in_fp32(tiny_path, packed):
    loaded = load_model(str(tiny_path), precision="bf16")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    start, done = synthesized(loaded, packed=packed)
    assert start.dtype == done.embeddings.dtype == torch.float32
    assert not torch.equal(done.embeddings, done.embeddings.bfloat16().float())  # its steps are finer than bf16
    assert done.curve[-1] < done.curve[0]


def test_fp32_undoes_a_checkpoint_in_bf16(tiny_path, tmp_path):
    load_model(str(tiny_path), precision="bf16").model.save_pretrained(tmp_path / "half")
    load_model(str(tiny_path)).processor.save_pretrained(tmp_path / "half")
    assert load_model(str(tmp_path / "half")).model.dtype == torch.bfloat16
    assert load_model(str(tmp_path / "half"), precision="fp32").model.dtype == torch.float32


@pytest.mark.parametrize("device_map", ["auto", DISK], ids=["auto", "disk"])
def test_a_model_spread_by_accelerate_gives_the_same_embeddings(tiny_path, device_map):
    plain, spread = load_model(str(tiny_path)), load_model(str(tiny_path), device_map=device_map)
    if device_map == DISK:
        assert any(parameter.is_meta for parameter in spread.model.parameters())
    assert spread.fingerprint == plain.fingerprint
    for packed in (False, True):
        (start, expected), (own_start, done) = synthesized(plain, packed=packed), synthesized(spread, packed=packed)
        assert torch.equal(own_start, start)
        torch.testing.assert_close(done.embeddings, expected.embeddings, rtol=1e-5, atol=1e-6)
        items = done.embeddings
        assert verify(spread, items, [PAIR], packed=packed) == verify(plain, items, [PAIR], packed=packed)


def test_four_bits_need_bitsandbytes(tiny_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ModelError, match=r'pip install "seawall\[quantized\]"'):
        load_model(str(tiny_path), precision="4bit")


def test_an_unknown_precision(tiny_path):
    with pytest.raises(ModelError, match="no precision 'fp8'; there are fp32, bf16 and 4bit"):
        load_model(str(tiny_path), precision="fp8")


@pytest.mark.parametrize("settings", [{"precision": "4bit"}, {"device_map": "auto"}])
def test_a_registered_model_is_not_spread(settings):
    register_model("mine", lambda: None)
    with pytest.raises(ModelError, match="'mine' is built by its own function"):
        load_model("mine", **settings)


def test_checkpointing_keeps_less_gives_the_same_and_leaves_nothing(tiny):
    (_, plain), (_, checkpointed) = synthesized(tiny), synthesized(tiny, checkpointing=True)
    assert torch.equal(plain.embeddings, checkpointed.embeddings)
    assert not any(module.training for module in tiny.model.modules()) and not tiny.model.is_gradient_checkpointing
    batch = plain.embeddings.clone().requires_grad_()
    count = lambda: count_kept_bytes(lambda: losses(tiny, batch, [TURNS]), tiny.model)  # noqa: E731
    whole = count()
    with gradient_checkpointing(tiny.model):
        assert count() < 0.3 * whole
