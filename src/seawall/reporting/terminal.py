"""Results on standard output: JSON, and tables of text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

PIPE_WIDTH = 1_000
"""Columns of a table that is written to a file or a pipe. No row wraps, so that `grep` finds whole rows."""


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


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
        table.add_row(*map(str, row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False).print(table)
