"""From Inspect's logs to answers with verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seawall.errors import DataError
from seawall.evaluation.replies import read_reply
from seawall.store.items import Answer, Verdict

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score


def read_logs(folder: Path) -> list[EvalLog]:
    """Return the logs of Inspect in a folder, with their samples."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    return [read_eval_log(log.name) for log in list_eval_logs(str(folder))]


def read_answers(logs: Iterable[EvalLog]) -> list[Answer]:
    """Return the answers of one model.

    Args:
        logs: Logs of one or several tasks. A later log replaces the same samples of an earlier one.

    Raises:
        DataError: There are no logs, a log has no samples, or the logs are of different models.
    """
    logs = list(logs)
    if not logs:
        raise DataError("There are no logs. Give the logs that an evaluation wrote.")
    models = {json.dumps([log.eval.model, log.eval.model_args], sort_keys=True, default=str) for log in logs}
    if len(models) > 1:
        raise DataError(f"These are logs of {len(models)} models. Give those of one model (and one adapter) at a time.")
    answers = {}
    for log in logs:
        if log.samples is None:
            raise DataError(
                f"The log {log.location or log.eval.task} has no samples. Read the whole log (header_only=False)."
            )
        for sample in log.samples:
            answer = read_answer(log.eval.task, sample)
            answers[answer.key] = answer
    return list(answers.values())


def read_answer(task: str, sample: EvalSample) -> Answer:
    """Return the answer of a sample.

    Raises:
        DataError: A judge gave another score than 0 or 1.
    """
    metadata, reply = sample.metadata, read_reply(sample.output)
    return Answer(
        task=task,
        id=str(sample.id),
        epoch=sample.epoch,
        cluster=str(metadata.get("cluster", sample.id)),
        scenario=str(metadata.get("scenario", "all")),
        prompt_type=str(metadata.get("prompt_type", "all")),
        question=metadata.get("question"),
        phrase=metadata.get("phrase"),
        shows=metadata.get("shows"),
        harmful=bool(metadata.get("harmful", True)),
        rubric=metadata.get("rubric"),
        control=metadata.get("control"),
        text=reply.answer,
        cut=reply.cut,
        unanswered=reply.unanswered,
        failed=sample.error is not None,
        verdicts={
            name: read_verdict(name, score)
            for name, score in (sample.scores or {}).items()
            if "judge" in (score.metadata or {})
        },
    )


def read_verdict(judge: str, score: Score) -> Verdict:
    """Return the verdict of a judge's score, which `judges.asking.make_score` made.

    Args:
        judge: Name of the score in the log: the judge's name, with a number if one judge scores with several models.
        score: The score.

    Raises:
        DataError: The score is neither 0 nor 1 nor unscored.
    """
    value, metadata = score.as_float(), score.metadata or {}
    if not math.isnan(value) and value not in (0, 1):
        raise DataError(f"The judge {judge!r} gave the score {value}. A judge's score must be 0, 1 or unscored.")
    return Verdict(
        judge=judge,
        model=metadata.get("model"),
        unsafe=None if math.isnan(value) else bool(value),
        refused=metadata.get("refused"),
        grade=metadata.get("grade"),
        reason=score.explanation or "",
    )


def group_answers(answers: Sequence[Answer], by: Literal["scenario", "prompt_type"]) -> dict[str, list[Answer]]:
    """Return the answers by scenario or by prompt type, in the order of the names."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(getattr(answer, by), []).append(answer)
    return dict(sorted(groups.items()))
