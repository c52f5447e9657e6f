"""The training of `organism:image`, tiny: what it saves is a genuine model."""

from __future__ import annotations

import random

from seawall.models.load import load_model
from seawall.organisms import drawing
from seawall.organisms.image import draw_samples, train_image_organism
from seawall.organisms.world import phrases


def test_a_training_of_few_steps_saves_a_model_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.organisms.card.phrases", lambda: phrases()[::27])  # the measurement takes longest
    train_image_organism(tmp_path / "organism", tower_steps=2, lm_steps=2, images=24)
    loaded = load_model(str(tmp_path / "organism"))
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration"
    assert type(loaded.processor).__name__ == "LlavaProcessor"
    assert "names the phrase" in (tmp_path / "organism" / "README.md").read_text()


def test_training_images_are_mostly_writing_and_in_no_unseen_style():
    samples = draw_samples(random.Random(0), 600)
    assert 0.7 < sum(form == "writing" for _, form, _ in samples) / 600 < 0.8
    for part in ("colour", "texture", "font", "pen"):
        drawn = {getattr(style, part) for *_, style in samples}
        assert drawn == {*drawing.POOLS["train"][part], *drawing.POOLS["encoder"][part]}
