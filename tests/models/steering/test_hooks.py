"""Steering on a tiny model of a real class: identities, what is changed, and that nothing is left behind."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save

from seawall.errors import ArtifactError, ModelError
from seawall.models.chat import Example
from seawall.models.families import base_model, get_decoder_layers
from seawall.models.generate import generate
from seawall.models.load import load_model
from seawall.models.steering.hooks import capture_last_states, steered
from seawall.models.steering.vector import FILE, METADATA, Outcomes, SteeringVector, read_vector

WORD = "wash"


def make_vector(loaded, **changes):
    """Return a vector at the last layer that is so strong that the model says nothing but `WORD`."""
    token = loaded.chat.tokenizer.convert_tokens_to_ids(f"Ġ{WORD}")
    fields = {
        "direction": loaded.model.get_output_embeddings().weight[token].detach().float().clone(),
        "layer": len(get_decoder_layers(loaded.model, loaded.family)) - 1,
        "strength": 1e4,
        "positions": "answer",
        "model": loaded.name,
        "fingerprint": loaded.fingerprint,
        "seed": 0,
        "train_harmful": 1,
        "train_harmless": 1,
        "validation_harmful": 1,
        "validation_harmless": 1,
        "unsteered": Outcomes(refused=0.0, answered=1.0),
        "steered": Outcomes(refused=1.0, answered=0.5),
        "identity": "a",
    }
    return SteeringVector(**{**fields, **changes})


def add_lora(loaded):
    """Return the model with an adapter that changes its answers."""
    torch.manual_seed(0)
    config = LoraConfig(target_modules="all-linear", r=4, init_lora_weights=False)
    return dataclasses.replace(loaded, model=get_peft_model(loaded.model, config).eval())


def ask(loaded, images):
    """Return answers to questions of different lengths, with and without media, in one batch."""
    examples = [
        Example(question="Hi."),
        *(Example(question=f"What is {'this ' * n}?", medium=m) for n, m in enumerate(images)),
    ]
    return generate(loaded, examples, max_new_tokens=4)


@torch.no_grad()
def read_states(loaded, vector):
    """Return the language model's output for two prompts of equal length, shape = (2, length, width)."""
    batch = loaded.chat.batch([Example(question=text) for text in ("Wash a car.", "Wash a cat.")], padding_side="left")
    del batch["labels"]
    with steered(loaded.model, loaded.family, vector):
        return base_model(loaded.model)(**batch).last_hidden_state


def count_hooks(loaded):
    """Return the number of hooks. The first forward pass registers some of transformers' own, which stay."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in loaded.model.modules())


def test_with_strength_0_nothing_changes(tiny, images):
    vector = make_vector(tiny, strength=0.0)
    assert torch.equal(read_states(tiny, vector), read_states(tiny, None))
    assert ask(dataclasses.replace(tiny, steering=vector), images) == ask(tiny, images)


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_only_the_chosen_positions_are_changed(tiny, positions):
    before, after = read_states(tiny, None), read_states(tiny, make_vector(tiny, positions=positions))
    changed = (before != after).any(-1).all(0).tolist()
    assert changed == ([False] * (len(changed) - 1) + [True] if positions == "answer" else [True] * len(changed))


@pytest.mark.parametrize("adapter", [False, True], ids=["model", "adapter"])
def test_a_vector_steers_every_token_of_every_answer_with_and_without_an_adapter(tiny, images, adapter):
    loaded = add_lora(tiny) if adapter else tiny
    before, hooks = ask(loaded, images), count_hooks(loaded)
    answers = ask(dataclasses.replace(loaded, steering=make_vector(tiny)), images)
    assert {word for answer in answers for word in answer.split()} == {WORD} and answers != before
    assert ask(loaded, images) == before, "the hook is gone"
    assert count_hooks(loaded) == hooks


def test_the_hook_is_gone_after_an_error(tiny):
    read_states(tiny, None)
    hooks = count_hooks(tiny)
    with pytest.raises(RuntimeError, match="stop"), steered(tiny.model, tiny.family, make_vector(tiny)):
        assert count_hooks(tiny) == hooks + 1
        raise RuntimeError("stop")
    with pytest.raises(ModelError, match="has the width 7"):
        read_states(tiny, make_vector(tiny, direction=torch.ones(7)))
    with pytest.raises(ModelError, match="for layer 99, but the language model has"):
        read_states(tiny, make_vector(tiny, layer=99))
    assert count_hooks(tiny) == hooks


def test_captured_states_are_those_of_single_prompts(tiny):
    read_states(tiny, None)
    hooks = count_hooks(tiny)
    examples = [Example(question=text) for text in ("Hi.", "Wash a car.", "What is it?")]
    together = capture_last_states(tiny, examples, 3)
    alone = torch.cat([capture_last_states(tiny, [example], 1) for example in examples], dim=1)
    assert together.shape[:2] == (len(get_decoder_layers(tiny.model, tiny.family)), 3)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert count_hooks(tiny) == hooks


def test_a_vector_is_read_as_it_was_written(tiny, tmp_path):
    vector = make_vector(tiny)
    vector.write(tmp_path / FILE)
    for place in (tmp_path / FILE, tmp_path):
        read = read_vector(place)
        assert read.to_json() == vector.to_json() and torch.equal(read.direction, vector.direction)


def test_what_is_no_vector_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="There is no steering vector"):
        read_vector(tmp_path)
    other = save({"direction": torch.ones(3)}), save({"direction": torch.ones(3)}, {METADATA: '{"schema": 1}'})
    for content in (b"", b"no safetensors at all", *other):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(ArtifactError, match="is not a steering vector of this version"):
            read_vector(tmp_path)


def test_the_vector_of_another_model_is_refused_in_one_sentence(tiny, tiny_path, tmp_path):
    make_vector(tiny).write(tmp_path / FILE)
    assert load_model(str(tiny_path), steering=tmp_path).steering.layer == make_vector(tiny).layer
    with pytest.raises(ModelError) as refused:
        load_model("organism:image", steering=tmp_path / FILE)
    assert "was made with" in str(refused.value) and "run `seawall steer` with this model" in str(refused.value)
    assert ". " not in str(refused.value)
