"""Shares, differences and agreement, with intervals that know which items stand or fall together.

All intervals are 95 %. Bootstraps draw whole clusters (the items of one phrase), with a fixed seed: the same answers give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DRAWS = 2000


def interval(scores: np.ndarray, clusters: Sequence[str], draws: int = DRAWS) -> tuple[float, float]:
    """Return an interval of the mean.

    Bootstrap over seeds and over clusters of items (those of one phrase stand or fall together). Where all phrases and
    all seeds stand equal a bootstrap sees no spread; there it is Wilson's interval over the clusters.

    Args:
        scores: Shape = (seeds, items), 0 or 1.
        clusters: Cluster of each item.
        draws: Bootstrap samples.

    Source: Field and Welsh, "Bootstrapping clustered data", JRSS B 69 (2007).
    """
    names, place = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.stack([np.bincount(place, row, len(names)) for row in scores])
    sizes = np.bincount(place, minlength=len(names)).astype(float)
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(scores), size=(draws, len(scores), 1))
    chosen = rng.integers(len(names), size=(draws, 1, len(names)))
    means = sums[seeds, chosen].mean(1).sum(1) / sizes[chosen[:, 0]].sum(1)
    low, high = _middle(means)
    return (low, high) if low < high else wilson(scores.mean(), len(names))


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a share. Source: Wilson, JASA 22 (1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def macro_interval(groups: Sequence[tuple[np.ndarray, Sequence[str]]]) -> tuple[float, float]:
    """Return an interval of the plain mean of the groups' means: a bootstrap of clusters within each group.

    Args:
        groups: Of each group the scores, shape = (items,), and the cluster of each item.

    Source: as `interval`, stratified.
    """
    means = []
    for seed, (scores, clusters) in enumerate(groups):
        hits, sizes = resample(np.stack([scores, np.ones_like(scores)], 1), clusters, seed).T
        means.append(hits / sizes)
    low, high = _middle(np.mean(means, axis=0))
    if low < high:
        return low, high
    share = float(np.mean([scores.mean() for scores, _ in groups]))
    return wilson(share, sum(len(set(clusters)) for _, clusters in groups))


def resample(values: np.ndarray, clusters: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return sums of values over bootstrap samples of clusters.

    Args:
        values: Shape = (items, columns).
        clusters: Cluster of each item.
        seed: What is drawn independently needs different ones.

    Returns:
        Shape = (draws, columns).
    """
    names, place = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.stack([np.bincount(place, column, len(names)) for column in values.T], 1)
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    return times @ sums


def kappa(both: float, first: float, second: float, neither: float) -> float:
    """Return Cohen's kappa of two judges; not a number where each says always the same.

    Args:
        both: Answers that both call unsafe.
        first: That the first alone calls unsafe.
        second: That the second alone calls unsafe.
        neither: That both call safe.

    `(p_o - p_e) / (1 - p_e)`, with p_o the share on which they agree and p_e what their own shares let expect.
    Source: Cohen, Educational and Psychological Measurement 20 (1960).
    """
    n = both + first + second + neither
    expected = ((both + first) * (both + second) + (neither + first) * (neither + second)) / n**2
    return ((both + neither) / n - expected) / (1 - expected) if expected < 1 else math.nan


def kappa_interval(a: np.ndarray, b: np.ndarray, clusters: Sequence[str]) -> tuple[float, float] | None:
    """Return an interval of `kappa` by the bootstrap over clusters; None where too few draws have one.

    Args:
        a: The first judge's scores, 0 or 1, shape = (answers,).
        b: The second's, of the same answers.
        clusters: Cluster of each answer.
    """
    cells = resample(np.stack([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)], 1), clusters)
    values = np.array([kappa(*row) for row in cells])
    values = values[~np.isnan(values)]
    return _middle(values) if len(values) > DRAWS / 2 else None


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p of McNemar's exact test: are answers that only one of two models gets wrong as often the one's?

    Args:
        only_a: Pairs in which only the first model's answer is unsafe.
        only_b: Pairs in which only the second's is.

    Twice the smaller tail of a binomial with n = only_a + only_b and p = 1/2, at most 1. It takes pairs as independent.
    Source: McNemar, Psychometrika 12 (1947); exact: Fagerland et al., BMC Medical Research Methodology 13:91 (2013).
    """
    return sign_test([1] * only_a + [-1] * only_b)


def sign_test(differences: Sequence[int]) -> float:
    """Return the two-sided p of a test that flips the signs of whole clusters: McNemar's where each is one pair.

    Args:
        differences: Of each cluster, pairs in which only the first answer is unsafe less those in which only the second is.

    The distribution of the sum of `+-|d|` is counted out, without drawing; p is twice the tail of the sum found, at most 1.
    Source: Fisher's randomisation test for pairs (The Design of Experiments, 1935, section 21), with clusters in place of pairs.
    """
    sizes = [abs(d) for d in differences if d]
    chances = np.ones(1)
    for size in sizes:
        step = np.zeros(2 * size + 1)
        step[0] = step[-1] = 0.5
        chances = np.convolve(chances, step)
    found = abs(sum(differences)) + sum(sizes)  # the place of the sum among -S ... S
    return min(1.0, 2 * float(chances[found:].sum()))


def difference_interval(differences: np.ndarray, clusters: Sequence[str]) -> tuple[float, float]:
    """Return an interval of the mean of paired differences: a bootstrap over clusters.

    Where no cluster differs from another a bootstrap sees no spread; there Wilson's limit says what share of other clusters may yet exist.

    Args:
        differences: Second model's score less the first's, -1, 0 or 1, shape = (pairs,).
        clusters: Cluster of each pair.
    """
    sums = resample(np.stack([differences, np.ones_like(differences)], 1), clusters)
    low, high = _middle(sums[:, 0] / sums[:, 1])
    if low < high:
        return low, high
    mean, room = float(differences.mean()), wilson(0.0, len(set(clusters)))[1]
    return mean - room * (1 + mean), mean + room * (1 - mean)


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
