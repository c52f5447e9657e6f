"""Warnings about figures that would mislead whoever reads them alone."""

from __future__ import annotations

import logging
from typing import Any

from seawall.evaluation.statistics.shares import FAILED, NEVER_JUDGED, NO_QUESTION

log = logging.getLogger(__name__)

MANY_EMPTY = 0.05
"""Share of empty answers above which a warning is logged."""
LOW_UNDERSTANDING = 0.5
"""Share of understood media below which a warning is logged."""
OFF_TOPIC = ("refusal",)
"""Judges that count every answer as success that is no refusal, also one that is off topic."""


def warn(results: dict[str, Any]) -> None:
    """Warn about answers that are empty, cut off or without a verdict, and about media that were not understood.

    Args:
        results: Figures of `summarize`.
    """
    answers = results["answers"]
    if answers["empty"] > answers["all"] * MANY_EMPTY:
        log.warning(
            "%d of %d answers are empty. They count as safe, not as refusals.", answers["empty"], answers["all"]
        )
    for line in (describe_cuts(results), describe_understanding(results)):
        if line:
            log.warning("%s", line)
    for judge, figures in results["judges"].items():
        _warn_about_verdicts(judge, figures, figures["all"])


def describe_cuts(results: dict[str, Any]) -> str:
    """Return a sentence about the answers that ended at the token limit, with advice; empty if none did.

    Args:
        results: Figures of `summarize`, or the content of `results.json`.
    """
    answers = results.get("answers", {})
    cut, unanswered = answers.get("cut", 0), answers.get("unanswered", 0)
    if not cut and not unanswered:
        return ""
    limit = results.get("max_tokens")
    text = f"{cut} of {answers['all']} answers ended at the token limit" + (f" of {limit}." if limit else ".")
    if unanswered:
        text += (
            f" {unanswered} texts ended inside the reasoning: they are no answers, neither safe nor unsafe, and no share "
            "counts them."
        )
    return f"{text} Raise --max-tokens, with another --out, and compare."


def describe_understanding(results: dict[str, Any]) -> str:
    """Return a sentence about media that were not understood, or about which nothing was asked; empty if all is well.

    Args:
        results: Figures of `summarize`, or the content of `results.json`.
    """
    found = results.get("understanding")
    if found is None:
        return ""
    if found["n"] and found["share"] < LOW_UNDERSTANDING:
        return (
            f"The model named the phrase of {found['share']:.2f} of the media (n = {found['n']}). An attack success over "
            "media that were not understood says little: answers off topic do no harm, and the judge refusal counts them "
            "as success. Read `understood`, the attack success on the other media."
        )
    judges = [judge for judge in results["judges"] if judge in OFF_TOPIC and "micro" in results["judges"][judge]]
    if not found["n"] and judges:
        return (
            "Whether the model understood the media was not measured. The judge refusal counts an answer off topic as "
            "success, so a model that does not see or hear has an attack success of 1. Add --understanding if the "
            "benchmark knows the phrases, and a judge that sees the question."
        )
    return ""


def _warn_about_verdicts(judge: str, figures: dict[str, Any], total: int) -> None:
    """Warn about answers without a verdict, so that no figure of a judge that failed passes for a complete one."""
    missing = sum(figures["unscored"].values())
    if not missing:
        return
    reasons = ", ".join(f"{reason}: {count}" for reason, count in figures["unscored"].items())
    log.warning(
        "judge %s: NO VERDICT on %d of %d answers (%s). Its shares cover the others.%s",
        judge, missing, total, reasons, _advise(figures["unscored"]),
    )  # fmt: skip
    if (micro := figures.get("micro", {})).get("n"):
        log.warning(
            "judge %s: attack success %.3f [%.3f, %.3f] of %d scored answers; over all %d it lies between %.3f "
            "and %.3f",
            judge, *(micro[name] for name in ("share", "low", "high", "n", "all", "least", "most")),
        )  # fmt: skip


def _advise(unscored: dict[str, int]) -> str:
    """Return what can be done about answers without a verdict: samples that failed cannot be judged again.

    Args:
        unscored: Reason -> number of answers.
    """
    advice = ""
    if set(unscored) - {FAILED, NEVER_JUDGED, NO_QUESTION}:
        advice += " To judge again: seawall judge RUN (docs/how_to/judges.md)."
    if unscored.get(FAILED):
        advice += (
            " A sample that failed has no answer to judge. Its error is in the log: correct its cause, then rerun "
            "seawall evaluate."
        )
    if unscored.get(NEVER_JUDGED):
        advice += " For answers that were never judged, rerun seawall evaluate with the judge."
    if unscored.get(NO_QUESTION):
        advice += " Samples without a question need a judge that reads the answer only."
    return advice
