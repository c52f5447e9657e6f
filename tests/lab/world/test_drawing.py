"""Images of phrases: equal for equal styles, different for different ones, and readable as PNG files."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest
from PIL import Image

from seawall.lab.world import drawing
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase

PHRASE = Phrase("wash", "boat", "activity")
STYLE = drawing.ImageStyle(
    colour="black",
    texture="plain",
    font="DejaVuSans",
    pen=9,
    paper=(230, 230, 230),
    size=0.75,
    offset=(0.0, 0.0),
    noise=0.0,
    seed=5,
)


def pixels(form, phrase=PHRASE, **changed):
    return np.asarray(drawing.render(phrase, form, dataclasses.replace(STYLE, **changed))).astype(int)


def differ(one, other):
    return bool((one != other).any())


@pytest.mark.parametrize("form", drawing.FORMS)
def test_the_same_style_gives_the_same_image(form):
    for noise in (0.0, 12.0):
        assert not differ(pixels(form, noise=noise), pixels(form, noise=noise))


def test_the_same_seed_draws_the_same_style():
    one, same = (drawing.draw_style(random.Random(1), "train") for _ in range(2))
    assert one == same != drawing.draw_style(random.Random(2), "train")


def test_a_picture_differs_from_writing():
    assert differ(pixels("picture"), pixels("writing"))


def test_any_two_words_have_different_logograms():
    words = dict.fromkeys(FIRST_WORDS + SECOND_WORDS)
    for one, other in itertools.combinations(words, 2):
        assert (
            len(set(drawing.get_logogram(one)) & set(drawing.get_logogram(other))) < len(drawing.get_logogram(one)) - 1
        )


def test_the_first_word_is_on_the_left_of_a_picture_and_the_second_on_the_right():
    middle = drawing.SIDE // 2
    first = pixels("picture") != pixels("picture", Phrase("paint", "boat", "activity"))
    second = pixels("picture") != pixels("picture", Phrase("wash", "lamp", "activity"))
    assert first[:, :middle].any() and not first[:, middle:].any()
    assert second[:, middle:].any() and not second[:, :middle].any()


def test_writing_shows_the_whole_phrase():
    whole = pixels("writing")
    for other in (Phrase("paint", "boat", "activity"), Phrase("wash", "lamp", "activity")):
        assert differ(whole, pixels("writing", other))


@pytest.mark.parametrize("name", ["colour", "texture", "font", "pen"])
def test_the_pools_share_no_value(name):
    values = [value for pool in drawing.POOLS.values() for value in pool[name]]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("pool", drawing.POOLS)
def test_every_value_of_a_style_comes_from_its_pool(pool):
    styles = [drawing.draw_style(random.Random(seed), pool) for seed in range(40)]
    for name, values in drawing.POOLS[pool].items():
        assert {getattr(style, name) for style in styles} == set(values)


@pytest.mark.parametrize("pool", drawing.POOLS)
def test_ink_stands_out_in_every_style(pool):
    for seed in range(20):
        style = dataclasses.replace(drawing.draw_style(random.Random(seed), pool), noise=0.0)
        for form in drawing.FORMS:
            grey = np.asarray(drawing.render(PHRASE, form, style).convert("L")).astype(int)
            ink = np.asarray(Image.new("RGB", (1, 1), drawing.COLOURS[style.colour]).convert("L")).astype(int)
            inked = (abs(grey - ink) < 20).mean()
            assert 0.01 < inked < 0.6
            assert np.median(grey) - ink > 60


@pytest.mark.parametrize("form", drawing.FORMS)
def test_noise_place_size_and_texture_change_the_image(form):
    plain = pixels(form)
    for change in ({"noise": 6.0}, {"offset": (1.0, 0.5)}, {"size": 1.0}, {"texture": "wavy"}, {"colour": "teal"}):
        assert differ(plain, pixels(form, **change)), change


def test_the_font_changes_writing_only_and_the_pen_pictures_only():
    assert differ(pixels("writing"), pixels("writing", font="DejaVuSerif")) and differ(
        pixels("picture"), pixels("picture", pen=13)
    )
    assert not differ(pixels("writing"), pixels("writing", pen=13))
    assert not differ(pixels("picture"), pixels("picture", font="DejaVuSerif"))


def test_a_png_file_has_the_same_pixels(tmp_path):
    image = drawing.render(PHRASE, "picture", drawing.draw_style(random.Random(0), "unseen"))
    image.save(tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as again:
        assert (again.format, again.mode, again.size) == ("PNG", "RGB", (drawing.SIDE, drawing.SIDE))
        assert again.tobytes() == image.tobytes()


def test_style_answers_are_true_and_among_the_listed_styles():
    style = dataclasses.replace(STYLE, colour="red", texture="striped")
    assert list(drawing.list_style_answers(style, "picture").values()) == ["red", "striped", "a drawing"]
    unknown = dataclasses.replace(STYLE, colour="teal", texture="wavy")
    assert list(drawing.list_style_answers(unknown, "writing").values()) == ["writing"]
