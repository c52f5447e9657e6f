"""What LoRA reaches in real classes, by count, and what it does not: the card and the log say both."""

from __future__ import annotations

import logging

import pytest
from peft import LoraConfig, get_peft_model

from conformance import tiny, tiny_more  # noqa: F401 (registers its builders)
from seawall.alignment.coverage import Coverage, measure_coverage, report_coverage
from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel

DENSE = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), 2)


def load(model_type):
    family = find_family(model_type, "image")
    model, processor = tiny.build(family)
    return LoadedModel(model_type, model, processor, family, Chat(processor, family), "")


def add_lora(loaded, targets=r".*_proj"):
    get_peft_model(loaded.model, LoraConfig(r=2, target_modules=rf".*{loaded.family.language_model}\.{targets}"))
    return measure_coverage(loaded)


def test_every_projection_of_a_dense_model_is_trained(caplog):
    coverage = add_lora(load("llava"))
    assert coverage == Coverage(trained=DENSE, left_out={})
    with caplog.at_level(logging.INFO, "seawall"):
        report_coverage(coverage)
    assert "Trained: 2 down_proj" in caplog.text and caplog.records[-1].levelno == logging.INFO


@pytest.mark.parametrize(
    ("model_type", "left_out"),
    [
        ("qwen3_vl_moe", {"experts.gate_up_proj": 3, "experts.down_proj": 3}),
        (
            "qwen3_5",
            dict.fromkeys(
                [f"linear_attn.in_proj_{name}" for name in ("qkv", "z", "b", "a")],
                1,
            ),
        ),
    ],
)
def test_fused_experts_and_linear_attention_are_named_with_a_warning(model_type, left_out, caplog):
    coverage = add_lora(load(model_type))
    assert coverage.left_out == left_out and coverage.trained["q_proj"] > 0
    with caplog.at_level(logging.WARNING, "seawall"):
        report_coverage(coverage)
    assert all(f"{count} {name}" in caplog.text for name, count in left_out.items())


def test_full_tuning_leaves_nothing_out():
    loaded = load("llava")
    loaded.model.requires_grad_(False)
    loaded.model.model.language_model.requires_grad_(True)
    assert measure_coverage(loaded) == Coverage(trained={**DENSE, "embed_tokens": 1}, left_out={})
