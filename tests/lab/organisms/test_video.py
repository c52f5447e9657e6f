"""The training of `organism:video`: inputs and labels."""

from __future__ import annotations

import random

import numpy as np
import torch

from seawall.lab.organisms.training import NO_LABEL
from seawall.lab.organisms.video import (
    SHOWN,
    build_model,
    build_processor,
    draw_samples,
    encode,
    make_labels,
    record_all,
)
from seawall.lab.world import filming
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS
from seawall.media.modality import find_modality, read_medium


def test_the_tower_learns_from_the_patches_that_the_processor_computes_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.lab.organisms.video.augment", lambda frames: frames)
    processor = build_processor(random.Random(0))
    samples = draw_samples(random.Random(0), 2)
    frames = record_all(samples, processor.video_processor)
    model = build_model(processor)
    for sample, own in zip(samples, frames, strict=True):
        filming.write_mp4(tmp_path / "a.mp4", filming.render(*sample))
        inputs = processor.video_processor([read_medium(find_modality("video"), tmp_path / "a.mp4")])
        assert inputs["video_grid_thw"].tolist() == [[SHOWN, 6, 6]]
        with torch.no_grad():
            seen = model.model.visual(inputs["pixel_values_videos"], grid_thw=inputs["video_grid_thw"])
            learned = encode(model, processor.video_processor, own[None])
        assert torch.allclose(learned[0], seen.last_hidden_state, atol=1e-5)


def test_training_videos_are_mostly_writing_and_never_in_an_unseen_style():
    samples = draw_samples(random.Random(0), 600)
    assert 0.6 < sum(form == "writing" for _, form, _ in samples) / 600 < 0.73
    known = {pool: filming.MOTIONS[pool] for pool in ("train", "encoder")}
    for of in ("picture", "writing"):
        drawn = {getattr(style, of) for *_, style in samples}
        assert drawn == {motion for motions in known.values() for motion in motions[of]}


def test_a_word_that_a_frame_does_not_show_as_a_whole_has_no_label():
    processor = build_processor(random.Random(0)).video_processor
    samples = draw_samples(random.Random(0), 40)
    labels, classes = make_labels(samples, processor)
    assert labels.shape == (40 * SHOWN, 4) and classes[:2] == [len(FIRST_WORDS), len(SECOND_WORDS)]
    for (phrase, form, style), own in zip(samples, labels.view(40, SHOWN, 4), strict=True):
        seen = torch.from_numpy(filming.find_visible_words(phrase, form, style)[processor.sample(filming.FRAMES)])
        words = torch.tensor([FIRST_WORDS.index(phrase.first), SECOND_WORDS.index(phrase.second)])
        assert torch.equal(own[:, :2], torch.where(seen, words, NO_LABEL))
        assert (own[:, 2:] == own[0, 2:]).all() and (own[:, 2:] >= 0).all()


def test_frames_are_stored_as_decoded():
    processor = build_processor(random.Random(0)).video_processor
    frames = record_all(draw_samples(random.Random(1), 3), processor)
    assert frames.shape == (3, SHOWN, 3, filming.SIDE, filming.SIDE) and frames.dtype == torch.uint8
    assert np.ptp(frames.numpy()) > 100
