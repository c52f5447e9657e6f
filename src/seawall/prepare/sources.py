"""Text safety data as people have it -> records."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from seawall.artifacts import read_jsonl
from seawall.errors import DataError

KINDS = ("harmful", "harmless")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One line of text safety data."""

    id: str
    kind: str
    """`harmful` or `harmless`."""
    instruction: str
    response: str
    """The safe response; for a harmless record, the helpful one."""
    rejected: str | None = None
    """An unsafe response, where the data has one."""
    line: dict[str, Any]
    """The source's line as it is."""


def read_records(path: Path) -> list[Record]:
    """Read records from JSON Lines with `instruction`, `response` and, optionally, `id`, `rejected`, `kind`.

    Raises:
        DataError: Unreadable file or line, missing column, unknown kind, or an id that comes twice.
    """
    records: dict[str, Record] = {}
    for number, line in read_jsonl(path):
        for column in ("instruction", "response"):
            if not isinstance(line.get(column), str) or not line[column].strip():
                raise DataError(
                    f"{path}, line {number}, has no {column!r} (its columns: {', '.join(line) or 'none'}). "
                    "Every line needs the texts 'instruction' and 'response'; rename the columns or complete the line."
                )
        if not isinstance(line.get("rejected"), str | None):
            raise DataError(f"{path}, line {number}: 'rejected' is {line['rejected']!r}; it must be a text or null.")
        record = Record(
            id=str(number if line.get("id") is None else line["id"]),
            kind=line.get("kind", "harmful"),
            instruction=line["instruction"].strip(),
            response=line["response"].strip(),
            rejected=line.get("rejected"),
            line=line,
        )
        if record.kind not in KINDS:
            raise DataError(f"{path}, line {number}: kind is {record.kind!r}; it must be 'harmful' or 'harmless'.")
        if record.id in records:
            raise DataError(
                f"{path}, line {number}: the id {record.id!r} came before. Ids must differ; leave them out to number the lines."
            )
        records[record.id] = record
    return list(records.values())
