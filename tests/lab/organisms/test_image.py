"""The training images of `organism:image`."""

from __future__ import annotations

import random

from seawall.lab.organisms.image import draw_samples
from seawall.lab.world import drawing


def test_training_images_are_mostly_writing_and_never_in_an_unseen_style():
    samples = draw_samples(random.Random(0), 600)
    assert 0.7 < sum(form == "writing" for _, form, _ in samples) / 600 < 0.8
    for part in ("colour", "texture", "font", "pen"):
        drawn = {getattr(style, part) for *_, style in samples}
        assert drawn == {*drawing.POOLS["train"][part], *drawing.POOLS["encoder"][part]}
