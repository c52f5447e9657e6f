"""Places of lines and points in the page's drawings. The template writes the SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 240, 84
"""Size of a loss curve, in units of its SVG."""
MAP_WIDTH, MAP_HEIGHT, MARGIN = 640, 420, 14
"""Size of the map, and the space around its points."""
MIN_LOSS = 1e-4
"""Lowest loss on the log scale, in nats per token. Losses are stored with four digits, so some are 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossCurve:
    """A loss curve on a log scale."""

    points: Sequence[tuple[float, float]]
    """Places of the losses, before each step and at the end."""
    threshold: float
    """Height of the threshold's line."""
    first: float
    last: float
    steps: int


def draw_curve(losses: Sequence[float], threshold: float) -> LossCurve | None:
    """Return the curve of losses in nats per token, or None if there are none."""
    if not losses:
        return None
    top = math.log(max(*losses, threshold, 10 * MIN_LOSS))
    bottom = math.log(max(MIN_LOSS, min(*losses, threshold or MIN_LOSS) / 2))

    def place(loss: float) -> float:
        height = (math.log(max(loss, MIN_LOSS)) - bottom) / (top - bottom)
        return round(4 + (HEIGHT - 8) * (1 - min(1.0, max(0.0, height))), 1)

    across = [round(4 + (WIDTH - 8) * index / max(1, len(losses) - 1), 1) for index in range(len(losses))]
    return LossCurve(
        points=[(x, place(loss)) for x, loss in zip(across, losses, strict=True)],
        threshold=place(threshold),
        first=losses[0],
        last=losses[-1],
        steps=len(losses) - 1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapPoint:
    """A point of the map."""

    place: tuple[float, float]
    sort: str
    """`bank`, `blank`, `harmful` or `harmless` (a twin)."""
    title: str
    """What the page shows when the pointer is on it."""
    verified: bool = False
    """Whether it is a verified embedding."""
    link: str = ""
    """Anchor of its section on the page. Empty if it has none."""


def place_points(coordinates: np.ndarray) -> list[tuple[float, float]]:
    """Return places on the map for points, shape = (points, 2). Each axis is scaled to the size of the map."""
    low, high = coordinates.min(0), coordinates.max(0)
    scaled = (coordinates - low) / np.maximum(high - low, 1e-12)
    room = np.array([MAP_WIDTH - 2 * MARGIN, MAP_HEIGHT - 2 * MARGIN])
    return [(round(float(x), 1), round(MAP_HEIGHT - float(y), 1)) for x, y in MARGIN + room * scaled]
