"""Rows of CSV, TSV and text files. All values stay texts: `007` and `NA` are what they say."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.store.formats.objects import TEXT, join_names
from seawall.store.formats.text import read_text

Row = tuple[int, dict[str, Any]]
KNOWN = {
    *("instruction", "response", "rejected", "kind", "id", "goal", "target", "behavior", "prompt", "question"),
    *("answer", "output", "input", "chosen", "label", "category", "request", "query", "forbidden_prompt", "text"),
}
"""Names of columns that a header is recognised by."""


def read_lines(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Yield a request for each line of a text file that is not blank. Numbers are those of lines."""
    for number, line in enumerate(read_text(path, encoding).splitlines(), 1):
        if line.strip():
            yield number, {TEXT: line.strip()}


def read_table(path: Path, encoding: str | None = None, *, tabs: bool = False, header: bool = True) -> Iterator[Row]:
    """Yield (number, columns) for each row of a CSV or TSV file. The row below the header is row 1.

    Args:
        path: The file.
        encoding: See `read_text`.
        tabs: Whether tabs separate the columns. Otherwise commas do, or semicolons where the header has no comma.
        header: Whether the first row has the names of the columns. Otherwise a single column is `instruction`, and
            several columns are numbered from 1.

    Raises:
        DataError: The file cannot be read, has no column names, or a row has too many columns.
    """
    text = read_text(path, encoding)
    csv.field_size_limit(sys.maxsize)
    delimiter = "\t" if tabs else _find_delimiter(text)
    rows: Iterator[list[str]] = (
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)
    )
    number = 0
    try:
        first = next(rows, [])
        if header:
            names = [name.strip() for name in first]
            _check_header(path, names)
        else:
            names = [TEXT] if len(first) == 1 else [str(place) for place in range(1, len(first) + 1)]
            rows = itertools.chain([first], rows)
        for number, row in enumerate(rows, 1):
            if len(row) > len(names):
                raise DataError(
                    f"{path}, row {number}, has {len(row)} columns, but the first row has {len(names)}. Put texts that "
                    f"contain {delimiter!r} into double quotes."
                )
            yield number, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise DataError(
            f"{path} is not a valid table after row {number} ({error}). Put texts that contain quotes or "
            "line breaks into double quotes, and double the quotes in them."
        ) from error


def _find_delimiter(text: str) -> str:
    """Return what separates the columns of the first line."""
    line = next(line for line in text.splitlines() if line.strip())
    if "," in line:
        return ","
    return next((mark for mark in (";", "\t") if mark in line), ",")


def _check_header(path: Path, names: list[str]) -> None:
    """Raise if the first row is data, or names a column twice."""
    known = KNOWN & {name.lower() for name in names}
    sentences = [name for name in names if len(name.split()) > 3 or name.endswith(("?", ".", "!"))]
    if sentences and not known:
        raise DataError(
            f"The first row of {path} is not a header: it has {sentences[0][:60]!r} as a column name. If the file has no "
            "header, give --no-header."
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise DataError(f"{path} names the column {join_names(twice)} twice. Rename one of them.")
