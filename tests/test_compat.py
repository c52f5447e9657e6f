"""Private names of dependencies: each test fails when a name that `seawall.compat` uses is gone.

`make latest` runs these tests with the newest release of each dependency.
"""

from __future__ import annotations

import importlib.metadata
import logging

import pytest
import torch
from torch import nn

from seawall import compat
from seawall.errors import ModelError


def test_trl_has_use_triton():
    from trl.trainer import utils

    before = utils._use_triton
    with compat.labels_only_head():
        assert utils._use_triton(None) is True
    assert utils._use_triton is before


def test_trl_without_use_triton_trains_all_the_same(monkeypatch):
    from trl.trainer import utils

    monkeypatch.delattr(utils, "_use_triton")
    with compat.labels_only_head():
        assert not hasattr(utils, "_use_triton")


def test_trl_has_prepare_dataset():
    from trl import DPOTrainer

    assert callable(DPOTrainer._prepare_dataset)


def test_trl_without_prepare_dataset_is_an_error(monkeypatch):
    from trl import DPOTrainer

    for cls in DPOTrainer.__mro__:
        if "_prepare_dataset" in vars(cls):
            monkeypatch.delattr(cls, "_prepare_dataset")
    version = importlib.metadata.version("trl")
    with pytest.raises(ModelError, match=f"trl {version} has no DPOTrainer._prepare_dataset"):
        compat.make_dpo_trainer(None, [])


def test_inspect_has_prerequisite_error():
    from inspect_ai._util.error import PrerequisiteError

    assert compat.prerequisite_error() is PrerequisiteError


def test_transformers_has_expand_inputs_for_generation():
    from transformers import GenerationMixin

    assert callable(GenerationMixin._expand_inputs_for_generation)


def test_beam_copies_counts_the_copies_that_generate_makes(tiny):
    ids = torch.ones(1, 2, dtype=torch.long)
    with compat.beam_copies(tiny.model, "audio") as copies:
        tiny.model._expand_inputs_for_generation(expand_size=3, input_ids=ids)
        assert copies == [3]
        tiny.model._expand_inputs_for_generation(expand_size=3, input_ids=ids, mm_encoder_outputs={"audio": ids})
        assert copies == [1], "encoded before they are repeated"
    assert "_expand_inputs_for_generation" not in vars(tiny.model)


def test_transformers_configs_have_attn_implementation(tiny):
    assert compat.attention_implementation(tiny.model.config.get_text_config()) == "sdpa"


def test_a_config_without_attn_implementation_is_an_error():
    with pytest.raises(ModelError, match="_attn_implementation"):
        compat.attention_implementation(object())


def test_transformers_processors_have_the_check_of_their_parts():
    from transformers import ProcessorMixin

    assert callable(ProcessorMixin.check_argument_for_proper_class)


def test_a_processor_class_without_the_check_is_an_error():
    with pytest.raises(ModelError, match="check_argument_for_proper_class"):
        compat.make_processor(object)


def test_transformers_has_smart_resize():
    assert compat.smart_resize()(100, 200, factor=28, min_pixels=28 * 28, max_pixels=10**6) == (112, 196)


def test_transformers_has_the_mixin_of_parts_that_are_saved():
    from transformers.utils import PushToHubMixin

    assert compat.savable_mixin() is PushToHubMixin


def test_accelerate_keeps_offloaded_weights_where_they_are_read(tiny, tmp_path):
    from accelerate import cpu_offload

    before = {name: parameter.clone() for name, parameter in tiny.model.named_parameters()}
    offloaded = cpu_offload(tiny.model, execution_device=torch.device("cpu"))
    name = next(name for name, parameter in offloaded.named_parameters() if parameter.is_meta)
    assert torch.equal(compat.read_offloaded(offloaded, name), before[name])


def test_a_module_without_accelerates_hook_is_an_error():
    with pytest.raises(ModelError, match="_hf_hook"):
        compat.read_offloaded(nn.Linear(1, 1), "weight")


def test_torch_modules_have_compiled_call_impl():
    layer = nn.Linear(2, 2)
    with compat.compiled_layers([layer]):
        assert layer._compiled_call_impl is not None
    assert layer._compiled_call_impl is None


def test_a_skipped_layer_returns_its_input_and_is_put_back():
    layer, hidden = nn.Linear(2, 2), torch.ones(1, 2)
    with compat.skipped_layer(layer, returns_tuple=False):
        assert layer(hidden) is hidden
    with compat.skipped_layer(layer, returns_tuple=True):
        assert layer(hidden)[0] is hidden
    assert "forward" not in vars(layer) and layer(hidden) is not hidden


def test_replaced_puts_back_what_stood_in_the_instance():
    layer = nn.Linear(2, 2)
    layer.forward = own = lambda x: x
    with compat.replaced(layer, "forward", None):
        assert layer.forward is None
    assert layer.forward is own


def test_the_installed_dependencies_are_within_the_bounds():
    assert compat.find_versions_outside_bounds() == []


def test_a_dependency_outside_its_bounds_is_named_once_with_the_bound(monkeypatch, caplog):
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "trl" else known(name))
    with caplog.at_level(logging.WARNING, "seawall"):
        compat.warn_about_versions()
    (message,) = caplog.messages
    assert "trl 9.9 is outside the tested range <1.17,>=1.16" in message and "make latest" in message
