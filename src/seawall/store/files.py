"""JSON and JSON Lines files, written so that they are complete or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.errors import ArtifactError, DataError


def hash_text(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """Return a short hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def hash_listing(files: Sequence[Path]) -> str:
    """Return a short hash of the names and sizes of files."""
    return hash_text(json.dumps([(path.name, path.stat().st_size) for path in files]))


def locate(name: str | Path) -> str:
    """Return the absolute path of a file or folder that exists, and any other name unchanged."""
    return str(Path(name).resolve()) if Path(name).exists() else str(name)


def to_plain(value: Any) -> Any:
    """Return a dataclass or any other value as JSON reads it back: with dicts, lists, texts and numbers only."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(json.dumps(plain, default=str))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is complete or absent."""
    write_durably(path, (json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n").encode())


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line of a JSON Lines file. Blank lines are skipped.

    Raises:
        DataError: The file is missing, unreadable or empty, or a line is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Give the path of a JSON Lines file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Give a JSON Lines file in UTF-8.") from error
    if not text.strip():
        raise DataError(f"{path} is empty. It needs one JSON object per line.")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}, is not JSON ({error.msg}). Correct or delete the line.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}, is a JSON {type(value).__name__}, not an object.")
        yield number, value


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object per line, from dicts or from dataclasses. The file is complete or absent."""
    write_durably(path, "".join(json.dumps(_to_object(row), ensure_ascii=False) + "\n" for row in rows).encode())


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is complete or absent, even if the process or the machine stops.

    Raises:
        ArtifactError: The disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    with explain_full_disk(path):
        try:
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, raised while `path` is written, into one message.

    Raises:
        ArtifactError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror}. Finished work is kept. Free some space and rerun the command."
        ) from error


def _to_object(row: Any) -> Any:
    return row.to_json() if hasattr(row, "to_json") else to_plain(row)
