"""Text of a file in any common encoding. A file that holds no text is named for what it is."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from seawall.errors import DataError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_UNPACK = "Unpack it, and give the file in it"
_CONTENTS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the data. Run `git lfs pull` where it lies"),
    (b"PK\x03\x04", f"a ZIP archive or an Excel workbook. {_UNPACK}, or save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", f"compressed with zstd. {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"compressed with xz. {_UNPACK}"),
    (b"BZh", f"compressed with bzip2. {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive. {_UNPACK}"),
    (b"PAR1", "a Parquet file. Give it the ending .parquet"),
    (b"ARROW1", "an Arrow file. Give the folder that `save_to_disk` wrote"),
    (b"%PDF", "a PDF file. Give a text file"),
)
_MARKUP = (
    (b"<!doctype html", "an HTML page, such as an error or login page of a server. Download the file again"),
    (b"<html", "an HTML page, such as an error or login page of a server. Download the file again"),
    (b"<?xml", "an XML file, such as an error message of a server. Download the file again"),
)
_SAMPLE = 4096
"""Bytes at the beginning that tell whether a file holds text."""


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a file, which may be compressed with gzip.

    UTF-8, and UTF-16 and UTF-32 with or without a byte order mark, are recognised. No other encoding can be told
    from its neighbours, so it has to be named.

    Args:
        path: The file.
        encoding: Python's name of the encoding. None recognises it.

    Raises:
        DataError: The file is missing, unreadable or empty, holds no text, or has another encoding.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Give the path of a file.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is compressed with gzip, but damaged or cut off. Copy it again.") from error
    text = _decode(path, data, encoding)
    if not text.strip():
        raise DataError(f"{path} is empty. Give a file with records.")
    return text


def _decode(path: Path, data: bytes, encoding: str | None) -> str:
    start = data[:_SAMPLE].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    contents = [what for mark, what in _CONTENTS if data.startswith(mark)]
    if contents := contents or [what for mark, what in _MARKUP if start.startswith(mark)]:
        raise DataError(f"{path} is {contents[0]}.")
    guess = encoding or next((name for mark, name in _BOMS if data.startswith(mark)), None) or _guess_utf16(data)
    if guess is None and b"\0" in data[:_SAMPLE]:
        raise DataError(f"{path} is a binary file, not text. Give a JSON Lines, JSON, CSV, TSV or text file.")
    try:
        return data.decode(guess or "utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        advice = (
            f"Give another --encoding than {encoding}."
            if encoding
            else "Name its encoding with --encoding, such as cp1252 for files of Western European Windows programs."
        )
        raise DataError(
            f"{path} is not {guess or 'UTF-8'}: line {line} has the byte 0x{data[error.start]:02x}. {advice}"
        ) from error


def _guess_utf16(data: bytes) -> str | None:
    """Return the encoding of UTF-16 text without a byte order mark. Half of the bytes of English text are zero."""
    low, high = data[:_SAMPLE:2], data[1:_SAMPLE:2]
    if not high:
        return None
    if high.count(0) > 0.8 * len(high) and low.count(0) == 0:
        return "utf-16-le"
    return "utf-16-be" if low.count(0) > 0.8 * len(low) and high.count(0) == 0 else None
