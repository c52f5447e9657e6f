"""How well the detoxified instructions alone tell harmful pairs from harmless ones.

If words do, a model can learn to refuse the words instead of what the medium shows.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import random
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from seawall import prompts
from seawall.store.pair import KINDS, Pair

log = logging.getLogger(__name__)

MAX_AUC = 0.6
"""AUC above which `prepare` warns."""
MIN_PAIRS = 20
"""Minimum number of pairs of each kind. With fewer, nothing is measured."""
MAX_PAIRS = 1000
"""Maximum number of pairs of each kind that are used."""
FOLDS = 5
RIDGE = 1.0
"""Weight of the squared coefficients against the log-likelihood of all samples."""
TOP_WORDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leak:
    """How well a bag-of-words classifier tells the kinds of the pairs apart by their detoxified instructions."""

    auc: float
    """Area under the ROC curve on folds that it was not fitted on: 0.5 is chance, 1 tells all apart. It is below 0.5
    where each harmful request has a harmless twin in the same words."""
    error: float
    """Standard error of the AUC."""
    pairs: int
    """Number of pairs of each kind."""
    harmful_words: tuple[str, ...]
    """Words that speak most for a harmful pair."""
    harmless_words: tuple[str, ...]
    """Words that speak most for a harmless pair."""


def measure_leak(pairs: Sequence[Pair], seed: int = 0) -> Leak | None:
    """Return how well the detoxified instructions tell harmful pairs from harmless ones.

    The classifier is a logistic regression on which words occur, cross-validated on equally many pairs of both kinds.

    Args:
        pairs: The pairs. Those without a text beside the medium are left out.
        seed: Random seed for the sample and the folds.

    Returns:
        The result, or None if there are fewer than `MIN_PAIRS` pairs of a kind.
    """
    rng = random.Random(seed)
    texts = {
        kind: [_cut_announcement(pair) for pair in pairs if pair.kind == kind and pair.detoxified] for kind in KINDS
    }
    count = min(MAX_PAIRS, *map(len, texts.values()))
    if count < MIN_PAIRS:
        return None
    bags = [set(re.findall(r"\w+", text.lower())) for kind in KINDS for text in rng.sample(texts[kind], count)]
    spread = Counter(word for bag in bags for word in bag)
    words = sorted(word for word, number in spread.items() if 2 <= number < 2 * count)
    columns = {word: column for column, word in enumerate(words)}
    features = np.zeros((2 * count, len(words) + 1))
    features[:, -1] = 1  # intercept
    for row, bag in enumerate(bags):
        features[row, [columns[word] for word in bag if word in columns]] = 1
    harmful = np.repeat([kind == "harmful" for kind in KINDS], count)
    folds = np.concatenate([rng.sample([row % FOLDS for row in range(count)], count) for _ in KINDS])
    areas = []
    for fold in range(FOLDS):
        weights = _fit(features[folds != fold], harmful[folds != fold])
        areas.append(_find_area(features[folds == fold] @ weights, harmful[folds == fold]))
    auc = float(np.mean(areas))
    weights = _fit(features, harmful)[:-1]
    order = np.argsort(weights)
    return Leak(
        auc=auc,
        error=_find_error(auc, count),
        pairs=count,
        harmful_words=tuple(words[column] for column in order[::-1][:TOP_WORDS] if weights[column] > 0),
        harmless_words=tuple(words[column] for column in order[:TOP_WORDS] if weights[column] < 0),
    )


def _cut_announcement(pair: Pair) -> str:
    """Return the detoxified instruction without its announcement, which is drawn regardless of the kind."""
    for template in prompts.get_sentences(pair.modality).announcements:
        announcement = prompts.announce(template, pair.modality, pair.category, "")
        if announcement and pair.detoxified.startswith(announcement):
            return pair.detoxified[len(announcement) :]
    return pair.detoxified


def warn_of_leak(leak: Leak | None) -> None:
    """Log a warning if the kinds can be told apart."""
    if leak and leak.auc > MAX_AUC:
        log.warning(
            "The detoxified instructions alone tell harmful from harmless pairs: AUC %.2f, standard error %.2f, %d "
            "pairs of each kind; it should be at most %.1f. A model could learn to refuse their words instead of what the "
            "medium shows. Use harmful and harmless requests in the same forms; 'leak' in manifest.json names the "
            "words.",
            leak.auc, leak.error, leak.pairs, MAX_AUC,
        )  # fmt: skip


def _fit(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the weights of a ridge logistic regression, by Newton's method. The last feature is the intercept."""
    weights = np.zeros(features.shape[1])
    ridge = np.full(len(weights), RIDGE)
    ridge[-1] = 1e-6
    for _ in range(25):
        chances = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (chances - labels) + ridge * weights
        curvature = (features * (chances * (1 - chances))[:, None]).T @ features + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _find_area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in the right order, ties as half."""
    difference = np.round(scores[labels][:, None] - scores[~labels][None, :], 9)
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _find_error(auc: float, count: int) -> float:
    """Return the standard error of an AUC from equally many samples of both kinds.

    Source: Hanley and McNeil 1982, "The Meaning and Use of the Area under a ROC Curve".
    """
    both, either = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (count - 1) * (both - auc**2 + either - auc**2)) / count**2
    return math.sqrt(max(variance, 0.0))
