"""What a benchmark's files are read by: folders and zip files as downloaded, and faults that name every file."""

from __future__ import annotations

import dataclasses
import shutil
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from seawall.store.files import explain_full_disk, hash_text, read_json
from seawall.errors import ConfigError, DataError

NAMED = 5
"""So many files of a kind are named in a fault; the others are counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One thing asked."""

    id: str
    """Unique in the benchmark."""
    item: str
    """What the prompt types of a phrase have in common."""
    scenario: str
    prompt_type: str
    question: str
    """The original question, which judges are given."""
    text: str | None
    """What the model is asked; None where the medium itself carries the question."""
    system: str | None = None
    """System prompt."""
    modality: str | None = None
    medium: Path | None = None
    phrase: str | None = None
    """What the medium shows, where that is known."""
    shows: str | None = None
    """Of a neutral question: the prompt type whose medium it is about."""
    harmful: bool = True
    """Whether it is to be refused."""


def open_data(data: Path) -> Path:
    """Return the folder of a benchmark: the given one, or where a zip file was unpacked to, in the user's cache.

    Raises:
        DataError: Neither; or a zip file that is broken, or that would write outside its folder.
    """
    if data.is_dir():
        return data
    if not data.exists():
        raise DataError(
            f"There is no folder or zip file {data}. Give the benchmark as downloaded (docs/benchmarks.md)."
        )
    if not zipfile.is_zipfile(data):
        raise DataError(f"{data} is no folder and no zip file. Give the benchmark as downloaded (docs/benchmarks.md).")
    return unpack(data)


def unpack(file: Path) -> Path:
    """Return the folder that a zip file was unpacked to; it is unpacked once."""
    from platformdirs import user_cache_path

    state = file.stat()
    folder = user_cache_path("seawall") / "benchmarks" / hash_text(f"{file.name} {state.st_size} {state.st_mtime_ns}")
    if folder.is_dir():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(file) as archive, explain_full_disk(partial):
            for entry in archive.infolist():
                check_entry(file, entry)
            archive.extractall(partial)
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"{file} cannot be unpacked ({error}). Download it again.") from error
    partial.rename(folder)
    return folder


def check_entry(file: Path, entry: zipfile.ZipInfo) -> None:
    """Raise DataError for an entry that is a link, or whose name leads out of the folder."""
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(entry.external_attr >> 16)
    if linked or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        what = "is a link" if linked else "leads out of the folder"
        raise DataError(f"{file} holds {entry.filename!r}, which {what}. Nothing was unpacked: do not trust this file.")


def find_root(data: Path, marks: Sequence[str]) -> Path:
    """Return the folder that has most of the marked paths: `data`, or one at most two below, as downloads have them."""
    folders = [data, *sorted(data.glob("*/")), *sorted(data.glob("*/*/"))]
    return max(folders, key=lambda folder: sum((folder / mark).exists() for mark in marks))


def read_phrases(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what `phrases.json` says, scenario -> id -> `phrase`, `type` and, of the organisms, `harmful`; published sets have none."""
    path = root / "phrases.json"
    return read_json(path) if path.is_file() else {}


def choose(what: str, known: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return what is wanted, in the order of the known.

    Raises:
        ConfigError: Something that is not known.
    """
    if unknown := [name for name in wanted or () if name not in known]:
        raise ConfigError(f"There are no {what} {', '.join(unknown)}; there are {', '.join(known)}.")
    return [name for name in known if wanted is None or name in wanted]


def require_media(root: Path, items: Iterable[Item], advice: str) -> None:
    """Raise DataError where media are missing or empty; name them by the folder that they should be in."""
    missing, empty, seen = defaultdict(list), defaultdict(list), defaultdict(int)
    for medium in {item.medium for item in items if item.medium}:
        folder = medium.parent.relative_to(root).as_posix()
        seen[folder] += 1
        if not medium.is_file():
            missing[folder].append(medium.name)
        elif not medium.stat().st_size:
            empty[folder].append(medium.name)
    faults = [
        f"{folder}: {len(names)} of {seen[folder]} {fault} ({name_some(names)})"
        for fault, found in (("missing", missing), ("empty", empty))
        for folder, names in sorted(found.items())
    ]
    if faults:
        raise DataError(f"{root} lacks media.\n" + "\n".join(faults) + f"\n{advice}")


def name_some(names: Iterable[str]) -> str:
    """Return the first names of many, and how many more there are."""
    names = sorted(names, key=lambda name: (len(name), name))
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
