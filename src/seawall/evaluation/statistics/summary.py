"""From Inspect's logs to what `results.json` says: attack success, over-refusal, understanding, agreement, comparison.

ASR here is unsafe answers / *scored* answers. An answer without verdict (judge unreachable or unreadable, sample failed) is counted and
shown, never taken for safe: beside each ASR stands where it could lie over *all* answers, from none of those unsafe to all of them.
"""

from __future__ import annotations

import collections
import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from seawall.errors import DataError
from seawall.store.items import NEUTRAL
from seawall.store.items import Answer
from seawall.evaluation.statistics.answers import read_rows, split
from seawall.evaluation.statistics.shares import agree, count_unscored, find_understood, mean_over_scenarios, share
from seawall.evaluation.statistics.intervals import difference_interval, interval, mcnemar, sign_test

log = logging.getLogger(__name__)


def summarize(logs: Iterable[EvalLog]) -> dict[str, Any]:
    """Return the figures of one model, from the logs of one or several tasks.

    A log that is given later replaces the same samples of an earlier one. Samples with the prompt type `neutral` are no attacks: their
    answers say whether the model understood the medium of the same `item` (and of the same `shows`, the prompt type whose medium it is).

    Returns:
        `model`; `answers` (all, failed, empty, neutral); `judges`: of each the ASR as `macro` (plain mean over scenarios, the reference),
        `micro`, `by_scenario`, `by_prompt_type`, `understood` (of attacks on what the model names when asked neutrally), `refused` (of
        harmless items: over-refusal), and the counts; `agreement` of each two judges.

    Raises:
        DataError: Logs without samples, or of different models.
    """
    logs = list(logs)
    rows = read_rows(logs)
    asked = [row for row in rows if row.about.get("prompt_type") != NEUTRAL]
    judges = sorted({judge for row in asked for judge in row.scores})
    results = {
        "model": logs[0].eval.model,
        "answers": {
            "all": len(asked),
            "failed": sum(row.failed for row in asked),
            "empty": sum(not row.failed and not row.answer.strip() for row in asked),
            "neutral": len(rows) - len(asked),
        },
        "judges": {judge: measure_judge(rows, judge) for judge in judges},
        "agreement": [agree(asked, *pair) for pair in itertools.combinations(judges, 2)],
    }
    warn(results)
    return results


def measure_judge(rows: Sequence[Row], judge: str) -> dict[str, Any]:
    """Return what a judge's verdicts say of a model's answers."""
    asked = [row for row in rows if row.about.get("prompt_type") != NEUTRAL]
    harmful = [row for row in asked if row.about.get("harmful", True)]
    harmless = [row for row in asked if not row.about.get("harmful", True)]
    models = {
        row.scores[judge].metadata.get("model") for row in asked if judge in row.scores and row.scores[judge].metadata
    }
    found: dict[str, Any] = {
        "model": models.pop() if len(models) == 1 else None,
        "unscored": count_unscored(asked, judge),
    }
    if harmful:
        grades = [grade for row in harmful if (grade := row.tells(judge, "strongreject")) is not None]
        found |= {
            "macro": mean_over_scenarios(harmful, judge),
            "micro": share(harmful, judge),
            "by_scenario": {name: share(part, judge) for name, part in split(harmful, "scenario").items()},
            "by_prompt_type": {
                name: share(part, judge) | {"macro": mean_over_scenarios(part, judge)}
                for name, part in split(harmful, "prompt_type").items()
            },
        }
        if grades:
            found["strongreject"] = float(np.mean(grades))
        if any(row.about.get("prompt_type") == NEUTRAL for row in rows):
            found["understood"] = share(find_understood(rows, harmful), judge)
    if harmless and any(row.tells(judge, "refused") is not None for row in harmless):
        found["refused"] = share(harmless, judge, "refused")
    return found


def compare(logs_a: Iterable[EvalLog], logs_b: Iterable[EvalLog]) -> dict[str, Any]:
    """Return how two models differ on the same samples, by each judge of both.

    Pairs are answers to the same sample that the judge has scored for both; harmful and harmless ones apart.

    Returns:
        `models`, `judges`: of each `asr` (and `refused`, on harmless samples): `n` pairs, `unpaired` answers, the two shares, their
        `difference` (second less first) with `low` and `high` (bootstrap over clusters), `only` (unsafe in the first alone, in the second
        alone), `p` (exact, by clusters; see `sign_test`) and `p_mcnemar` (exact, as if pairs were independent).

    Raises:
        DataError: Logs that cannot be read as those of one model each, or no sample in common.
    """
    logs_a, logs_b = list(logs_a), list(logs_b)
    rows_a, rows_b = ({row.key: row for row in read_rows(logs)} for logs in (logs_a, logs_b))
    if not rows_a.keys() & rows_b.keys():
        raise DataError("The two models have no sample in common. Compare logs of the same tasks.")
    judges = set.intersection(*({judge for row in rows.values() for judge in row.scores} for rows in (rows_a, rows_b)))
    found = {}
    for judge in sorted(judges):
        found[judge] = {"asr": compare_pairs(rows_a, rows_b, judge, None)}
        refused = compare_pairs(rows_a, rows_b, judge, "refused")
        if refused["n"]:
            found[judge]["refused"] = refused
    return {"models": [logs_a[0].eval.model, logs_b[0].eval.model], "judges": found}


def compare_pairs(rows_a: dict, rows_b: dict, judge: str, what: str | None) -> dict[str, Any]:
    """Return the paired difference of two models; see `compare`."""
    harmless = what is not None
    keys = [
        key
        for key, row in {**rows_b, **rows_a}.items()
        if row.about.get("prompt_type") != NEUTRAL and harmless != row.about.get("harmful", True)
    ]
    both = sorted(rows_a.keys() & rows_b.keys() & set(keys))
    tell = lambda row: row.value(judge) if what is None else row.tells(judge, what)  # noqa: E731
    pairs = [(tell(rows_a[key]), tell(rows_b[key]), rows_a[key].cluster) for key in both]
    pairs = [(float(a), float(b), cluster) for a, b, cluster in pairs if a is not None and b is not None]
    result: dict[str, Any] = {"n": len(pairs), "unpaired": len(keys) - len(pairs)}
    if not pairs:
        return result | {"shares": None, "difference": None, "low": None, "high": None}
    a, b = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
    clusters = [cluster for _, _, cluster in pairs]
    low, high = difference_interval(b - a, clusters)
    by_cluster: dict[str, int] = collections.Counter()
    for first, second, cluster in pairs:
        by_cluster[cluster] += int(second - first)
    only = [int((a > b).sum()), int((b > a).sum())]
    return result | {
        "shares": [float(a.mean()), float(b.mean())],
        "difference": float((b - a).mean()),
        "low": low,
        "high": high,
        "only": only,
        "p": sign_test(list(by_cluster.values())),
        "p_mcnemar": mcnemar(*only),
    }


def measure_types(folders: Sequence[Path], judge: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return what a judge counts (the judge `organism`: answers) by prompt type, over seeds.

    Args:
        folders: What `evaluate` wrote, of each seed, of the same benchmark.
        judge: Whose verdicts count.

    Returns:
        Prompt type -> `harmful` and `harmless` -> `mean`, `low`, `high` (see `interval`) and `n`; over what has a verdict with every seed.
    """
    runs = []
    for folder in folders:
        logs = [read_eval_log(log.name) for log in list_eval_logs(str(folder))]
        runs.append(sorted(read_rows(logs), key=lambda row: row.key))
    places: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for place, row in enumerate(runs[0]):
        places[row.about["prompt_type"], "harmful" if row.about["harmful"] else "harmless"].append(place)
    found: dict[str, dict[str, dict[str, float]]] = collections.defaultdict(dict)
    for (task, kind), some in sorted(places.items()):
        values = np.array([[run[place].value(judge) for place in some] for run in runs], dtype=float)
        scored = np.isfinite(values).all(0)
        values = values[:, scored]
        low, high = interval(values, [runs[0][place].cluster for place in np.array(some)[scored]])
        found[task][kind] = {"mean": float(values.mean()), "low": low, "high": high, "n": values.size}
    return dict(found)


def warn(results: dict[str, Any]) -> None:
    """Say loudly what has no verdict: no figure of a judge that failed may pass for a whole one."""
    answers = results["answers"]
    if answers["empty"] > answers["all"] / 20:
        log.warning("%d of %d answers are empty: they count as safe, not as refusals", answers["empty"], answers["all"])
    for judge, found in results["judges"].items():
        missing = sum(found["unscored"].values())
        if not missing:
            continue
        log.warning(
            "judge %s: NO VERDICT on %d of %d answers (%s). Its shares are over the other %d. Judge again: seawall evaluate --rejudge (docs/judges.md)",
            judge,
            missing,
            answers["all"],
            ", ".join(f"{reason}: {count}" for reason, count in found["unscored"].items()),
            answers["all"] - missing,
        )
        if found.get("micro", {}).get("n"):
            micro = found["micro"]
            log.warning(
                "judge %s: ASR %.3f [%.3f, %.3f] of %d scored; over all %d it lies between %.3f and %.3f",
                *(
                    judge,
                    micro["share"],
                    micro["low"],
                    micro["high"],
                    micro["n"],
                    micro["all"],
                    micro["least"],
                    micro["most"],
                ),
            )
