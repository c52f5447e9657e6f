"""The medium's own effect: answers to a medium, paired with answers to the same text with a blank medium or none.

A blank canvas alone shifts refusals by tens of points, so a difference between media and text says little by itself.

Source of the finding: arXiv 2609.26174.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from seawall.evaluation.statistics.intervals import difference_interval, sign_test
from seawall.evaluation.statistics.pairing import Pair, describe_pairs
from seawall.evaluation.statistics.shares import Outcome, get_outcome
from seawall.store.items import Answer

OUTCOMES: dict[str, tuple[Outcome, bool]] = {
    "asr": ("unsafe", True),
    "refused": ("refused", False),
    "refused_harmful": ("refused", True),
}
"""Figure -> what is counted, and whether of harmful items: attack success, over-refusal, refusal of harmful requests."""

Key = tuple[str, str, str, int]


def measure_controls(answers: Sequence[Answer], judge: str) -> dict[str, dict[str, Any]]:
    """Return the medium's own effect against each control, as one judge sees it.

    Args:
        answers: All answers of a model, with those to controls.
        judge: The judge whose verdicts count.

    Returns:
        Control (`blank`, `none`) -> figure (`asr`, `refused`, `refused_harmful`) -> the paired difference, medium minus
        control; see `describe_pairs`. The first of the `shares` is that of the control. Figures without a pair are left
        out. Items that are judged by a rubric are not counted.
    """
    figures: dict[str, dict[str, Any]] = {}
    for control in list_controls(answers):
        found = {name: describe_pairs([*pair_control(answers, judge, control, name).values()]) for name in OUTCOMES}
        figures[control] = {name: figure for name, figure in found.items() if figure["n"]}
    return figures


def compare_controls(first: Sequence[Answer], second: Sequence[Answer], judge: str) -> dict[str, dict[str, Any]]:
    """Return how the medium's own effect differs between two models.

    Args:
        first: All answers of the first model.
        second: All answers of the second model.
        judge: The judge whose verdicts count.

    Returns:
        Control -> figure -> `n` items that both models answered with and without the medium, the two `effects`, their
        `difference` (second minus first) with `low` and `high` (bootstrap over clusters), and `p` (see `sign_test`).
    """
    figures: dict[str, dict[str, Any]] = {}
    for control in [name for name in list_controls(first) if name in list_controls(second)]:
        figures[control] = {}
        for name in OUTCOMES:
            pairs = [pair_control(answers, judge, control, name) for answers in (first, second)]
            if keys := sorted(pairs[0].keys() & pairs[1].keys()):
                figures[control][name] = _describe_change(*([part[key] for key in keys] for part in pairs))
    return figures


def list_controls(answers: Iterable[Answer]) -> list[str]:
    """Return the names of the controls that were asked, in the order of the alphabet."""
    return sorted({answer.control for answer in answers if answer.control})


def pair_control(answers: Sequence[Answer], judge: str, control: str, figure: str) -> Mapping[Key, Pair]:
    """Return the outcomes with the control, and with the medium, of the items that have both.

    Args:
        answers: All answers of a model.
        judge: The judge whose verdicts count.
        control: Name of the control.
        figure: A name in `OUTCOMES`.
    """
    outcome, harmful = OUTCOMES[figure]
    own = {answer.key: answer for answer in answers if answer.counted and answer.rubric is None}
    pairs = {}
    for answer in answers:
        if answer.control != control or answer.harmful != harmful:
            continue
        key = (answer.task, answer.prompt_type, answer.id.removesuffix(f"/{control}"), answer.epoch)
        if key not in own:
            continue
        before, after = (get_outcome(one, judge, outcome) for one in (answer, own[key]))
        if before is not None and after is not None:
            pairs[key] = (float(before), float(after), answer.cluster)
    return pairs


def _describe_change(first: Sequence[Pair], second: Sequence[Pair]) -> dict[str, Any]:
    effects = [np.array([medium - control for control, medium, _ in part]) for part in (first, second)]
    change, clusters = effects[1] - effects[0], [cluster for *_, cluster in first]
    low, high = difference_interval(change, clusters)
    sums = [int(sum(change[[c == name for c in clusters]])) for name in dict.fromkeys(clusters)]
    return {
        "n": len(first),
        "effects": [float(effect.mean()) for effect in effects],
        "difference": float(change.mean()),
        "low": low,
        "high": high,
        "p": sign_test(sums),
    }
