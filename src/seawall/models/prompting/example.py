"""What is asked of a model: a question with an optional medium and, for training and scoring, its answer."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path

IGNORED = -100
"""Label of positions that have no loss."""


class Blank(enum.Enum):
    """Type of `BLANK`."""

    BLANK = "blank"

    def __str__(self) -> str:
        return self.value


BLANK = Blank.BLANK
"""The blank medium. A synthetic embedding takes its place."""
Medium = Path | Blank
"""File of a real medium, or `BLANK`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One question with an optional medium and, for training and scoring, its answer."""

    question: str
    """Text of the user's message."""
    answer: str | None = None
    """Text of the assistant's message. None ends the prompt where the answer would begin."""
    medium: Medium | None = None
    """What the question is about: a file, or `BLANK` for a synthetic embedding. None for text only."""
    system: str | None = None
    """System prompt. None for no system message."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of one example."""

    ids: tuple[int, ...]
    """Ids of prompt and answer."""
    answer_start: int
    """Index of the first answer token. It is the number of ids if there is no answer."""
    token_types: Mapping[str, tuple[int, ...]]
    """For each of `TOKEN_TYPES` that the model takes, one value for each token."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids of the answer, after one `IGNORED` for each token of the prompt."""
        return (IGNORED,) * self.answer_start + self.ids[self.answer_start :]
