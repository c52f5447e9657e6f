"""Which models cannot pack, and that mistakes in packing are found. tests/conformance checks the results of each family."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from seawall.models import packing
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.generate import generate
from seawall.models.losses import score_examples
from seawall.models.packing import find_packing_obstacle, score_packed

EXAMPLES = [
    Example(question="What is this?", answer="A boat.", medium=BLANK),
    Example(question="Describe the image.", answer="It is red and large.", medium=BLANK),
]


@pytest.fixture
def item(tiny):
    tiny.model.requires_grad_(False)
    return encode_media(tiny, [BLANK])[0]


def test_a_plain_model_can_pack(tiny, item):
    assert find_packing_obstacle(tiny, EXAMPLES, item) is None
    tiny.model.set_attn_implementation("eager")
    assert find_packing_obstacle(tiny, EXAMPLES, item) is None


def test_packing_in_low_precision(tiny, item):
    tiny.model.to(torch.bfloat16)
    assert find_packing_obstacle(tiny, EXAMPLES, item) is None


@pytest.mark.parametrize(
    "setting, value, reason",
    [
        ("_attn_implementation", "flash_attention_2", "does not accept a block mask"),
        ("layer_types", ["full_attention", "recurrent"], "layers of the kind recurrent"),
        ("sliding_window", 8, "attention window is 8 tokens, and an example has"),
    ],
)
def test_obstacles_in_the_configuration_are_found(tiny, item, monkeypatch, setting, value, reason):
    monkeypatch.setattr(tiny.model.config.get_text_config(), setting, value, raising=False)
    assert reason in find_packing_obstacle(tiny, EXAMPLES, item)


def test_an_attention_window_that_no_turn_reaches_does_not_matter(tiny, item, monkeypatch):
    monkeypatch.setattr(tiny.model.config.get_text_config(), "sliding_window", 4096, raising=False)
    assert find_packing_obstacle(tiny, EXAMPLES, item) is None


@pytest.mark.parametrize("part", ["_make_mask", "_compute_positions"])
def test_wrong_results_are_found_by_comparing_gradients(tiny, item, monkeypatch, part):
    right = getattr(packing, part)
    wrong = {
        "_make_mask": lambda segment: right(torch.zeros_like(segment)),  # every example sees earlier ones
        "_compute_positions": lambda loaded, example, length: 2 * right(loaded, example, length),
    }
    monkeypatch.setattr(packing, part, wrong[part])
    assert "gradient" in find_packing_obstacle(tiny, EXAMPLES, item)


def test_packing_leaves_no_hook_behind(tiny, item):
    count = lambda: sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in tiny.model.modules())  # noqa: E731
    before = count()
    find_packing_obstacle(tiny, EXAMPLES, item)
    with pytest.raises(ValueError, match="items given"):
        score_packed(tiny, [EXAMPLES], item[None, :-1])
    assert count() == before


@pytest.mark.parametrize("packed", [False, True])
def test_is_greedy_is_true_exactly_for_generated_answers(organism, images, packed):
    items = encode_media(organism, images[:2])
    asked = [Example(question=q, medium=BLANK) for q in ("What does the image show?", "Describe the image.")]
    answers = [generate(organism, asked, items=item.expand(2, *item.shape)) for item in items]
    answers[1][0] = f"{answers[1][0]} Or not."  # continues where the model stopped
    records = [
        [dataclasses.replace(example, answer=answer) for example, answer in zip(asked, each, strict=True)]
        for each in answers
    ]
    if packed:
        found = score_packed(organism, records, items)
    else:
        found = score_examples(organism, [t for record in records for t in record], items.repeat_interleave(2, 0))
    assert found.is_greedy().tolist() == [True, True, False, True]
