"""Reading of benchmark files: folders and zip files as downloaded. Errors name every file that is missing."""

from __future__ import annotations

import csv
import shutil
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from seawall.errors import ConfigError, DataError
from seawall.store.caches import make_private
from seawall.store.files import explain_failed_write, hash_text
from seawall.store.items import Item

MAX_BYTES, MAX_RATIO = 4 * 2**30, 50
"""A zip file whose content is larger than both, in bytes and relative to the file, is not unpacked. Media hardly shrink
in a zip file."""
NAMED = 5
"""Files of a kind that an error names. The others are counted."""
IMAGE_ENDINGS = (".jpg", ".png", ".webp", ".jpeg")


def open_data(data: Path) -> Path:
    """Return the folder of a benchmark. A zip file is unpacked into the user's cache, once.

    Raises:
        DataError: `data` is neither a folder nor a zip file, or the zip file is broken or would write outside its
        folder.
    """
    if data.is_dir():
        return data
    if not data.exists():
        raise DataError(
            f"There is no folder or zip file {data}. Give the benchmark as downloaded (docs/how_to/benchmarks.md)."
        )
    if not zipfile.is_zipfile(data):
        if data.suffix.lower() == ".zip":
            raise DataError(f"{data} is a damaged zip file, or an incomplete download. Download it again.")
        kind = f"a {data.suffix[1:].upper()} file" if data.suffix else "a file"
        raise DataError(
            f"{data} is {kind}, not the folder of a benchmark. Give the folder as downloaded, or its zip file "
            f"(docs/how_to/benchmarks.md). If the file is part of the download, try --data {data.parent}."
        )
    return _unpack(data)


def _unpack(file: Path) -> Path:
    """Return the folder in the cache that holds the content of a zip file."""
    from platformdirs import user_cache_path

    state = file.stat()
    folder = make_private(user_cache_path("seawall") / "benchmarks") / hash_text(
        f"{file.name} {state.st_size} {state.st_mtime_ns}"
    )
    if folder.is_dir():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(file) as archive, explain_failed_write(partial):
            for entry in archive.infolist():
                _check_entry(file, entry)
            _check_size(file, archive.infolist(), partial.parent)
            archive.extractall(partial)
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"{file} cannot be unpacked ({error}). Download it again.") from error
    partial.rename(folder)
    return folder


def _check_entry(file: Path, entry: zipfile.ZipInfo) -> None:
    """Raise DataError if an entry is a link or its name leads out of the folder."""
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(entry.external_attr >> 16)
    if linked or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        fault = "is a link" if linked else "leads out of the folder"
        raise DataError(
            f"{file} contains {entry.filename!r}, which {fault}. Nothing was unpacked. Do not trust this file."
        )


def _check_size(file: Path, entries: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    """Raise DataError if a zip file is a bomb, or its content does not fit on the disk."""
    size, packed = sum(entry.file_size for entry in entries), file.stat().st_size
    if size > MAX_BYTES and size > MAX_RATIO * packed:
        raise DataError(
            f"{file} would grow from {packed:,} to {size:,} bytes. Nothing was unpacked. Do not trust this file; if you "
            "do, unpack it yourself and give the folder."
        )
    if size > (free := shutil.disk_usage(folder).free):
        raise DataError(
            f"{file} takes {size:,} bytes unpacked, and {folder} has {free:,} free. Free some space, or set "
            "XDG_CACHE_HOME to another disk."
        )


def find_root(data: Path, marks: Sequence[str]) -> Path:
    """Return the folder that contains most of the given paths: `data`, or a folder at most two levels below it.

    Downloads often put the benchmark into a folder of their own.
    """
    folders = [data, *sorted(data.glob("*/")), *sorted(data.glob("*/*/"))]
    return max(folders, key=lambda folder: sum((folder / mark).exists() for mark in marks))


def select_names(kind: str, available: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the wanted names in the order of the available ones. None wants all.

    Args:
        kind: What the names are, in the plural, for the error message.
        available: The names that the benchmark has.
        wanted: The names that the user asked for.

    Raises:
        ConfigError: A wanted name is not available.
    """
    if unknown := [name for name in wanted or () if name not in available]:
        raise ConfigError(f"There are no {kind} {', '.join(unknown)}. Choose from {', '.join(available)}.")
    return [name for name in available if wanted is None or name in wanted]


def require_media(root: Path, items: Iterable[Item], advice: str) -> None:
    """Check that every medium exists and is not empty.

    Args:
        root: Folder that all media are below.
        items: Items of the benchmark.
        advice: Last sentence of the error: what the user can do.

    Raises:
        DataError: Media are missing or empty. The message names them by folder.
    """
    missing, empty = defaultdict(list), defaultdict(list)
    total: dict[str, int] = defaultdict(int)
    for medium in {item.medium for item in items if item.medium}:
        folder = medium.parent.relative_to(root).as_posix()
        total[folder] += 1
        if not medium.is_file():
            missing[folder].append(medium.name)
        elif not medium.stat().st_size:
            empty[folder].append(medium.name)
    faults = [
        f"{folder}: {len(names)} of {total[folder]} {fault} ({name_some(names)})"
        for fault, found in (("missing", missing), ("empty", empty))
        for folder, names in sorted(found.items())
    ]
    if faults:
        raise DataError(f"Media are missing from {root}.\n" + "\n".join(faults) + f"\n{advice}")


def name_some(names: Iterable[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    names = sorted(names, key=lambda name: (len(name), name))
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def find_image(expected: Path) -> Path:
    """Return an image as the benchmark names it, or the one of this name with another common ending.

    If there is none, return the name of the benchmark.
    """
    stem = expected.with_suffix("") if expected.suffix.lower() in IMAGE_ENDINGS else expected  # an id may have dots
    candidates = [expected, *(stem.with_name(f"{stem.name}{ending}") for ending in IMAGE_ENDINGS)]
    return next((path for path in candidates if path.is_file()), expected)


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header.

    Args:
        path: The file.
        columns: Columns that every row must fill.

    Raises:
        DataError: The file cannot be read or has no rows, or a column or a value is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Give the benchmark as downloaded.") from error
    if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
        found = ", ".join(reader.fieldnames or ["nothing"])
        raise DataError(f"{path} has no column {', '.join(missing)}. It has {found}. Download it again.")
    for number, row in enumerate(rows, 2):
        if empty := [column for column in columns if not (row[column] or "").strip()]:
            raise DataError(f"{path}, row {number}, has no value for {', '.join(empty)}. Download it again.")
    if not rows:
        raise DataError(f"{path} has no rows. Download it again.")
    return rows
