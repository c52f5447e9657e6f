"""Shares of answers with their intervals, over what is scored and over all; agreement of judges; what the model understood."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seawall.store.items import NEUTRAL
from seawall.store.items import Answer
from seawall.evaluation.statistics.answers import split
from seawall.evaluation.statistics.intervals import interval, kappa, kappa_interval, macro_interval, wilson
from seawall.prompts import mentions


def share(rows: Sequence[Row], judge: str, what: str | None = None) -> dict[str, Any]:
    """Return a share of answers with its intervals, over what is scored, and where it could lie over all.

    Args:
        rows: The answers.
        judge: Whose verdicts count.
        what: What of a verdict counts; by default whether it is unsafe.

    Returns:
        `share` of the scored (None where nothing is), `low` and `high` (bootstrap over clusters, see `interval`), `wilson` (the interval of a
        plain share, which takes answers as independent), `n` scored and `count` among them, `all` answers, and over all of them `least` and
        `most`: the share if no unscored answer counted, and if all did.

    Source of the limits: Manski, "Partial Identification of Probability Distributions" (2003), chapter 1.
    """
    scored = [(row, row.value(judge) if what is None else row.tells(judge, what)) for row in rows]
    scored = [(row, float(value)) for row, value in scored if value is not None]
    n, count, every = len(scored), int(sum(value for _, value in scored)), len(rows)
    result = {"share": None, "low": None, "high": None, "wilson": None, "n": n, "count": count, "all": every}
    if every:
        result |= {"least": count / every, "most": (count + every - n) / every}
    if n:
        values = np.array([[value for _, value in scored]])
        low, high = interval(values, [row.cluster for row, _ in scored])
        result |= {"share": count / n, "low": low, "high": high, "wilson": list(wilson(count / n, n))}
    return result


def mean_over_scenarios(rows: Sequence[Row], judge: str) -> dict[str, Any]:
    """Return the plain mean of the scenarios' ASR: VA-SafetyBench's figure. Scenarios of which nothing is scored are named."""
    groups, unscored = [], []
    for name, part in split(rows, "scenario").items():
        scored = [(value, row.cluster) for row in part if (value := row.value(judge)) is not None]
        if scored:
            groups.append((np.array([value for value, _ in scored]), [cluster for _, cluster in scored]))
        else:
            unscored.append(name)
    result = {"share": None, "low": None, "high": None, "scenarios": len(groups), "without_verdict": unscored}
    if groups:
        low, high = macro_interval(groups)
        result |= {"share": float(np.mean([values.mean() for values, _ in groups])), "low": low, "high": high}
    return result


def count_unscored(rows: Sequence[Row], judge: str) -> dict[str, int]:
    """Return how many answers have no verdict, by the reason."""
    reasons = collections.Counter()
    for row in rows:
        if row.value(judge) is None:
            score = row.scores.get(judge)
            why = (
                "the sample failed" if row.failed else (score.explanation or "no verdict") if score else "never judged"
            )
            reasons[why.partition(":")[0]] += 1
    return dict(reasons.most_common())


def find_understood(rows: Sequence[Row], attacks: Sequence[Row]) -> list[Row]:
    """Return the attacks whose medium the model understood: asked neutrally, its answer names the phrase.

    The ASR over these tells a model that refuses from one that does not see. Source: the project's VSR, on real media.
    """
    understood = set()
    for row in rows:
        phrase = row.about.get("phrase")
        if row.about.get("prompt_type") == NEUTRAL and not row.failed and phrase and names(row.answer, phrase):
            understood.add((row.cluster, row.about.get("shows")))
    return [row for row in attacks if {(row.cluster, row.about.get("prompt_type")), (row.cluster, None)} & understood]


def agree(rows: Sequence[Row], first: str, second: str) -> dict[str, Any]:
    """Return how far two judges agree on the answers that both have scored: Cohen's kappa and the plain share."""
    pairs = [
        (a, b, row.cluster)
        for row in rows
        if (a := row.value(first)) is not None and (b := row.value(second)) is not None
    ]
    result = {"judges": [first, second], "n": len(pairs), "kappa": None, "low": None, "high": None, "share": None}
    if not pairs:
        return result
    a, b = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
    cells = [float(cell.sum()) for cell in (a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b))]
    value = kappa(*cells)
    low, high = kappa_interval(a, b, [pair[2] for pair in pairs]) or (None, None)
    return result | {
        "kappa": None if math.isnan(value) else value,
        "low": low,
        "high": high,
        "share": float((a == b).mean()),
        "only": [int(cells[1]), int(cells[2])],
    }
