"""The report's figures, each an SVG string to stand inside an HTML page.

An arm has one colour and one mark on all of them. The colours are Okabe and Ito's, which the colour-blind can tell
apart, and the same input always gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Point = dict[str, Any]
"""One arm's metrics at one number of steps: metric -> `mean`, `low`, `high`, `n`."""

MARKS = {
    "base": ("#555555", "o"),
    "safety_prompt": ("#e69f00", "s"),
    "text_only": ("#56b4e9", "^"),
    "rendered_media": ("#cc79a7", "D"),
    "sea_paper": ("#d55e00", "v"),
    "seawall": ("#0072b2", "P"),
    "real_media": ("#009e73", "X"),
}
"""Arm -> colour and mark."""

SETTINGS = {
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
LEAST_LOSS = 1e-4
"""Losses are stored with four digits, and 0 has no place on a log scale."""


def colour(arm: str) -> str:
    """Return an arm's colour on every figure."""
    return MARKS.get(arm, ("#999999", "o"))[0]


@matplotlib.rc_context(SETTINGS)
def by_arm(arms: dict[str, Point]) -> str:
    """Draw attack success and harmless requests answered, one line an arm, with 95 % intervals.

    Args:
        arms: Arm -> its metrics.
    """
    figure = Figure(figsize=(5.6, 1.05 + 0.3 * len(arms)), layout="constrained")
    attack, harmless = figure.subplots(1, 2, sharey=True)
    for row, (arm, point) in enumerate(arms.items()):
        for axes, metric, shift, fill in (
            (attack, ATTACK, -0.14, colour(arm)),
            (attack, "asr_media_trained", 0.14, "white"),
            (harmless, HARMLESS, 0, colour(arm)),
        ):
            mean, spread = _interval(point[metric])
            axes.errorbar(
                mean, row + shift, xerr=spread, fmt="o", ms=5, color=colour(arm), mfc=fill, lw=1.3, clip_on=False
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
    return _svg(figure, "by_arm", "Attack success and harmless requests answered, for each arm")


@matplotlib.rc_context(SETTINGS)
def plane(points: dict[str, Sequence[Point]]) -> str:
    """Draw each arm's way through the plane of attack success and harmless requests answered.

    Args:
        points: Arm -> its points in the order of steps; the last, the arm's result, is large and labelled.
    """
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
    lowest = min(point[HARMLESS]["low"] for way in points.values() for point in way)
    axes.set(xlim=(-0.04, 1.14), ylim=(lowest - 0.04, 1.06))
    axes.set_xlabel("attack success on unseen phrases (lower is better)")
    axes.set_ylabel("harmless requests answered (higher is better)")
    covered, ends = [], {}
    for arm, way in points.items():
        x, y = ([point[metric]["mean"] for point in way] for metric in (ATTACK, HARMLESS))
        ink, mark = colour(arm), MARKS.get(arm, ("", "o"))[1]
        axes.plot(x, y, color=ink, marker=mark, ms=4, lw=1.2, mec="white", mew=0.4)
        (_, across), (_, along) = _interval(way[-1][ATTACK]), _interval(way[-1][HARMLESS])
        axes.errorbar(x[-1], y[-1], along, across, color=ink, elinewidth=1, alpha=0.45)
        axes.plot(x[-1], y[-1], color=ink, marker=mark, ms=10, mec="white", mew=0.8, zorder=3)
        ends[arm] = (x[-1], y[-1])
        dense = np.linspace(0, len(x) - 1, 15 * len(x))
        covered += zip(np.interp(dense, range(len(x)), x), np.interp(dense, range(len(y)), y), strict=True)
    _label(axes, ends, covered)
    return _svg(figure, "plane", "Attack success against harmless requests answered, for each arm and number of steps")


@matplotlib.rc_context(SETTINGS)
def synthesis_curve(stores: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Draw how fast the syntheses come down, and how many embeddings are verified after how many steps.

    Args:
        stores: Arm -> index lines of its embeddings, of all seeds: `curve`, `steps` and `verified` are read.
    """
    figure = Figure(figsize=(5.6, 2.7), layout="constrained")
    loss, verified = figure.subplots(1, 2, sharex=True)
    longest = max(len(entry["curve"]) for entries in stores.values() for entry in entries)
    for arm, entries in stores.items():
        # An embedding that is done keeps its last loss, else the median would be of the slow ones alone.
        curves = np.array([e["curve"] + e["curve"][-1:] * (longest - len(e["curve"])) for e in entries])
        low, median, high = np.quantile(curves.clip(LEAST_LOSS), (0.25, 0.5, 0.75), axis=0)
        loss.fill_between(range(longest), low, high, color=colour(arm), alpha=0.2, lw=0)
        loss.plot(median, color=colour(arm), lw=1.6, label=arm)
        taken = sorted(entry["steps"] for entry in entries if entry["verified"])
        shares = [count / len(entries) for count in range(1, len(taken) + 1)]
        # Each share lasts past the last step, else one that comes only there would not be seen.
        taken, shares = [0, *taken, 1.05 * longest], [0, *shares, *(shares[-1:] or [0])]
        verified.step(taken, shares, where="post", color=colour(arm), lw=1.6)
    loss.set(yscale="log", title="loss of the content questions, nats a token", xlabel="step")
    verified.set(title="share verified", xlabel="step", ylim=(-0.02, 1.02))
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _svg(figure, "synthesis_curve", "Loss against step, and share of embeddings verified, for each synthesis")


def _interval(metric: dict[str, float]) -> tuple[float, list[list[float]]]:
    """Return the mean and the distances to both ends, not below 0: rounding can put an end past the mean."""
    mean = metric["mean"]
    return mean, [[max(0.0, mean - metric["low"])], [max(0.0, metric["high"] - mean)]]


def _label(axes: Axes, ends: dict[str, tuple[float, float]], covered: Sequence[tuple[float, float]]) -> None:
    """Write each arm's name beside its last point, where it covers least of the lines, marks and other names.

    Boxes are arrays (left, bottom, right, top) in points.
    """
    axes.figure.draw_without_rendering()
    points = 72 / axes.figure.dpi
    room = points * axes.bbox.extents
    line, anchors = (points * axes.transData.transform(list(xy)) for xy in (covered, ends.values()))
    taken = [np.concatenate((xy - half, xy + half)) for half, way in ((2, line), (5, anchors)) for xy in way]
    directions = [(dx, dy) for dx in (1, -1, 0) for dy in (-1, 1, 0) if dx or dy]
    for (arm, end), anchor in zip(ends.items(), anchors, strict=True):
        label = axes.annotate(arm, end, (0, 0), textcoords="offset points", ha="center", va="center")
        label.set(color=colour(arm), weight="bold")
        half = points * label.get_window_extent().size / 2
        shifts = [np.array(way) * (half + far * np.array((9, 5))) for far in (1, 1.6, 2.4) for way in directions]
        boxes = [np.concatenate((anchor + shift - half, anchor + shift + half)) for shift in shifts]
        # The near places come first, and a far one has to save something.
        costs = [2 * i + _overlap(box, taken) - 10 * _overlap(box, [room]) for i, box in enumerate(boxes)]
        best = int(np.argmin(costs))
        label.xyann = tuple(shifts[best])
        taken.append(boxes[best])


def _overlap(box: np.ndarray, others: Sequence[np.ndarray]) -> float:
    """Return the area that a box shares with others, summed over them."""
    others = np.array(others)
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(sides.clip(0).prod(1).sum())


def _svg(figure: Figure, name: str, title: str) -> str:
    """Return the figure as an SVG element whose ids no other figure on the page has."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
