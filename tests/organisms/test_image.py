"""The training of `organism:image`, tiny: what it saves is a genuine model, and its optimiser does what it says."""

from __future__ import annotations

import random

import torch

from seawall.models.load import load_model
from seawall.organisms import drawing
from seawall.organisms.image import (
    Muon,
    _optimise,
    _warp,
    build_model,
    build_processor,
    draw_samples,
    train_image_organism,
)


def test_a_training_of_few_steps_saves_a_model_that_loads(tmp_path):
    train_image_organism(tmp_path / "organism", tower_steps=2, lm_steps=2, images=24)
    loaded = load_model(str(tmp_path / "organism"))
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration"
    assert type(loaded.processor).__name__ == "LlavaProcessor"
    assert "names the phrase" in (tmp_path / "organism" / "README.md").read_text()


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
    warped = _warp(images)
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

    _optimise(trained, losses(), 3, 1e-3, "test")
    still = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert still == {name for name in before if "vision_tower" in name}


def test_training_images_are_mostly_writing_and_in_no_unseen_style():
    samples = draw_samples(random.Random(0), 600)
    assert 0.7 < sum(form == "writing" for _, form, _ in samples) / 600 < 0.8
    for part in ("colour", "texture", "font", "pen"):
        drawn = {getattr(style, part) for *_, style in samples}
        assert drawn == {*drawing.POOLS["train"][part], *drawing.POOLS["encoder"][part]}
