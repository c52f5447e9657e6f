"""Paired comparison of two models on the same samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from seawall.errors import DataError
from seawall.evaluation.statistics.answers import read_answers
from seawall.evaluation.statistics.controls import compare_controls
from seawall.evaluation.statistics.pairing import describe_pairs
from seawall.evaluation.statistics.shares import Outcome, get_outcome, list_rubrics
from seawall.store.items import Answer

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

Key = tuple[str, str, str, int]
"""`Answer.key`: task, prompt type, item and epoch."""


def compare(logs_a: Iterable[EvalLog], logs_b: Iterable[EvalLog]) -> dict[str, Any]:
    """Return the differences between two models, for each judge that scored both.

    A pair is two answers to the same sample that the judge has scored. Harmful and harmless samples are compared
    separately.

    Args:
        logs_a: Logs of the first model.
        logs_b: Logs of the second model.

    Returns:
        `models` and `judges`. For each judge `asr`, and `refused` if there are harmless samples, each with `n` pairs,
        the number of `unpaired` answers, the two `shares`, their `difference` (second minus first) with `low` and
        `high` (bootstrap over clusters), `only` (numbers of pairs in which only the first, and only the second, answer
        counts), `p` (exact, over clusters; see `sign_test`) and `p_mcnemar` (exact, as if pairs were independent).
        `rubrics` has the same for each rubric, and `controls` the change of the medium's own effect (see
        `compare_controls`), if there are any.

    Raises:
        DataError: Logs of several models on one side, or no sample in common.
    """
    logs_a, logs_b = list(logs_a), list(logs_b)
    answers_a, answers_b = ({answer.key: answer for answer in read_answers(logs)} for logs in (logs_a, logs_b))
    if not answers_a.keys() & answers_b.keys():
        raise DataError("The two models have no sample in common. Compare logs of the same benchmark.")
    judges_a, judges_b = (
        {judge for answer in answers.values() for judge in answer.verdicts} for answers in (answers_a, answers_b)
    )
    figures = {judge: _compare_judge(answers_a, answers_b, judge) for judge in sorted(judges_a & judges_b)}
    return {"models": [logs_a[0].eval.model, logs_b[0].eval.model], "judges": figures}


def _compare_judge(
    answers_a: Mapping[Key, Answer], answers_b: Mapping[Key, Answer], judge: str
) -> dict[str, dict[str, Any]]:
    rubrics = list_rubrics([*answers_a.values(), *answers_b.values()], judge)
    figures: dict[str, Any] = {}
    if None in rubrics:
        figures["asr"] = compare_pairs(answers_a, answers_b, judge, "unsafe")
        refused = compare_pairs(answers_a, answers_b, judge, "refused")
        if refused["n"]:
            figures["refused"] = refused
    if named := [name for name in rubrics if name]:
        figures["rubrics"] = {name: compare_pairs(answers_a, answers_b, judge, "unsafe", name) for name in named}
    if controls := compare_controls([*answers_a.values()], [*answers_b.values()], judge):
        figures["controls"] = controls
    return figures


def compare_pairs(
    answers_a: Mapping[Key, Answer],
    answers_b: Mapping[Key, Answer],
    judge: str,
    outcome: Outcome,
    rubric: str | None = None,
) -> dict[str, Any]:
    """Return the paired difference of two models in one outcome.

    Args:
        answers_a: The first model's answers.
        answers_b: The second model's answers.
        judge: The judge whose verdicts count.
        outcome: `unsafe` compares the harmful samples, `refused` the harmless ones.
        rubric: Compare the samples that are judged by this rubric. None: those that are judged for harm.

    Returns:
        The figures that `compare` describes.
    """
    wants_harmful = outcome == "unsafe"
    keys = [
        key
        for key, answer in {**answers_b, **answers_a}.items()
        if answer.counted and answer.rubric == rubric and answer.harmful == wants_harmful
    ]
    pairs = []
    for key in sorted(answers_a.keys() & answers_b.keys() & set(keys)):
        a, b = (get_outcome(answers[key], judge, outcome) for answers in (answers_a, answers_b))
        if a is not None and b is not None:
            pairs.append((float(a), float(b), answers_a[key].cluster))
    figures = describe_pairs(pairs)
    return {"n": figures.pop("n"), "unpaired": len(keys) - len(pairs)} | figures
