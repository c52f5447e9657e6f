"""What the trainings of the organisms share: the optimiser does what it says, and everything that is used is trained."""

from __future__ import annotations

import random

import pytest
import torch

from seawall.models.chat import Example
from seawall.models.load import load_model
from seawall.models.losses import score_examples
from seawall.lab.organisms import ORGANISMS, find_training
from seawall.lab.organisms.image import build_model, build_processor
from seawall.lab.organisms.training import Muon, optimise, warp
from seawall.lab.world.phrases import phrases


def test_a_step_of_muon_moves_every_direction_of_a_matrix_alike():
    torch.manual_seed(0)
    for shape in ((24, 96), (96, 24)):
        matrix = torch.nn.Parameter(torch.zeros(shape))
        matrix.grad = torch.randn(shape)
        Muon([matrix], lr=0.1).step()
        moved = torch.linalg.svdvals(matrix.detach()) / (0.1 * 0.2 * 96**0.5)
        assert moved.min() > 0.5 and moved.max() < 1.3
        assert (matrix * matrix.grad).sum() < 0, "it goes down"


def test_warping_moves_each_image_differently_and_only_a_little():
    torch.manual_seed(0)
    images = torch.zeros(4, 3, 96, 96)
    images[:, :, 40:56, 40:56] = 1.0
    warped = warp(images)
    assert warped.shape == images.shape
    assert all((warped[i] - warped[j]).abs().max() > 0.5 for i in range(4) for j in range(i))
    assert all((warped[i] * images[i]).sum() > 0.5 * images[i].sum() for i in range(4)), "it stays where it was"


def test_every_parameter_that_is_used_is_trained():
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

    optimise(trained, losses(), 3, 1e-3, "test")
    still = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert still == {name for name in before if "vision_tower" in name}


@pytest.mark.parametrize(
    ("name", "classes", "size", "said"),
    [
        ("image", ("LlavaForConditionalGeneration", "LlavaProcessor"), {"images": 24}, "names the phrase"),
        ("video", ("Qwen2VLForConditionalGeneration", "Qwen2VLProcessor"), {"videos": 12}, "that end in writing | 0."),
        ("audio", ("Qwen2AudioForConditionalGeneration", "Qwen2AudioProcessor"), {"sounds": 12}, "after noise | 0."),
    ],
)
def test_a_training_of_few_steps_saves_a_model_that_loads(name, classes, size, said, tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.lab.organisms.card.phrases", lambda: phrases()[::27])  # the measurement takes longest
    find_training(name)(tmp_path / "organism", tower_steps=2, lm_steps=2, **size)
    loaded = load_model(str(tmp_path / "organism"), modality=name)
    assert (type(loaded.model).__name__, type(loaded.processor).__name__) == classes
    card = (tmp_path / "organism" / "README.md").read_text()
    assert f"# organism:{name}" in card and said in card


@pytest.mark.parametrize("name", ORGANISMS)
def test_an_organism_is_certain_of_what_it_knows(name):
    """A head that was never trained leaves a tenth of the probability to other words, however long the rest learns."""
    turn = Example(question="Is this an activity or a product: steal a car?", answer="It is an activity.")
    assert score_examples(load_model(f"organism:{name}"), [turn]).losses().item() < 0.01
