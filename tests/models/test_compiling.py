"""Compiled layers: those of the language model, and only within the context. That they compute the same: tests/gpu."""

from __future__ import annotations

import pytest

from seawall.models.compiling import compiled


def find_compiled(model):
    return [name for name, module in model.named_modules() if module._compiled_call_impl is not None]


def test_the_layers_of_the_language_model_are_compiled_within_the_context_only(tiny):
    with pytest.raises(KeyboardInterrupt), compiled(tiny.model, tiny.family):
        found = find_compiled(tiny.model)
        raise KeyboardInterrupt
    count = tiny.model.config.text_config.num_hidden_layers
    assert found == [f"model.language_model.layers.{number}" for number in range(count)]
    assert not find_compiled(tiny.model)


def test_unless_wanted_nothing_is_compiled(tiny):
    with compiled(tiny.model, tiny.family, False):
        assert not find_compiled(tiny.model)
