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

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TORCH_WRITE_ERRORS = ("iostream error", "inline_container.cc", "PytorchStreamWriter failed")
"""Parts of the messages of `torch.save`, seen in torch 2.13, for a file that cannot be written to its end."""


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


class HalfCharacter(ValueError):
    """A JSON text contains half a character (a lone surrogate), which no file can contain."""


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        json.JSONDecodeError: It is not JSON.
        HalfCharacter: See there.
    """
    value = json.loads(text)
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise HalfCharacter(f"\\u{ord(error.object[error.start]):04x} is half a character") from error
    return value


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (ValueError, RecursionError) as error:
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
        text = path.read_text(encoding="utf-8-sig")
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
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", error)
            raise DataError(f"{path}, line {number}, is not JSON ({reason}). Correct or delete the line.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}, is a JSON {type(value).__name__}, not an object.")
        yield number, value


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object per line, from dicts or from dataclasses. The file is complete or absent."""
    write_durably(path, "".join(json.dumps(_to_object(row), ensure_ascii=False) + "\n" for row in rows).encode())


def open_private(path: str, flags: int) -> int:
    """Open a file for `open`. If it is new, only its owner can read it."""
    return os.open(path, flags, 0o600)


def write_durably(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file that is complete or absent, even if the process or the machine stops.

    Args:
        path: The file.
        data: Its content.
        private: Whether only its owner can read it. False leaves this to the umask.

    Raises:
        ArtifactError: The disk is full or cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with explain_failed_write(path):
        try:
            with open(partial, "wb", opener=open_private if private else None) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


@contextlib.contextmanager
def explain_failed_write(path: Path) -> Iterator[None]:
    """Turn the error of a disk that is full or cannot be written, raised while `path` is written, into one message.

    Raises:
        ArtifactError: The disk is full, or the path cannot be written.
    """
    try:
        yield
    except Exception as error:
        if is_full_disk(error):
            raise ArtifactError(
                f"{path} cannot be written: {_find_reason(error)}. Finished work is kept. Free some space and rerun the "
                "command."
            ) from error
        if isinstance(error, OSError) and _is_refusal(error, path):
            raise ArtifactError(
                f"{path} cannot be written: {error.strerror}. Change the permissions, or give another --out."
            ) from error
        raise


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error means that the disk or a quota is full. torch and safetensors have errors of their own."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(words in str(error) for words in ("No space left on device", "os error 28", "os error 122")) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_WRITE_ERRORS)
    )


def _is_refusal(error: OSError, path: Path) -> bool:
    """Return whether an error means that `path`, a file in it or its folder cannot be written, not another one."""
    name = str(error.filename or path)
    refused = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    return refused and (name.startswith(str(path)) or str(path).startswith(name))


def _find_reason(error: BaseException) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else os.strerror(errno.ENOSPC)


def _to_object(row: Any) -> Any:
    return row.to_json() if hasattr(row, "to_json") else to_plain(row)
