"""The answers that Inspect's logs hold, and what the judges said of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.scorer import Score

from seawall.errors import DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """An answer and what the judges said of it."""

    key: tuple[str, ...]
    """Task, prompt type, sample and epoch: the same for every model."""
    about: dict[str, Any]
    """The sample's metadata."""
    cluster: str
    """Items of one phrase share it."""
    answer: str
    failed: bool
    """The sample ended in an error."""
    scores: dict[str, Score]
    """Of the judges alone, by name."""

    def value(self, judge: str) -> float | None:
        """Return 1 or 0; None without a verdict."""
        score = self.scores.get(judge)
        return None if self.failed or score is None or math.isnan(score.as_float()) else score.as_float()

    def tells(self, judge: str, what: str) -> Any:
        """Return what else a verdict says, such as `refused`; None where it does not, or there is none."""
        return (self.scores[judge].metadata or {}).get(what) if self.value(judge) is not None else None


def read_rows(logs: Sequence[EvalLog]) -> list[Row]:
    """Return the answers that logs of one model hold.

    Raises:
        DataError: No logs, logs without samples, or of different models.
    """
    if not logs:
        raise DataError("There are no logs. Take those that an evaluation wrote.")
    models = {json.dumps([log.eval.model, log.eval.model_args], sort_keys=True, default=str) for log in logs}
    if len(models) > 1:
        raise DataError(f"These are logs of {len(models)} models. Take those of one model (and one adapter) at a time.")
    rows = {}
    for one in logs:
        if one.samples is None:
            raise DataError(
                f"The log {one.location or one.eval.task} has no samples. Read it whole (header_only=False)."
            )
        for sample in one.samples:
            row = read_row(one.eval.task, sample)
            rows[row.key] = row
    return list(rows.values())


def read_row(task: str, sample: EvalSample) -> Row:
    """Return the answer of a sample."""
    about = sample.metadata
    return Row(
        key=(task, str(about.get("prompt_type")), str(sample.id), str(sample.epoch)),
        about=about,
        cluster=str(about.get("item", sample.id)),
        answer=sample.output.completion,
        failed=sample.error is not None,
        scores={name: score for name, score in (sample.scores or {}).items() if "judge" in (score.metadata or {})},
    )


def split(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Return the answers by a metadata key, sorted."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(str(row.about.get(key, "all")), []).append(row)
    return dict(sorted(parts.items()))
