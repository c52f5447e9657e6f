"""Figures of report pages, as SVG strings for an HTML page.

Each arm has the same colour and mark on all figures. The colours are those of Okabe and Ito, which colour-blind readers can
distinguish. The same input always gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from seawall.store.embeddings import Entry

Point = Mapping[str, Any]
"""Metrics of one arm after some number of training steps: metric -> `mean`, `low`, `high`, `n`."""

MARKS = {
    "base": ("#555555", "o"),
    "safety_prompt": ("#e69f00", "s"),
    "steering": ("#f0e442", "<"),
    "text_only": ("#56b4e9", "^"),
    "rendered_media": ("#cc79a7", "D"),
    "sea_paper": ("#d55e00", "v"),
    "seawall": ("#0072b2", "P"),
    "real_media": ("#009e73", "X"),
}
"""Arm -> colour and mark."""
EVALUATIONS = ("base", "seawall", "sea_paper", "real_media", "text_only", "rendered_media", "safety_prompt")
"""Arms whose colours and marks the evaluations of a page have, in their order."""
OTHER = ("#999999", "o")
"""Colour and mark of an arm that `MARKS` does not list."""
SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "seawall",
}
ATTACK, HARMLESS = "asr_media_unseen", "answered_harmless_media"
MIN_LOSS = 1e-4
"""Lowest loss on the log scale, in nats per token. Losses are stored with four digits, so some are 0."""


def get_colour(arm: str) -> str:
    """Return the colour of an arm."""
    return MARKS.get(arm, OTHER)[0]


@matplotlib.rc_context(SETTINGS)
def draw_arms(arms: Mapping[str, Point]) -> str:
    """Draw attack success and harmless requests answered, one line per arm, with 95 % intervals.

    Args:
        arms: Arm -> metrics.
    """
    figure = Figure(figsize=(5.6, 1.05 + 0.3 * len(arms)), layout="constrained")
    attack, harmless = figure.subplots(1, 2, sharey=True)
    for row, (arm, point) in enumerate(arms.items()):
        for axes, metric, shift, fill in (
            (attack, ATTACK, -0.14, get_colour(arm)),
            (attack, "asr_media_trained", 0.14, "white"),
            (harmless, HARMLESS, 0, get_colour(arm)),
        ):
            mean, spread = _interval(point[metric])
            axes.errorbar(
                mean, row + shift, xerr=spread, fmt="o", ms=5, color=get_colour(arm), mfc=fill, lw=1.3, clip_on=False
            )
    attack.set(title="attack success\n(lower is better)", yticks=range(len(arms)), yticklabels=list(arms))
    attack.invert_yaxis()
    harmless.set(title="harmless answered\n(higher is better)")
    for axes in (attack, harmless):
        axes.set_xlim(-0.02, 1.02)
        axes.tick_params(axis="y", length=0)
    marks = [Line2D([], [], marker="o", ls="", ms=5, color="#555555", mfc=fill) for fill in ("#555555", "white")]
    figure.legend(
        marks, ("phrases that no training saw", "phrases of the training data"), loc="outside lower center", ncols=2
    )
    return _svg(figure, "arms", "Attack success and harmless requests answered, for each arm")


@matplotlib.rc_context(SETTINGS)
def draw_plane(points: Mapping[str, Sequence[Point]]) -> str:
    """Draw harmless requests answered over attack success: one curve per arm, over the training steps.

    Args:
        points: Arm -> points in the order of steps. The last one is the arm's result; it is large and labelled.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
    lowest = min(point[HARMLESS]["low"] for curve in points.values() for point in curve)
    axes.set(xlim=(-0.04, 1.14), ylim=(lowest - 0.04, 1.06))
    axes.set_xlabel("attack success on unseen phrases (lower is better)")
    axes.set_ylabel("harmless requests answered (higher is better)")
    covered: list[tuple[float, float]] = []
    ends: dict[str, tuple[float, float]] = {}
    for arm, curve in points.items():
        x, y = ([point[metric]["mean"] for point in curve] for metric in (ATTACK, HARMLESS))
        colour, mark = get_colour(arm), MARKS.get(arm, OTHER)[1]
        axes.plot(x, y, color=colour, marker=mark, ms=4, lw=1.2, mec="white", mew=0.4)
        (_, across), (_, along) = _interval(curve[-1][ATTACK]), _interval(curve[-1][HARMLESS])
        axes.errorbar(x[-1], y[-1], along, across, color=colour, elinewidth=1, alpha=0.45)
        axes.plot(x[-1], y[-1], color=colour, marker=mark, ms=10, mec="white", mew=0.8, zorder=3)
        ends[arm] = (x[-1], y[-1])
        dense = np.linspace(0, len(x) - 1, 15 * len(x))
        covered += zip(np.interp(dense, range(len(x)), x), np.interp(dense, range(len(y)), y), strict=True)
    _label(axes, ends, covered)
    return _svg(figure, "plane", "Harmless requests answered over attack success, for each arm and number of steps")


@matplotlib.rc_context(SETTINGS)
def draw_synthesis(stores: Mapping[str, Sequence[Entry]]) -> str:
    """Draw the loss, and the share of verified embeddings, over the steps of the synthesis.

    Args:
        stores: Arm -> index entries of its embeddings, over all seeds.
    """
    figure = Figure(figsize=(5.6, 2.7), layout="constrained")
    loss, verified = figure.subplots(1, 2, sharex=True)
    longest = max(len(entry.curve) for entries in stores.values() for entry in entries)
    for arm, entries in stores.items():
        # A finished embedding keeps its last loss. Without that, the median would cover only the slow ones.
        curves = np.array([[*e.curve, *e.curve[-1:] * (longest - len(e.curve))] for e in entries if e.curve])
        low, median, high = np.quantile(curves.clip(MIN_LOSS), (0.25, 0.5, 0.75), axis=0)
        loss.fill_between(range(longest), low, high, color=get_colour(arm), alpha=0.2, lw=0)
        loss.plot(median, color=get_colour(arm), lw=1.6, label=arm)
        taken: list[float] = sorted(entry.steps for entry in entries if entry.verified)
        shares = [count / len(entries) for count in range(1, len(taken) + 1)]
        # The line continues past the last step. Without that, a share reached only there would be invisible.
        taken, shares = [0, *taken, 1.05 * longest], [0, *shares, *(shares[-1:] or [0])]
        verified.step(taken, shares, where="post", color=get_colour(arm), lw=1.6)
    loss.set(yscale="log", title="loss of the content questions (nats per token)", xlabel="step")
    verified.set(title="share verified", xlabel="step", ylim=(-0.02, 1.02))
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _svg(figure, "synthesis", "Loss and share of verified embeddings over the steps, for each synthesis")


@matplotlib.rc_context(SETTINGS)
def draw_scores(rows: Sequence[tuple[str, Sequence[Point | None]]], names: Sequence[str], name: str) -> str:
    """Draw the scores of evaluations, one row per score and one mark per evaluation, with 95 % intervals.

    Args:
        rows: Title, and for each evaluation `share`, `low` and `high`; None without a score.
        names: Names of the evaluations.
        name: Start of the ids of the figure.
    """
    figure = Figure(figsize=(6.4, 1 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots()
    styles = [MARKS[EVALUATIONS[run % len(EVALUATIONS)]] for run in range(len(names))]
    for run, (colour, mark) in enumerate(styles):
        shift = 0.18 * (run - (len(names) - 1) / 2)
        for row, (_, shares) in enumerate(rows):
            if (share := shares[run]) and share["share"] is not None:
                mean, spread = _interval({"mean": share["share"], "low": share["low"], "high": share["high"]})
                axes.errorbar(mean, row + shift, xerr=spread, fmt=mark, ms=4.5, color=colour, lw=1.1, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), yticks=range(len(rows)), yticklabels=[title.strip() for title, _ in rows])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    legend = [Line2D([], [], marker=mark, ls="", ms=5, color=colour) for colour, mark in styles]
    figure.legend(legend, names, loc="outside lower center", ncols=min(len(names), 3))
    return _svg(figure, name, "Scores of each evaluation by prompt type and scenario")


def _interval(metric: Mapping[str, float]) -> tuple[float, list[list[float]]]:
    """Return the mean and its distances to both ends, at least 0. Rounding can put an end on the wrong side of the mean."""
    mean = metric["mean"]
    return mean, [[max(0.0, mean - metric["low"])], [max(0.0, metric["high"] - mean)]]


def _label(axes: Axes, ends: dict[str, tuple[float, float]], covered: Sequence[tuple[float, float]]) -> None:
    """Write the name of each arm beside its last point, where it covers as little as possible of lines, marks and other names.

    Boxes are arrays (left, bottom, right, top) in points of 1/72 inch.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    points = 72 / figure.dpi
    room = points * np.asarray(axes.bbox.extents)
    line, anchors = (points * axes.transData.transform(list(xy)) for xy in (covered, ends.values()))
    taken = [np.concatenate((xy - half, xy + half)) for half, places in ((2, line), (5, anchors)) for xy in places]
    directions = [(dx, dy) for dx in (1, -1, 0) for dy in (-1, 1, 0) if dx or dy]
    for (arm, end), anchor in zip(ends.items(), anchors, strict=True):
        label = axes.annotate(arm, end, (0, 0), textcoords="offset points", ha="center", va="center")
        label.set(color=get_colour(arm), weight="bold")
        half = points * np.asarray(label.get_window_extent().size) / 2
        shifts = [np.array(side) * (half + far * np.array((9, 5))) for far in (1, 1.6, 2.4) for side in directions]
        boxes = [np.concatenate((anchor + shift - half, anchor + shift + half)) for shift in shifts]
        # Near places come first, so that a far one is chosen only if it covers less.
        costs = [2 * i + _overlap(box, taken) - 10 * _overlap(box, [room]) for i, box in enumerate(boxes)]
        best = int(np.argmin(costs))
        label.xyann = tuple(shifts[best])
        taken.append(boxes[best])


def _overlap(box: np.ndarray, others: Sequence[np.ndarray]) -> float:
    """Return the area of a box that others cover, summed over them."""
    boxes = np.array(others)
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(sides.clip(0).prod(1).sum())


def _svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as an SVG element. Its ids start with `name`, so that figures on one page do not share any."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
