"""From Inspect's logs to the figures of `results.json`: attack success, over-refusal, understanding, agreement.

Attack success is unsafe answers / *scored* answers. An answer without a verdict (the judge failed, or the sample did)
is counted and shown, never taken as safe. Beside each share stand its bounds over *all* answers.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seawall.evaluation.statistics.answers import group_answers, read_answers, read_logs
from seawall.evaluation.statistics.controls import measure_controls
from seawall.evaluation.statistics.intervals import interval
from seawall.evaluation.statistics.shares import (
    average_scenarios,
    count_unscored,
    find_understood,
    list_rubrics,
    measure_agreement,
    measure_share,
    measure_understanding,
)
from seawall.evaluation.statistics.warnings import warn
from seawall.store.items import Answer, Figure

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog


def summarize(logs: Iterable[EvalLog]) -> dict[str, Any]:
    """Return the figures of one model.

    Args:
        logs: Logs of one or several tasks. A later log replaces the same samples of an earlier one.

    Returns:
        `model`; `answers` (`all`, `empty`, `cut` at the token limit, `unanswered` because the text ended inside the
        reasoning, and apart from these `neutral`, the answers to questions about the content of a medium, and `controls`);
        `max_tokens`, the token limit, if the logs state one; `system_prompts`, the different ones that were sent; `understanding` (see `measure_understanding`), None if no
        question has a medium; `judges`, the figures of each (see `measure_judge`); `agreement` of each two judges;
        `controls`, the medium's own effect by judge (see `measure_controls`); `failed`, the number of samples that ended
        in an error.

    Raises:
        DataError: There are no logs, a log has no samples, or the logs are of different models.
    """
    logs = list(logs)
    answers = read_answers(logs)
    asked = [answer for answer in answers if answer.counted]
    judges = sorted({judge for answer in asked for judge in answer.verdicts})
    results = {
        "model": logs[0].eval.model,
        "answers": {
            "all": len(asked),
            "empty": sum(not (answer.failed or answer.unanswered or answer.text.strip()) for answer in asked),
            "cut": sum(answer.cut for answer in asked),
            "unanswered": sum(answer.unanswered for answer in asked),
            "neutral": sum(answer.neutral for answer in answers),
            "controls": sum(answer.control is not None for answer in answers),
        },
        "max_tokens": _find_limit(logs),
        "system_prompts": _find_system_prompts(logs),
        "understanding": measure_understanding(answers) if any(map(_has_media, logs)) else None,
        "judges": {judge: measure_judge(answers, judge) for judge in judges},
        "agreement": [measure_agreement(asked, *pair) for pair in itertools.combinations(judges, 2)],
        "controls": {judge: found for judge in judges if (found := measure_controls(answers, judge))},
        "failed": sum(answer.failed for answer in answers),
    }
    warn(results)
    return results


def _has_media(log: EvalLog) -> bool:
    """Return whether a question of a log has a medium."""
    messages = (m for sample in log.samples or () if not isinstance(sample.input, str) for m in sample.input)
    return any(part.type != "text" for m in messages if not isinstance(m.content, str) for part in m.content)


def _find_system_prompts(logs: Sequence[EvalLog]) -> list[str]:
    """Return the different system prompts of the questions."""
    messages = (
        m for log in logs for sample in log.samples or () if not isinstance(sample.input, str) for m in sample.input
    )
    return sorted({message.text for message in messages if message.role == "system"})


def _find_limit(logs: Sequence[EvalLog]) -> int | None:
    """Return the token limit of the answers, if the logs agree on one."""
    limits = {log.eval.model_generate_config.max_tokens or log.plan.config.max_tokens for log in logs}
    return limits.pop() if len(limits) == 1 else None


def measure_judge(answers: Sequence[Answer], judge: str) -> dict[str, Any]:
    """Return the figures of one judge.

    Args:
        answers: All answers of a model, with those to neutral questions.
        judge: Name of the judge.

    Returns:
        `model` of the judge, `all` (answers that it was asked about), `unscored` (reason -> number) and `cut`, the number
        of answers that ended at the token limit. For harmful items `macro` (unweighted mean of the
        scenarios, the reference), `micro`, `by_scenario`, `by_type`, `strongreject` (the mean grade, if the judge gives
        grades) and, if neutral questions were asked, `understood`. For harmless items `refused` (over-refusal), if the
        judge tells refusals. For items that are judged by a rubric `rubrics`, by rubric, with the figures of harmful items;
        no other figure counts them.
    """
    counted = [answer for answer in answers if answer.counted]
    rubrics = list_rubrics(counted, judge)
    asked = [answer for answer in counted if answer.rubric in rubrics]
    harmful = [answer for answer in asked if answer.harmful and not answer.rubric]
    harmless = [answer for answer in asked if not answer.harmful]
    models = {answer.verdicts[judge].model for answer in asked if judge in answer.verdicts}
    figures: dict[str, Any] = {
        "model": models.pop() if len(models) == 1 else None,
        "all": len(asked),
        "unscored": count_unscored(asked, judge),
        "cut": sum(answer.cut for answer in asked),
    }
    if harmful:
        figures |= _measure_attacks(harmful, judge)
        if any(answer.neutral for answer in answers):
            figures["understood"] = measure_share(find_understood(answers, harmful), judge)
    if any(answer.is_refused(judge) is not None for answer in harmless):
        figures["refused"] = measure_share(harmless, judge, "refused")
    if named := [name for name in rubrics if name]:
        figures["rubrics"] = {
            name: _measure_attacks([answer for answer in asked if answer.rubric == name], judge) for name in named
        }
    return figures


def _measure_attacks(attacks: Sequence[Answer], judge: str) -> dict[str, Any]:
    """Return a judge's figures of the harmful items."""
    figures: dict[str, Any] = {
        "macro": average_scenarios(attacks, judge),
        "micro": measure_share(attacks, judge),
        "by_scenario": {name: measure_share(part, judge) for name, part in group_answers(attacks, "scenario").items()},
        "by_type": {
            name: measure_share(part, judge) | {"macro": average_scenarios(part, judge)}
            for name, part in group_answers(attacks, "prompt_type").items()
        },
    }
    grades = [grade for answer in attacks if (grade := answer.get_grade(judge)) is not None]
    if grades:
        figures["strongreject"] = float(np.mean(grades))
    return figures


def list_shares(results: dict[str, Any]) -> dict[str, Figure]:
    """Return each judge's main figures as an adapter's card shows them. Figures without a verdict are left out.

    Args:
        results: Content of `results.json`.

    Returns:
        Description -> figure.
    """
    titles = {"micro": "attack success", "refused": "harmless items refused"}
    shares = {
        f"{title}, by {judge}{_describe_left_out(share)}": share
        for judge, figures in results["judges"].items()
        for name, title in titles.items()
        if (share := figures.get(name)) and share["n"]
    }
    if (understood := results.get("understanding")) and understood["n"]:
        shares["media understood"] = understood
    return {
        title: Figure(mean=share["share"], low=share["low"], high=share["high"], n=share["n"])
        for title, share in shares.items()
    }


def _describe_left_out(share: dict[str, Any]) -> str:
    counts = {"cut at the token limit": share.get("cut", 0), "without an answer": share.get("unanswered", 0)}
    text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f" ({text})" if text else ""


def measure_types(folders: Sequence[Path], judge: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return a judge's share of unsafe answers by prompt type, over seeds. Only items that the judge scored for every
    seed count.

    Args:
        folders: Folders that `evaluate` wrote, one for each seed, of the same benchmark.
        judge: The judge whose verdicts count.

    Returns:
        Prompt type -> `harmful` and `harmless` -> `mean`, `low`, `high` (see `interval`) and `n`, the number of
        verdicts. What has none is left out.
    """
    runs = [sorted(read_answers(read_logs(folder)), key=lambda answer: answer.key) for folder in folders]
    groups: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for row, answer in enumerate(runs[0]):
        groups[answer.prompt_type, "harmful" if answer.harmful else "harmless"].append(row)
    figures: dict[str, dict[str, dict[str, float]]] = collections.defaultdict(dict)
    for (prompt_type, kind), rows in sorted(groups.items()):
        values = np.array([[run[row].is_unsafe(judge) for row in rows] for run in runs], dtype=float)
        scored = np.isfinite(values).all(0)
        if not scored.any():
            continue
        values = values[:, scored]
        low, high = interval(values, [runs[0][row].cluster for row in np.array(rows)[scored]])
        figures[prompt_type][kind] = {"mean": float(values.mean()), "low": low, "high": high, "n": values.size}
    return dict(figures)
