"""What an evaluation asks and what it gets: items, answers, verdicts and figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from seawall.errors import DataError

NEUTRAL = "neutral"
"""Prompt type of a question that only asks what a medium shows. Its answer shows if the model understood the medium."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a benchmark."""

    id: str
    """Unique in the benchmark."""
    cluster: str
    """Shared by all prompt types of one phrase. Intervals resample clusters."""
    scenario: str
    """Group whose attack success the macro average counts once."""
    prompt_type: str
    """How the harm is presented, such as `TYPO`; `neutral` for a question about the content."""
    question: str
    """The original request. Judges are given this one."""
    text: str | None
    """What the model is asked. None if the medium itself contains the request."""
    system: str | None = None
    """System prompt."""
    modality: str | None = None
    """Modality of the medium. None for a question in text alone."""
    medium: Path | None = None
    """File of the medium."""
    phrase: str | None = None
    """What the medium shows, if that is known."""
    shows: str | None = None
    """For a neutral question: the prompt type whose medium it is about."""
    harmful: bool = True
    """Whether it should be refused."""
    rubric: str | None = None
    """Name of the rubric that its answer is judged by. Such items are judged and reported apart. None: judged for harm."""
    control: str | None = None
    """For the same text with another medium: `blank`, or `none` for no medium. None for the benchmark's own items."""

    def to_metadata(self) -> dict[str, Any]:
        """Return what a log keeps of the item for judges and statistics. Fields that are None are left out."""
        names = ("question", "scenario", "prompt_type", "phrase", "cluster", "shows", "harmful", "rubric", "control")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one judge said of one answer."""

    judge: str
    """Name of the judge."""
    model: str | None = None
    """The judge's model, if it has one."""
    unsafe: bool | None = None
    """Whether the attack succeeded. None if there is no verdict."""
    refused: bool | None = None
    """Whether the answer is a refusal. None if the judge does not tell."""
    grade: float | None = None
    """Graded harm from 0 to 1, if the judge gives one (StrongREJECT)."""
    reason: str = ""
    """Explanation of the verdict, or why there is none."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Verdict:
        """Return the verdict of a JSON object. Unknown fields are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: given for name, given in value.items() if name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's answer to one item, with the verdicts of the judges."""

    task: str
    """Name of the benchmark."""
    id: str
    """Id of the item."""
    epoch: int = 1
    """Number of the repetition."""
    cluster: str
    """See `Item.cluster`."""
    scenario: str = "all"
    """See `Item.scenario`."""
    prompt_type: str = "all"
    """See `Item.prompt_type`."""
    question: str | None = None
    """See `Item.question`."""
    phrase: str | None = None
    """See `Item.phrase`."""
    shows: str | None = None
    """See `Item.shows`."""
    harmful: bool = True
    """See `Item.harmful`."""
    rubric: str | None = None
    """See `Item.rubric`."""
    control: str | None = None
    """See `Item.control`."""
    text: str
    """What the model answered, without the reasoning before it."""
    cut: bool = False
    """Whether the model's text ended at the token limit."""
    unanswered: bool = False
    """Whether the text ended inside the reasoning, so that there is no answer: neither a safe nor an unsafe one."""
    failed: bool = False
    """Whether the question ended in an error, so that there is no answer."""
    verdicts: dict[str, Verdict] = dataclasses.field(default_factory=dict)
    """Verdicts by judge."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Task, prompt type, item and epoch: the same for every model."""
        return self.task, self.prompt_type, self.id, self.epoch

    @property
    def neutral(self) -> bool:
        """Whether it answers a question about the content of a medium, which is not an attack."""
        return self.prompt_type == NEUTRAL

    @property
    def counted(self) -> bool:
        """Whether it counts in the main figures: neither a question about the content nor a control."""
        return not self.neutral and self.control is None

    def is_unsafe(self, judge: str) -> bool | None:
        """Return whether a judge found the answer unsafe; None without a verdict."""
        verdict = self._verdict(judge)
        return None if verdict is None else verdict.unsafe

    def is_refused(self, judge: str) -> bool | None:
        """Return whether a judge found the answer to be a refusal; None if it does not tell or has no verdict."""
        verdict = self._verdict(judge)
        return None if verdict is None else verdict.refused

    def get_grade(self, judge: str) -> float | None:
        """Return a judge's graded harm; None if it gives none or has no verdict."""
        verdict = self._verdict(judge)
        return None if verdict is None else verdict.grade

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> Answer:
        """Return the answer of a JSON object. Unknown fields are ignored.

        Raises:
            DataError: A field is missing.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        needed = [name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
        if missing := [name for name in needed if name not in value]:
            raise DataError(f"{where} lacks {', '.join(missing)}, so it is not an answer. Run the evaluation again.")
        given = {name: v for name, v in value.items() if name in fields}
        verdicts = {judge: Verdict.from_json(v) for judge, v in given.pop("verdicts", {}).items()}
        return cls(**given, verdicts=verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as a JSON object."""
        return dataclasses.asdict(self)

    def _verdict(self, judge: str) -> Verdict | None:
        verdict = self.verdicts.get(judge)
        if self.failed or self.unanswered or verdict is None or verdict.unsafe is None:
            return None
        return verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its 95 % interval."""

    mean: float
    """The value."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """Number of answers that it is computed from."""
