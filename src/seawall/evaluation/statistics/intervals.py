"""Intervals and tests for shares, differences and agreement of clustered answers.

All intervals are 95 %. Bootstraps draw whole clusters (the items of one phrase) with a fixed random seed, so the same
answers give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DRAWS = 2000
"""Bootstrap samples."""


def interval(scores: np.ndarray, clusters: Sequence[str], draws: int = DRAWS) -> tuple[float, float]:
    """Return an interval of the mean, from a bootstrap over seeds and over clusters of items.

    If all clusters and all seeds have the same mean, a bootstrap shows no spread. Then the interval is Wilson's, over
    the clusters.

    Args:
        scores: 0 or 1, shape = (seeds, items).
        clusters: Cluster of each item, shape = (items,).
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
    low, high = _quantiles(means)
    return (low, high) if low < high else wilson(scores.mean(), len(names))


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    Args:
        share: The share, from 0 to 1.
        n: Number of independent trials.
        z: Quantile of the normal distribution; 1.96 gives 95 %.

    Source: Wilson, JASA 22 (1927).
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def macro_interval(groups: Sequence[tuple[np.ndarray, Sequence[str]]]) -> tuple[float, float]:
    """Return an interval of the unweighted mean of the groups' means, from a bootstrap over the clusters of each group.

    Args:
        groups: For each group the scores, shape = (items,), and the cluster of each item.

    Source: that of `interval`, stratified.
    """
    means = []
    for seed, (scores, clusters) in enumerate(groups):
        hits, sizes = resample(np.stack([scores, np.ones_like(scores)], 1), clusters, seed).T
        means.append(hits / sizes)
    low, high = _quantiles(np.mean(means, axis=0))
    if low < high:
        return low, high
    share = float(np.mean([scores.mean() for scores, _ in groups]))
    return wilson(share, sum(len(set(clusters)) for _, clusters in groups))


def resample(values: np.ndarray, clusters: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return sums of values over bootstrap samples of clusters.

    Args:
        values: Shape = (items, columns).
        clusters: Cluster of each item, shape = (items,).
        seed: Random seed. Independent samples need different seeds.

    Returns:
        Shape = (draws, columns).
    """
    names, place = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.stack([np.bincount(place, column, len(names)) for column in values.T], 1)
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    return times @ sums


def kappa(both: float, first: float, second: float, neither: float) -> float:
    """Return Cohen's kappa of two judges. It is NaN if each judge always says the same.

    `(p_o - p_e) / (1 - p_e)`, where p_o is the share of answers on which they agree, and p_e the agreement expected
    from their own shares of unsafe answers.

    Args:
        both: Number of answers that both call unsafe.
        first: Number that only the first judge calls unsafe.
        second: Number that only the second judge calls unsafe.
        neither: Number that both call safe.

    Source: Cohen, Educational and Psychological Measurement 20 (1960).
    """
    n = both + first + second + neither
    expected = ((both + first) * (both + second) + (neither + first) * (neither + second)) / n**2
    return ((both + neither) / n - expected) / (1 - expected) if expected < 1 else math.nan


def kappa_interval(a: np.ndarray, b: np.ndarray, clusters: Sequence[str]) -> tuple[float, float] | None:
    """Return an interval of `kappa` from a bootstrap over clusters. None if kappa is NaN in half of the draws.

    Args:
        a: The first judge's scores, 0 or 1, shape = (answers,).
        b: The second judge's scores of the same answers.
        clusters: Cluster of each answer.
    """
    cells = resample(np.stack([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)], 1), clusters)
    values = np.array([kappa(*row) for row in cells])
    values = values[~np.isnan(values)]
    return _quantiles(values) if len(values) > DRAWS / 2 else None


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test, which takes pairs as independent.

    The null hypothesis: of the pairs with one unsafe answer, each model gave as many. The p-value is twice the smaller
    tail of a binomial distribution with n = only_a + only_b and p = 1/2, at most 1.

    Args:
        only_a: Number of pairs in which only the first model's answer is unsafe.
        only_b: Number of pairs in which only the second model's answer is unsafe.

    Source: McNemar, Psychometrika 12 (1947); exact: Fagerland et al., BMC Medical Research Methodology 13:91 (2013).
    """
    return sign_test([1] * only_a + [-1] * only_b)


def sign_test(differences: Sequence[int]) -> float:
    """Return the two-sided p-value of a test that flips the signs of whole clusters.

    With one pair in each cluster it is McNemar's exact test. The distribution of the sum of `+-|d|` is computed
    exactly. The p-value is twice the tail beyond the observed sum, at most 1.

    Args:
        differences: For each cluster, the number of pairs in which only the first answer is unsafe, minus the number in
            which only the second is.

    Source: Fisher's randomisation test for pairs (The Design of Experiments, 1935, section 21), with clusters in place
    of pairs.
    """
    sizes = [abs(d) for d in differences if d]
    chances = np.ones(1)
    for size in sizes:
        step = np.zeros(2 * size + 1)
        step[0] = step[-1] = 0.5
        chances = np.convolve(chances, step)
    observed = abs(sum(differences)) + sum(sizes)  # position of the sum among -S ... S
    return min(1.0, 2 * float(chances[observed:].sum()))


def difference_interval(differences: np.ndarray, clusters: Sequence[str]) -> tuple[float, float]:
    """Return an interval of the mean of paired differences, from a bootstrap over clusters.

    If all clusters have the same mean, a bootstrap shows no spread. Then Wilson's limit bounds the share of clusters
    that could differ.

    Args:
        differences: The second model's score minus the first's: -1, 0 or 1, shape = (pairs,).
        clusters: Cluster of each pair, shape = (pairs,).
    """
    sums = resample(np.stack([differences, np.ones_like(differences)], 1), clusters)
    low, high = _quantiles(sums[:, 0] / sums[:, 1])
    if low < high:
        return low, high
    mean, room = float(differences.mean()), wilson(0.0, len(set(clusters)))[1]
    return mean - room * (1 + mean), mean + room * (1 - mean)


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
