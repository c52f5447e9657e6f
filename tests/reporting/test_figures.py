"""Figures of report pages: well-formed, stable, complete."""

from __future__ import annotations

import random
import re
from xml.etree import ElementTree

import pytest

from seawall.reporting.figures import MARKS, draw_arms, draw_plane, draw_synthesis
from seawall.store.embeddings import Entry

METRICS = ("asr_media_trained", "asr_media_unseen", "answered_harmless_media")


def make_point(mean: float) -> dict:
    return {name: {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 20} for name in METRICS}


def make_entries(longest: int) -> list[Entry]:
    rng = random.Random(0)
    entries = [Entry(key="failed#0", failed="the loss is NaN")]
    for number in range(10):
        steps = rng.randrange(2, longest)
        curve = (*(3 * 0.02 ** (step / steps) for step in range(steps)), 0.0)
        entries.append(Entry(key=f"{number}#0", verified=number > 1, steps=steps, curve=curve))
    return entries


ARMS = {arm: make_point(0.1 * number) for number, arm in enumerate(MARKS, 1)}
CURVES = {arm: [make_point(0.9), point] for arm, point in ARMS.items()}
STORES = {"seawall": make_entries(10), "sea_paper": make_entries(30)}


@pytest.mark.parametrize(
    ("draw", "values"),
    [(draw_arms, ARMS), (draw_plane, CURVES), (draw_synthesis, STORES)],
    ids=["arms", "plane", "synthesis"],
)
def test_a_figure_is_well_formed_names_its_arms_and_is_always_the_same(draw, values):
    svg = draw(values)
    words = {element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")}
    assert words >= set(values)
    assert draw(values) == svg


def test_figures_on_one_page_share_no_id():
    page = draw_arms(ARMS) + draw_plane(CURVES) + draw_synthesis(STORES)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_an_unknown_arm_can_be_drawn():
    assert ">mine<" in draw_arms({"mine": make_point(0.5)})


def test_an_interval_end_that_rounding_put_past_the_mean_is_drawn():
    exact = {"mean": 1.0, "low": 0.9, "high": 1 - 1e-16, "n": 4}
    assert "<svg" in draw_arms({"base": dict.fromkeys(METRICS, exact)})
