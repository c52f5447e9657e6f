"""Results on standard output: JSON, and tables of text."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from seawall.errors import make_printable, strip_controls

PIPE_WIDTH = 1_000
"""Columns of a table that is written to a file or a pipe. No row wraps, so that `grep` finds whole rows."""
_UNPRINTED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON does not escape and that control some terminals."""


def set_up_streams() -> None:
    """Let no character end the program: what the encoding of a terminal or a pipe lacks is written as an escape.

    An unexpected error is printed without secrets.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _print_error


def _print_error(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    print(make_printable("".join(traceback.format_exception(kind, error, place))), end="", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII if the encoding of standard output lacks one of its characters."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, default=str)
    print(_UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def strip_all(value: Any) -> Any:
    """Return a value of JSON whose texts do not control a terminal; see `errors.strip_controls`."""
    if isinstance(value, str):
        return strip_controls(value)
    if isinstance(value, list):
        return [strip_all(item) for item in value]
    if isinstance(value, dict):
        return {strip_all(name): strip_all(item) for name, item in value.items()}
    return value


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table without borders.

    Args:
        rows: Column -> value. All rows have the same columns.
    """
    if not rows:
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in rows[0]), box=None)
    for row in rows:
        table.add_row(*(strip_controls(str(value)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False).print(table)
