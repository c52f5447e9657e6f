"""What the readers of this folder share: finding published files, and reading JSON lists with the fields that they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_image, find_root
from seawall.store.files import read_json
from seawall.store.items import Item


def find_file(data: Path, names: Sequence[str], page: str, *, gated: bool = False) -> Path:
    """Return the first of the published files that there is.

    Args:
        data: Folder that the user gave; the file may be up to two folders below it.
        names: Names that the file has had, newest first, relative to the set's folder.
        page: Where the set is published.
        gated: Whether its conditions must be accepted there first.

    Raises:
        DataError: There is none of them.
    """
    root = find_root(data, names)
    if found := next((root / name for name in names if (root / name).is_file()), None):
        return found
    ask = "accept its conditions there, and give" if gated else "and give"
    raise DataError(
        f"{data} has none of the files {', '.join(names)}. Download the set from {page}, {ask} its folder as it is."
    )


def read_list(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of a JSON list.

    Args:
        path: The file.
        fields: Fields that each object must fill.

    Raises:
        DataError: It is no such list, or a field is missing or empty.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} is not a JSON list of objects, as the set is published. Download it again.")
    for number, row in enumerate(rows):
        require_fields(path, f"item {number}", row, fields)
    return rows


def require_fields(path: Path, name: str, row: dict[str, Any], fields: Sequence[str]) -> None:
    """Check that fields are there and not empty.

    Args:
        path: The file, for the message.
        name: Name of the object in it.
        row: The object.
        fields: Fields that it must fill.

    Raises:
        DataError: A field is missing or empty.
    """
    if missing := [field for field in fields if row.get(field) in (None, "", [])]:
        has = ", ".join(map(str, row)) or "nothing"
        raise DataError(
            f"{path}, {name}, has no {', '.join(missing)}; it has {has}. Another version of the set may have another layout."
        )


def locate(path: Path, folders: Sequence[Path], name: str) -> Path:
    """Return the file of a medium that a list names.

    Args:
        path: The list, for the message.
        folders: Folders where it may be. The first one counts if it is in none.
        name: Its name in the list.

    Raises:
        DataError: The name leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{path} names the medium {name!r}, which leads out of its folder. Do not trust this file.")
    found = (find_image(folder / name) for folder in folders)
    return next((medium for medium in found if medium.is_file()), folders[0] / name)


def require_unique(path: Path, items: Sequence[Item]) -> None:
    """Check that no id is there twice.

    Raises:
        DataError: One is.
    """
    if len({item.id for item in items}) < len(items):
        raise DataError(f"{path} contains an id more than once. Download it again.")
