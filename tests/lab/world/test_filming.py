"""Videos of phrases: they move as their style says, state which words are visible, and are readable as MP4 files."""

from __future__ import annotations

import dataclasses
import io
import random

import av
import numpy as np
import pytest

from seawall.lab.world import drawing, filming
from seawall.lab.world.phrases import Phrase
from seawall.media.modality import find_modality, read_medium

PHRASE = Phrase("wash", "boat", "activity")
STYLE = drawing.ImageStyle(
    colour="black",
    texture="plain",
    font="DejaVuSans",
    pen=9,
    paper=(215, 215, 215),
    size=0.9,
    offset=(0.0, 0.0),
    noise=0.0,
    seed=5,
)
VIDEO_STYLE = filming.VideoStyle(style=STYLE, picture="drifting", writing="typed", angle=0.5)
PICTURES = [motion for pool in filming.MOTIONS.values() for motion in pool["picture"]]
WRITINGS = [motion for pool in filming.MOTIONS.values() for motion in pool["writing"]]


def film(form, phrase=PHRASE, **changed):
    return filming.render(phrase, form, dataclasses.replace(VIDEO_STYLE, **changed)).astype(int)


def ink(video):
    """Darkness of each frame, in pixels of ink."""
    return (225 - video.mean(-1)).clip(0).sum((1, 2)) / 225


def test_the_same_style_gives_the_same_video():
    style = filming.draw_style(random.Random(1), "train")
    assert style == filming.draw_style(random.Random(1), "train") != filming.draw_style(random.Random(2), "train")
    for form in filming.FORMS:
        assert np.array_equal(*(filming.render(PHRASE, form, style) for _ in range(2)))


@pytest.mark.parametrize("motion", PICTURES)
def test_a_picture_moves_in_every_frame_and_stays_visible(motion):
    for angle in (0.0, 2.0, 4.0):
        video = film("picture", picture=motion, angle=angle)
        assert all(np.abs(video[i] - video[i + 1]).max() > 40 for i in range(filming.FRAMES - 1))
        border = np.concatenate([video[:, 0], video[:, -1], video[:, :, 0], video[:, :, -1]], 1)
        assert ink(video).min() > 100 and (border.mean(-1) < 120).mean() < 0.02


@pytest.mark.parametrize("motion", ["typed", "typed by words"])
def test_typed_writing_grows_until_it_is_complete(motion):
    video, drawn = film("writing", writing=motion), None
    drawn = ink(video)
    assert (np.diff(drawn) >= -1e-6).all() and drawn[0] < 0.4 * drawn[-1]
    assert np.array_equal(video[filming.LAST_TYPED], video[-1])
    other = film("writing", Phrase("wash", "lamp", "activity"), writing=motion)
    assert np.array_equal(video[1], other[1]) and not np.array_equal(video[-1], other[-1])


def test_words_are_typed_one_by_one():
    assert len(np.unique(ink(film("writing", writing="typed by words")))) <= 4 < len(np.unique(ink(film("writing"))))


@pytest.mark.parametrize("motion", WRITINGS)
def test_visible_words_are_those_that_the_frame_shows_as_a_whole(motion):
    style = dataclasses.replace(VIDEO_STYLE, writing=motion)
    seen, video = filming.find_visible_words(PHRASE, "writing", style), film("writing", writing=motion)
    whole = ink(film("picture_writing", writing=motion))[-1]
    assert seen.any(0).all(), "each word is there in some frame"
    share = ink(video) / whole
    assert share[seen.all(1)].min(initial=1.0) > 0.9
    assert share[~seen.any(1)].max(initial=0.0) < 0.75


def test_rising_and_sinking_writing_move_in_opposite_directions():
    rising, sinking = film("writing", writing="rising"), film("writing", writing="sinking")
    for up, down in zip(rising, sinking[::-1], strict=True):
        assert np.abs(up - down).max() <= 1


def test_a_picture_that_ends_in_writing_shows_both_in_turn():
    video = film("picture_writing")
    half = filming.FRAMES // 2
    assert np.array_equal(video[:half], film("picture")[:half])
    assert all(np.array_equal(frame, film("writing")[-1]) for frame in video[half:])


def test_the_pools_share_no_motion():
    assert len(PICTURES) == len(set(PICTURES)) and len(WRITINGS) == len(set(WRITINGS))
    for pool, motions in filming.MOTIONS.items():
        styles = [filming.draw_style(random.Random(seed), pool) for seed in range(40)]
        assert {style.picture for style in styles} == set(motions["picture"])
        assert {style.writing for style in styles} == set(motions["writing"])
        assert {style.style.font for style in styles} <= set(drawing.POOLS[pool]["font"])


@pytest.mark.parametrize("form", filming.FORMS)
def test_an_mp4_file_holds_the_video(form, tmp_path):
    style = filming.draw_style(random.Random(3), "unseen")
    made = filming.render(PHRASE, form, style)
    filming.write_mp4(tmp_path / "a.mp4", made)
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", filming.RATE, filming.FRAMES)
    read = read_medium(find_modality("video"), tmp_path / "a.mp4")
    assert read.shape == made.shape and np.abs(read.astype(int) - made).mean() < 8


def test_the_same_frames_give_the_same_file():
    for seed in range(20):
        frames, files = filming.render(PHRASE, "picture", filming.draw_style(random.Random(seed), "train")), set()
        for _ in range(3):
            file = io.BytesIO()
            filming.write_mp4(file, frames)
            files.add(file.getvalue())
        assert len(files) == 1, seed


def test_style_answers_describe_the_frames():
    assert list(filming.list_style_answers(VIDEO_STYLE, "picture").values()) == ["black", "plain", "a drawing"]
    assert list(filming.list_style_answers(VIDEO_STYLE, "writing").values()) == ["black", "plain", "writing"]
    assert list(filming.list_style_answers(VIDEO_STYLE, "picture_writing").values()) == ["black", "plain"]
