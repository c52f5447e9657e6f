"""JSON and JSON Lines in the shapes that people store records in: a list, an object of records, records under a key."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.store.files import HalfCharacter, parse_json
from seawall.store.formats.text import read_text

Row = tuple[int, dict[str, Any]]
"""Number from 1 on, and the columns."""
LINES = {".jsonl", ".ndjson"}
"""Endings of JSON Lines files."""
TEXT = "instruction"
"""Column of a record that is only a text."""


def read_objects(path: Path, encoding: str | None = None, split: str | None = None) -> Iterator[Row]:
    """Return (number, object) for each record of a JSON or JSON Lines file.

    The content decides which of the two it is. Numbers are those of lines in JSON Lines.

    Args:
        path: The file.
        encoding: See `read_text`.
        split: Key of the records, where a JSON object has several lists of records.

    Raises:
        DataError: The file cannot be read, or its content is not a collection of records.
    """
    text = read_text(path, encoding)
    start = text.lstrip()[:1]
    if start not in ("{", "[", '"'):
        found = text.strip()[:60].split("\n")[0]
        raise DataError(f"{path} is not JSON: it begins with {found!r}. Download or export the file again.")
    first, _, rest = text.strip().partition("\n")
    one_line = not rest.strip() and not LINES & {suffix.lower() for suffix in path.suffixes}
    if start == "[" or one_line or not _is_json(first):
        try:
            return enumerate(_find_records(path, parse_json(text), split), 1)
        except HalfCharacter as error:
            raise DataError(f"{path} is not valid JSON ({error}). Correct or remove that text.") from error
        except json.JSONDecodeError as error:
            if start == "[" or not _looks_like_lines(text):
                where = f"line {error.lineno}, column {error.colno}"
                raise DataError(
                    f"{path} is not valid JSON ({error.msg}, {where}). It may be cut off: copy or export it again."
                ) from error
        except RecursionError as error:
            raise DataError(f"{path} is nested too deeply to be records. Give a list of records.") from error
    return _read_lines(path, text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _looks_like_lines(text: str) -> bool:
    """Return whether most lines are JSON objects, so that a fault is one of a line."""
    lines = [line.strip() for line in text.split("\n", 20)[:20] if line.strip()]
    return sum(line[0] == "{" and line[-1] == "}" for line in lines) * 2 > len(lines) or len(lines) == 1


def _read_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply" if isinstance(error, RecursionError) else error)
            raise DataError(f"{path}, line {number}, is not JSON ({reason}). Correct or delete the line.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}, is {describe_value(value)}, not an object.")
        yield number, value


def _find_records(path: Path, value: Any, split: str | None) -> list[dict[str, Any]]:
    """Return the records of a JSON value."""
    if isinstance(value, list):
        return _check_list(path, value)
    if not isinstance(value, dict) or not value:
        raise DataError(f"{path} holds {describe_value(value)}, not a list of records.")
    if any(map(_is_conversation, value.values())):
        return [value]
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list) and _has_only(inner, dict)}
    if len(lists) == 1 or split in lists:
        return _check_list(path, lists[split if split in lists else next(iter(lists))])
    if lists:
        raise DataError(f"{path} holds several lists of records: {join_names(lists)}. Choose one of them with --split.")
    if _has_only(value.values(), list):
        if len(value) == 1:  # a list of texts under a key
            return _check_list(path, next(iter(value.values())))
        raise DataError(
            f"{path} holds one list for each column ({join_names(value)}). Store one object for each record."
        )
    if _has_only(value.values(), dict):
        objects = list(value.values())
        if set(objects[0]) >= {"0", "1"}:
            raise DataError(
                f"{path} holds one object for each column ({join_names(value)}). Store one object for each record."
            )
        if len(value) == 1 and _has_only(objects[0].values(), dict):  # {"data": {"a1": {...}, "a2": {...}}}
            return _find_records(path, objects[0], split)
        return [{"id": key, **inner} for key, inner in value.items()]
    return [value]


def _check_list(path: Path, values: list[Any]) -> list[dict[str, Any]]:
    if _has_only(values, str):
        return [{TEXT: value} for value in values]
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise DataError(f"{path}, record {number}, is {describe_value(value)}, not an object.")
    return values


def _has_only(values: Collection[Any], wanted: type) -> bool:
    return bool(values) and all(isinstance(value, wanted) for value in values)


def _is_conversation(value: Any) -> bool:
    """Return whether a value is a message or a list of messages."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool({"role", "from"} & set(first)) and bool({"content", "value"} & set(first))


def describe_value(value: Any) -> str:
    """Return what a value is, in a few words, for an error message."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text" if not value.strip() else f"the text {_shorten(value)}"
    if isinstance(value, bool | int | float):
        return f"the {'truth value' if isinstance(value, bool) else 'number'} {json.dumps(value)}"
    name = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__
    return f"{name} ({_shorten(str(value))})"


def join_names(names: Any) -> str:
    """Return the names of columns or keys, at most a dozen of them."""
    some = [" ".join(str(name).split()) for name in names]
    shown = ", ".join(name if len(name) <= 60 else f"{name[:57]}..." for name in some[:12])
    return f"{shown} and {len(some) - 12} more" if len(some) > 12 else shown or "none"


def _shorten(text: str) -> str:
    text = repr(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
