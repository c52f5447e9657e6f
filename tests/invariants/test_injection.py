"""What must hold of the injection, whatever the model."""

from __future__ import annotations

import pytest
import torch

from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import base_model, get_module
from seawall.models.generate import generate
from seawall.models.inject import ITEMS, attach, inject


def turns(media, answer="It is a drawing."):
    return [Example(question="What is this?", answer=answer, medium=medium) for medium in media]


def logits(loaded, batch, **extra):
    with torch.no_grad():
        return loaded.model(**{k: v for k, v in batch.items() if k != "labels"}, **extra).logits


def test_own_output_reproduces_the_normal_forward_bit_for_bit(tiny, images):
    items = encode_media(tiny, images)
    normal = logits(tiny, tiny.chat.batch(turns(images)))
    with inject(tiny.model, tiny.family, items):
        injected = logits(tiny, tiny.chat.batch(turns([BLANK] * 3)))
    assert torch.equal(normal, injected)
    assert not torch.equal(normal, logits(tiny, tiny.chat.batch(turns([BLANK] * 3))))


def test_synthetic_real_and_text_rows_mix_in_one_batch(tiny, images):
    items = encode_media(tiny, images)
    rows = [*turns([images[0], BLANK]), Example(question="Hello.", answer="Hi.")]
    real = [*turns(images[:2]), Example(question="Hello.", answer="Hi.")]
    with inject(tiny.model, tiny.family, [None, items[1]]):
        mixed = logits(tiny, tiny.chat.batch(rows))
    torch.testing.assert_close(mixed, logits(tiny, tiny.chat.batch(real)), rtol=0, atol=1e-6)


def test_gradient_reaches_the_embedding_and_nothing_else(tiny, images):
    tiny.model.requires_grad_(False)
    embedding = encode_media(tiny, images[:1]).requires_grad_()
    with inject(tiny.model, tiny.family, embedding):
        tiny.model(**tiny.chat.batch(turns([BLANK]))).loss.backward()
    assert embedding.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in tiny.model.parameters())


def test_generation_with_own_output_gives_the_same_answer(organism, images):
    asked = [Example(question="What is in the image?", medium=medium) for medium in images]
    blank = [Example(question="What is in the image?", medium=BLANK) for _ in images]
    assert generate(organism, blank, items=encode_media(organism, images)) == generate(organism, asked)


def test_encoder_layers_run_only_where_a_medium_is_real(tiny, images):
    items, calls = encode_media(tiny, images), []
    layer = get_module(tiny.model, tiny.family, tiny.family.encoder_layers)[0]
    layer.mlp.register_forward_hook(lambda *_: calls.append(1))
    with inject(tiny.model, tiny.family, items):
        logits(tiny, tiny.chat.batch(turns([BLANK] * 3)))
    assert not calls
    with inject(tiny.model, tiny.family, [items[0], None, items[2]]):
        logits(tiny, tiny.chat.batch(turns([BLANK, images[1], BLANK])))
    assert calls


def test_nothing_is_left_behind_after_an_exception(tiny, images):
    before = logits(tiny, tiny.chat.batch(turns(images)))
    wrong = torch.zeros(2, 36, 96)
    with pytest.raises(ValueError, match="3, 36, 96"), inject(tiny.model, tiny.family, wrong):
        logits(tiny, tiny.chat.batch(turns(images)))
    with attach(tiny.model, tiny.family):
        with pytest.raises(ValueError, match="items given"):
            logits(tiny, tiny.chat.batch(turns(images)), **{ITEMS: wrong})
        assert torch.equal(before, logits(tiny, tiny.chat.batch(turns(images))))
    projector = get_module(tiny.model, tiny.family, tiny.family.projector)
    assert not projector._forward_pre_hooks and not base_model(tiny.model)._forward_pre_hooks
    assert torch.equal(before, logits(tiny, tiny.chat.batch(turns(images))))


def test_what_stood_in_an_instance_is_put_back(tiny, images):
    layer = get_module(tiny.model, tiny.family, tiny.family.encoder_layers)[0]
    original, calls = layer.forward, []
    layer.forward = lambda *a, **k: calls.append(1) or original(*a, **k)
    with inject(tiny.model, tiny.family, encode_media(tiny, images)):
        pass
    calls.clear()
    logits(tiny, tiny.chat.batch(turns(images)))
    assert calls


def test_attached_items_travel_as_a_keyword(tiny, images):
    items = encode_media(tiny, images)
    normal = logits(tiny, tiny.chat.batch(turns(images)))
    with attach(tiny.model, tiny.family):
        assert torch.equal(normal, logits(tiny, tiny.chat.batch(turns([BLANK] * 3)), **{ITEMS: items}))
