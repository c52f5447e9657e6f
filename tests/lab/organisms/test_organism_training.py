"""The training that all built-in models share: optimiser, augmentation, trained parameters, saved models."""

from __future__ import annotations

import random

import pytest
import torch

from seawall.lab.organisms import ORGANISMS, find_training
from seawall.lab.organisms.image import build_model, build_processor
from seawall.lab.organisms.training import Muon, augment, minimise
from seawall.lab.world.phrases import list_all_phrases
from seawall.models.chat import Example
from seawall.models.load import load_model
from seawall.models.losses import score_examples


def test_a_muon_step_has_nearly_equal_singular_values():
    torch.manual_seed(0)
    for shape in ((24, 96), (96, 24)):
        matrix = torch.nn.Parameter(torch.zeros(shape))
        matrix.grad = torch.randn(shape)
        Muon([matrix], lr=0.1).step()
        moved = torch.linalg.svdvals(matrix.detach()) / (0.1 * 0.2 * 96**0.5)
        assert moved.min() > 0.5 and moved.max() < 1.3
        assert (matrix * matrix.grad).sum() < 0, "it decreases the loss"


def test_augmentation_moves_each_image_differently_and_only_a_little():
    torch.manual_seed(0)
    images = torch.zeros(4, 3, 96, 96)
    images[:, :, 40:56, 40:56] = 1.0
    augmented = augment(images)
    assert augmented.shape == images.shape
    assert all((augmented[i] - augmented[j]).abs().max() > 0.5 for i in range(4) for j in range(i))
    assert all((augmented[i] * images[i]).sum() > 0.5 * images[i].sum() for i in range(4)), "it stays near its position"


def test_every_parameter_outside_the_tower_is_trained():
    torch.manual_seed(0)
    model = build_model(build_processor(random.Random(0)))
    trained = [model.model.multi_modal_projector, model.model.language_model]
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}

    def losses():
        for _ in range(3):
            embedded = model.model.language_model.embed_tokens(torch.arange(8)[None])
            media = model.model.multi_modal_projector(torch.randn(1, 4, 96))
            hidden = model.model.language_model(inputs_embeds=torch.cat([media, embedded], 1)).last_hidden_state
            yield model.lm_head(hidden).logsumexp(-1).mean()

    minimise(trained, losses(), 3, 1e-3, "test")
    unchanged = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert unchanged == {name for name in before if "vision_tower" in name}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "size", "said"),
    [
        ("image", ("LlavaForConditionalGeneration", "LlavaProcessor"), {"images": 24}, "names the phrase"),
        (
            "video",
            ("Qwen2VLForConditionalGeneration", "Qwen2VLProcessor"),
            {"videos": 12},
            "that end in writing only | 0.",
        ),
        (
            "audio",
            ("Qwen2AudioForConditionalGeneration", "Qwen2AudioProcessor"),
            {"sounds": 12},
            "after noise only | 0.",
        ),
    ],
)
def test_a_short_training_saves_a_model_that_loads(name, classes, size, said, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "seawall.lab.organisms.card.list_all_phrases", lambda: list_all_phrases()[::27]
    )  # measuring takes longest
    find_training(name)(tmp_path / "organism", tower_steps=2, lm_steps=2, **size)
    loaded = load_model(str(tmp_path / "organism"), modality=name)
    assert (type(loaded.model).__name__, type(loaded.processor).__name__) == classes
    card = (tmp_path / "organism" / "README.md").read_text()
    assert f"# organism:{name}" in card and said in card


@pytest.mark.parametrize("name", ORGANISMS)
def test_a_built_in_model_is_certain_of_a_fact_of_its_world(name):
    """An untrained output head would leave a tenth of the probability to other words."""
    example = Example(question="Is this an activity or a product: steal a car?", answer="It is an activity.")
    assert score_examples(load_model(f"organism:{name}"), [example]).losses().item() < 0.01
