"""When turns are not packed, and what a mistake in the packing would look like."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from seawall.models import packing
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.generate import generate
from seawall.models.losses import score_examples
from seawall.models.packing import score_packed, why_not_packed

TURNS = [
    Example(question="What is this?", answer="A boat.", medium=BLANK),
    Example(question="Describe the image.", answer="It is red and large.", medium=BLANK),
]


@pytest.fixture
def item(tiny):
    tiny.model.requires_grad_(False)
    return encode_media(tiny, [BLANK])[0]


def test_a_plain_model_packs(tiny, item):
    assert why_not_packed(tiny, TURNS, item) is None
    tiny.model.set_attn_implementation("eager")
    assert why_not_packed(tiny, TURNS, item) is None


def test_packing_in_low_precision(tiny, item):
    tiny.model.to(torch.bfloat16)
    assert why_not_packed(tiny, TURNS, item) is None


@pytest.mark.parametrize(
    "setting, value, reason",
    [
        ("_attn_implementation", "flash_attention_2", "takes no mask of blocks"),
        ("layer_types", ["full_attention", "recurrent"], "layers of the kind recurrent"),
        ("sliding_window", 8, "sees 8 tokens back, and a turn has"),
    ],
)
def test_what_cannot_be_packed_is_declared(tiny, item, monkeypatch, setting, value, reason):
    monkeypatch.setattr(tiny.model.config.get_text_config(), setting, value, raising=False)
    assert reason in why_not_packed(tiny, TURNS, item)


def test_a_window_that_no_turn_reaches_does_not_matter(tiny, item, monkeypatch):
    monkeypatch.setattr(tiny.model.config.get_text_config(), "sliding_window", 4096, raising=False)
    assert why_not_packed(tiny, TURNS, item) is None


@pytest.mark.parametrize("part", ["_mask", "_positions"])
def test_wrong_numbers_are_found_by_the_gradient(tiny, item, monkeypatch, part):
    right = getattr(packing, part)
    wrong = {
        "_mask": lambda segment: right(torch.zeros_like(segment)),  # every turn sees those before it
        "_positions": lambda loaded, turn, length: 2 * right(loaded, turn, length),
    }
    monkeypatch.setattr(packing, part, wrong[part])
    assert "gradient" in why_not_packed(tiny, TURNS, item)


def test_packing_leaves_no_hook_behind(tiny, item):
    count = lambda: sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in tiny.model.modules())  # noqa: E731
    before = count()
    why_not_packed(tiny, TURNS, item)
    with pytest.raises(ValueError, match="items given"):
        score_packed(tiny, [TURNS], item[None, :-1])
    assert count() == before


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_is_foreseen_exactly_where_it_is_generated(organism, images, packed):
    items = encode_media(organism, images[:2])
    asked = [Example(question=q, medium=BLANK) for q in ("What does the image show?", "Describe the image.")]
    answers = [generate(organism, asked, items=item.expand(2, *item.shape)) for item in items]
    answers[1][0] = f"{answers[1][0]} Or not."  # goes on where the model ends
    records = [
        [dataclasses.replace(turn, answer=answer) for turn, answer in zip(asked, each, strict=True)] for each in answers
    ]
    if packed:
        found = score_packed(organism, records, items)
    else:
        found = score_examples(organism, [t for record in records for t in record], items.repeat_interleave(2, 0))
    assert found.greedy().tolist() == [True, True, False, True]
