"""Paired differences: two outcomes of each item, and what a cluster of items says of their difference."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from seawall.evaluation.statistics.intervals import difference_interval, mcnemar, sign_test

Pair = tuple[float, float, str]
"""First and second outcome of an item, each 0 or 1, and the cluster of the item."""


def describe_pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the difference of the second outcomes from the first.

    Args:
        pairs: One pair for each item.

    Returns:
        `n`; the two `shares`; their `difference` (second minus first) with `low` and `high` (bootstrap over clusters);
        `only`, the numbers of pairs in which only the first, and only the second, outcome is 1; `p` (exact, over clusters;
        see `sign_test`) and `p_mcnemar` (exact, as if pairs were independent). Without pairs all but `n` are None.
    """
    if not pairs:
        return {"n": 0, "shares": None, "difference": None, "low": None, "high": None}
    first, second = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    low, high = difference_interval(second - first, [cluster for *_, cluster in pairs])
    by_cluster: dict[str, int] = collections.Counter()
    for value_a, value_b, cluster in pairs:
        by_cluster[cluster] += int(value_b - value_a)
    only = [int((first > second).sum()), int((second > first).sum())]
    return {
        "n": len(pairs),
        "shares": [float(first.mean()), float(second.mean())],
        "difference": float((second - first).mean()),
        "low": low,
        "high": high,
        "only": only,
        "p": sign_test(list(by_cluster.values())),
        "p_mcnemar": mcnemar(*only),
    }
