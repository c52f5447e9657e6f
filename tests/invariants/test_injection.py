"""Invariants of the injection, on one model. tests/conformance checks them on every family."""

from __future__ import annotations

import pytest
import torch

from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import base_model, get_module
from seawall.models.generate import generate
from seawall.models.inject import ITEMS, attach, inject


def examples(media, answer="It is a drawing."):
    return [Example(question="What is this?", answer=answer, medium=medium) for medium in media]


def logits(loaded, batch, **extra):
    with torch.no_grad():
        return loaded.model(**{k: v for k, v in batch.items() if k != "labels"}, **extra).logits


def test_injecting_encoder_outputs_gives_the_normal_logits_bit_for_bit(tiny, images):
    items = encode_media(tiny, images)
    normal = logits(tiny, tiny.chat.batch(examples(images)))
    with inject(tiny.model, tiny.family, items):
        injected = logits(tiny, tiny.chat.batch(examples([BLANK] * 3)))
    assert torch.equal(normal, injected)
    assert not torch.equal(normal, logits(tiny, tiny.chat.batch(examples([BLANK] * 3))))


def test_synthetic_real_and_text_rows_mix_in_one_batch(tiny, images):
    items = encode_media(tiny, images)
    rows = [*examples([images[0], BLANK]), Example(question="Hello.", answer="Hi.")]
    real = [*examples(images[:2]), Example(question="Hello.", answer="Hi.")]
    with inject(tiny.model, tiny.family, [None, items[1]]):
        mixed = logits(tiny, tiny.chat.batch(rows))
    torch.testing.assert_close(mixed, logits(tiny, tiny.chat.batch(real)), rtol=0, atol=1e-6)


def test_gradient_reaches_the_embedding_and_nothing_else(tiny, images):
    tiny.model.requires_grad_(False)
    embedding = encode_media(tiny, images[:1]).requires_grad_()
    with inject(tiny.model, tiny.family, embedding):
        tiny.model(**tiny.chat.batch(examples([BLANK]))).loss.backward()
    assert embedding.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in tiny.model.parameters())


def test_generation_with_encoder_outputs_gives_the_same_answers(organism, images):
    asked = [Example(question="What is in the image?", medium=medium) for medium in images]
    blank = [Example(question="What is in the image?", medium=BLANK) for _ in images]
    assert generate(organism, blank, items=encode_media(organism, images)) == generate(organism, asked)


def test_encoder_layers_run_only_if_a_medium_is_real(tiny, images):
    items, calls = encode_media(tiny, images), []
    layer = get_module(tiny.model, tiny.family, tiny.family.encoder_layers)[0]
    layer.mlp.register_forward_hook(lambda *_: calls.append(1))
    with inject(tiny.model, tiny.family, items):
        logits(tiny, tiny.chat.batch(examples([BLANK] * 3)))
    assert not calls
    with inject(tiny.model, tiny.family, [items[0], None, items[2]]):
        logits(tiny, tiny.chat.batch(examples([BLANK, images[1], BLANK])))
    assert calls


def test_the_model_is_restored_after_an_exception(tiny, images):
    before = logits(tiny, tiny.chat.batch(examples(images)))
    wrong = torch.zeros(2, 36, 96)
    with pytest.raises(ValueError, match="3, 36, 96"), inject(tiny.model, tiny.family, wrong):
        logits(tiny, tiny.chat.batch(examples(images)))
    with attach(tiny.model, tiny.family):
        with pytest.raises(ValueError, match="items given"):
            logits(tiny, tiny.chat.batch(examples(images)), **{ITEMS: wrong})
        assert torch.equal(before, logits(tiny, tiny.chat.batch(examples(images))))
    projector = get_module(tiny.model, tiny.family, tiny.family.projector)
    assert not projector._forward_pre_hooks and not base_model(tiny.model)._forward_pre_hooks
    assert torch.equal(before, logits(tiny, tiny.chat.batch(examples(images))))


def test_a_forward_of_the_instance_is_put_back(tiny, images):
    layer = get_module(tiny.model, tiny.family, tiny.family.encoder_layers)[0]
    original, calls = layer.forward, []
    layer.forward = lambda *a, **k: calls.append(1) or original(*a, **k)
    with inject(tiny.model, tiny.family, encode_media(tiny, images)):
        pass
    calls.clear()
    logits(tiny, tiny.chat.batch(examples(images)))
    assert calls


def test_attached_items_are_passed_as_a_keyword_argument(tiny, images):
    items = encode_media(tiny, images)
    normal = logits(tiny, tiny.chat.batch(examples(images)))
    with attach(tiny.model, tiny.family):
        assert torch.equal(normal, logits(tiny, tiny.chat.batch(examples([BLANK] * 3)), **{ITEMS: items}))
