"""What all readers of rows share: the place of a row, its texts, and its kind.

The user's word about the kind of a request is the flag `--kind` or a column of kinds. It is never overruled. Where it
contradicts the labels of the data, or where the two contradict each other, reading stops.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from seawall.errors import DataError
from seawall.preparation.sources.labels import refuses
from seawall.preparation.sources.source import Columns, Turns
from seawall.store.formats.objects import describe_value, join_names
from seawall.store.pair import KINDS, Record

UNKNOWN = "no label says whether the request is harmful"


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """A row or a record that is not used."""

    id: str
    """Id of the record; of a row, its number."""
    step: str
    """What dropped it. The counts in the manifest use the same name."""
    reason: str = ""
    """Details for `dropped.jsonl`."""
    kind: str | None = None
    """Kind of the request, if it is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """The settings of one source, and what is counted while it is read."""

    name: str
    """The source, for error messages."""
    unit: str = "row"
    """What the numbers of rows count."""
    columns: Columns = Columns()
    """Names of the columns."""
    kind: str | None = None
    """Kind that the user gives for all requests."""
    default: str | None = None
    """Kind of a request that nobody labels, if its answer agrees. None drops it."""
    turns: Turns = "last"
    """What becomes of a conversation of several turns."""
    allow_conflicts: bool = False
    """Whether the user's word counts where the labels of the data contradict it."""
    answered: bool = False
    """Whether a model will answer the harmless requests."""
    notes: Counter[str] = dataclasses.field(default_factory=Counter)
    """What was done with rows -> number of rows, for the log."""

    def place(self, number: int) -> str:
        """Return the place of a row, for error messages."""
        return f"{self.name}, {self.unit} {number}"

    def require_text(self, row: Mapping[str, Any], column: str, number: int, advice: str = "") -> str:
        """Return the text of a column.

        Raises:
            DataError: It is missing, empty or no text.
        """
        text = self.read_text(row, column, number)
        if not text:
            found = (
                f"{column!r} is {describe_value(row[column])}"
                if column in row
                else f"{column!r} is missing (its columns: {join_names(row)})"
            )
            raise DataError(f"{self.place(number)}: {found}; it must be a text. {advice or 'Complete or delete it.'}")
        return text

    def read_text(self, row: Mapping[str, Any], column: str, number: int) -> str:
        """Return the text of a column; empty if it is missing or null.

        Raises:
            DataError: It is no text.
        """
        value = row.get(column)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise DataError(
                f"{self.place(number)}: {column!r} is {describe_value(value)}; it must be a text. Correct the row, or "
                "name another column."
            )
        return value.strip()

    def read_id(self, row: Mapping[str, Any], number: int) -> str:
        """Return the id of a row: that of its column, or else its number.

        Raises:
            DataError: The id is no text or number.
        """
        value = row.get(self.columns.id)
        if value is None:
            return str(number)
        if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
            raise DataError(
                f"{self.place(number)}: {self.columns.id!r} is {describe_value(value)}; an id must be a text or a number."
            )
        return str(value)

    def make_record(
        self,
        key: Any,
        number: int,
        row: Mapping[str, Any],
        instruction: str,
        response: str | None,
        rejected: str | None = None,
        *,
        label: str | None = None,
        vouched: bool = False,
        source: dict[str, Any] | None = None,
    ) -> Record | Dropped:
        """Return the record of a row, or the reason why there is none.

        Args:
            key: Id of the record.
            number: Number of the row.
            row: The columns.
            instruction: The request.
            response: The answer. None if the data has no answers.
            rejected: An unsafe answer.
            label: Kind that the labels of the data show.
            vouched: Whether the labels of the data say that the answer is safe.
            source: See `Record.source`.

        Raises:
            DataError: The kind is unknown, or the user's word contradicts the labels.
        """
        kind = self._find_kind(number, row, label)
        if not instruction or response == "":
            return Dropped(str(key), "empty", "no response" if instruction else "no instruction", kind)
        if kind is None:
            reason = self._doubt(response)
            if reason:
                return Dropped(str(key), "not labelled", reason)
            kind = self.default
        if response is None and kind == "harmless" and not self.answered:
            return Dropped(str(key), "no response", "a harmless request without an answer", kind)
        return Record(
            id=str(key),
            kind=kind,
            instruction=instruction,
            response=response,
            rejected=rejected or None,
            source=source,
            vouched=vouched,
        )

    def _find_kind(self, number: int, row: Mapping[str, Any], label: str | None) -> str | None:
        """Return the kind that somebody gives: the flag, the column, or the labels of the data."""
        column = row.get(self.columns.kind)
        given = None
        if column is not None and column != "":
            given = column.strip().lower() if isinstance(column, str) else column
            if given not in KINDS:
                raise DataError(
                    f"{self.place(number)}: {self.columns.kind} is {column!r}; it must be 'harmful' or 'harmless'. If the "
                    "column means something else, name another one with --columns.kind."
                )
        kind = self.kind or given or label
        if kind not in (label, None) and label and not self.allow_conflicts:
            whose = f"--kind says {kind}" if self.kind else f"its column {self.columns.kind!r} says {kind}"
            raise DataError(
                f"{self.place(number)}: {whose}, but its labels say {label}. Correct one of them, or let the first count "
                "with --allow-label-conflicts."
            )
        if self.kind and given and self.kind != given and not self.allow_conflicts:
            raise DataError(
                f"{self.place(number)}: --kind says {self.kind}, but its column {self.columns.kind!r} says {given}. Leave "
                "out --kind, correct the row, or let --kind count with --allow-label-conflicts."
            )
        return kind

    def _doubt(self, response: str | None) -> str:
        """Return why a request without a label cannot have the default kind. Empty if it can."""
        if self.default is None or response is None:
            return UNKNOWN
        refusing = refuses(response)
        if refusing == (self.default == "harmful"):
            return ""
        return f"{UNKNOWN}, and its answer {'refuses' if refusing else 'does not refuse'}"


def read_flag(value: Any) -> bool | None:
    """Return a label. CSV files contain it as text."""
    flags = {"true": True, "1": True, "1.0": True, "safe": True, "chosen": True}
    flags |= {"false": False, "0": False, "0.0": False, "unsafe": False, "rejected": False}
    return flags.get(str(value).strip().lower())
