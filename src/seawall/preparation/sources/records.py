"""Rows to labelled records: the choice of the reader, and Seawall's own format."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seawall.errors import DataError
from seawall.preparation.sources.forms import find_answer_columns, find_request_columns, read_requests
from seawall.preparation.sources.presets import PRESETS, Preset, Reader, Rows
from seawall.preparation.sources.reading import Dropped, Reading
from seawall.preparation.sources.source import Columns
from seawall.store.formats.objects import join_names
from seawall.store.pair import Record

log = logging.getLogger(__name__)
OWN = ("instruction", "response")
"""Columns of Seawall's own format."""
GENERAL = ("chat", "prompt-completion", "alpaca")
"""Presets that do not read a source which also has the columns of Seawall's own format."""


def read_records(rows: Rows, reading: Reading, preset: str = "auto") -> Iterator[Record | Dropped]:
    """Turn rows into records.

    Args:
        rows: (number, row) pairs.
        reading: Settings of the source. Any column name that is not the default turns the presets off.
        preset: One of `PRESETS`, or `auto` to choose by the columns of the first row.

    Raises:
        DataError: There is no row, the columns do not match, a line in Seawall's own format is faulty, or a label
            contradicts the user's word.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{reading.name} has no rows. Give a source with at least one.")
    read, default = _choose_reader(reading, first[1], preset)
    reading = dataclasses.replace(reading, default=default)
    yield from read(itertools.chain([first], rows), reading)
    for what, count in reading.notes.items():
        log.warning("%s: %d %s", reading.name, count, what)


def _choose_reader(reading: Reading, row: dict[str, Any], preset: str) -> tuple[Reader, str | None]:
    """Return the reader of a source, and the kind of requests without a label."""
    named = PRESETS.get(preset)
    if named is None and reading.columns == Columns(kind=reading.columns.kind, id=reading.columns.id):
        named = find_preset(row)
    if named is None:
        return _choose_own(reading, row)
    if not named.fits(row):
        missing = [column for column in named.columns if column not in row]
        what = f"has no columns {missing}, so it" if missing else "has other columns. It"
        raise DataError(
            f"{reading.name} {what} does not match the preset {named.name!r}. Its columns: {join_names(row)}."
            f"{suggest(row)}"
        )
    known = preset == named.name or reading.name in named.hub
    log.info("%s: read as %s", reading.name, named.name)
    return named.read, named.kind if known else None


def _choose_own(reading: Reading, row: Mapping[str, Any]) -> tuple[Reader, str | None]:
    """Return the reader of columns that the user names, or of Seawall's own."""
    names = reading.columns
    if names.instruction not in row:
        raise DataError(
            f"{reading.name} has no column {names.instruction!r} (its columns: {join_names(row)}).{suggest(row)}"
        )
    if names.response not in row:
        if names.response != Columns().response:
            raise DataError(
                f"{reading.name} has no column {names.response!r} (its columns: {join_names(row)}).{suggest(row)}"
            )
        return read_requests, None
    return read_own, "harmful"


def find_preset(row: Mapping[str, Any]) -> Preset | None:
    """Return the first preset that fits a row. None means Seawall's own format, or unknown columns."""
    if {*OWN, "kind"} <= set(row):
        return None
    fitting = next((preset for preset in PRESETS.values() if preset.fits(row)), None)
    if fitting and fitting.name in GENERAL and all(isinstance(row.get(name), str) for name in OWN):
        return None
    return None if fitting and fitting.name == "requests" and find_answer_columns(row) else fitting


def suggest(row: Iterable[str]) -> str:
    """Return a sentence that says how to name the columns of a row, or which preset fits."""
    row = list(row)
    requests, answers = find_request_columns(row), find_answer_columns(row)
    if not requests:
        return " Name the column of the requests with --columns.instruction, and that of the safe answers with --columns.response."
    flags = f" Name its columns: --columns.instruction {_quote(requests[0])}"
    if len(answers) == 1:
        return (
            f"{flags} --columns.response {_quote(answers[0])}, if that is the safe answer. For requests alone, give "
            "--preset requests."
        )
    if answers:
        return f"{flags} --columns.response ..., with one of {join_names(answers)}; or give --preset requests."
    return f"{flags}."


def _quote(name: str) -> str:
    return f'"{name}"' if " " in name else name


def read_own(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read Seawall's own format, under any column names. A faulty line is an error."""
    names = reading.columns
    own = names == Columns()
    seen: set[str] = set()
    for number, row in rows:
        instruction = reading.require_text(row, names.instruction, number)
        response = reading.require_text(row, names.response, number)
        rejected = reading.read_text(row, names.rejected, number)
        key = reading.read_id(row, number)
        if key in seen:
            raise DataError(
                f"{reading.place(number)}: the id {key!r} occurs twice. Give every row its own id, or leave out all ids."
            )
        seen.add(key)
        source = row if own else None
        yield reading.make_record(key, number, row, instruction, response, rejected, source=source)
