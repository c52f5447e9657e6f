"""Memory and speed: compiled layers and gradient checkpointing. tests/gpu checks that compiled layers give equal results."""

from __future__ import annotations

import pytest

from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import get_module
from seawall.models.losses import example_losses
from seawall.models.memory import compiled, count_kept_bytes, gradient_checkpointing


def get_language_model(loaded):
    return get_module(loaded.model, loaded.family, loaded.family.language_model)


def find_compiled(model):
    return [name for name, module in model.named_modules() if module._compiled_call_impl is not None]


def test_layers_of_the_language_model_are_compiled_only_within_the_context(tiny):
    with pytest.raises(KeyboardInterrupt), compiled(get_language_model(tiny)):
        found = find_compiled(tiny.model)
        raise KeyboardInterrupt
    count = tiny.model.config.text_config.num_hidden_layers
    assert found == [f"model.language_model.layers.{number}" for number in range(count)]
    assert not find_compiled(tiny.model)


def test_nothing_is_compiled_unless_wanted(tiny):
    with compiled(get_language_model(tiny), False):
        assert not find_compiled(tiny.model)


def test_checkpointing_keeps_less_memory(tiny):
    tiny.model.requires_grad_(False)
    examples = [Example(question=q, answer="A boat.", medium=BLANK) for q in ("What is this?", "Describe the image.")]
    items = encode_media(tiny, [BLANK, BLANK]).requires_grad_()

    def count():
        return count_kept_bytes(lambda: example_losses(tiny, examples, items), tiny.model)

    whole = count()
    with gradient_checkpointing(tiny.model):
        assert count() < 0.3 * whole
    assert count() > 0.9 * whole
