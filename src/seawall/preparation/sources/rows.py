"""Reading of sources: a file, a folder, or a dataset of the Hugging Face Hub.

Text files are read here, so that values keep their types and errors name the place. PyArrow reads Parquet. `datasets`
finds the files of a folder, and reads saved datasets and those of the Hub.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seawall.errors import DataError
from seawall.preparation.sources.source import Source
from seawall.preparation.sources.tables import Row, read_lines, read_table
from seawall.store.formats.objects import read_objects
from seawall.store.formats.text import read_text

FORMATS = {
    **{".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"},
    **{".csv": "csv", ".tsv": "csv", ".txt": "text"},
}
"""Ending of a file -> its format, as `datasets` names it."""
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a source."""

    unit: str
    """What a number counts: `line`, or `row`."""
    rows: Iterator[Row]
    """Number from 1 on, and the columns."""


def read_rows(source: Source) -> Rows:
    """Return the rows of a source.

    Args:
        source: JSON Lines, JSON, CSV, TSV, text or Parquet file (text also with gzip), a folder of them, a folder
            written by `save_to_disk`, or a dataset id of the Hub.

    Raises:
        DataError: The source does not exist, has an unknown format or cannot be read.
    """
    path = Path(source.path)
    for name in ("datasets", "huggingface_hub.repocard"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised below, and need no second message
    if path.is_dir():
        return Rows("row", _number(_read_folder(path, source)))
    suffix = _find_suffix(path)
    if path.is_file():
        if suffix not in FORMATS:
            raise DataError(
                f"{source} has an unknown format. Give a JSON Lines, JSON, CSV, TSV, text or Parquet file "
                f"({', '.join(FORMATS)})."
            )
        unit = "line" if suffix in (".jsonl", ".ndjson", ".txt") else "row"
        return Rows(unit, _read_file(path, source))
    if suffix in FORMATS or not _HUB_ID.fullmatch(source.path):
        raise DataError(f"There is no file {source}. Give a file, a folder, or a dataset id of the hub.")
    return Rows("row", _number(_load_dataset(source.path, source)))


def _find_suffix(path: Path) -> str:
    """Return the ending that tells the format, in lower case and without `.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return ([""] + (suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes))[-1]


def _number(rows: Iterator[dict[str, Any]]) -> Iterator[Row]:
    return enumerate(rows, 1)


def _read_file(path: Path, source: Source) -> Iterator[Row]:
    suffix = _find_suffix(path)
    if FORMATS[suffix] == "parquet":
        return _number(_read_parquet(path))
    if FORMATS[suffix] == "json":
        return read_objects(path, source.encoding, source.split)
    if suffix == ".txt":
        return read_lines(path, source.encoding)
    return read_table(path, source.encoding, tabs=suffix == ".tsv", header=source.header is not False)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file. Columns of bytes, such as those of images, are left out."""
    import pyarrow
    import pyarrow.parquet

    try:
        if path.stat().st_size < 1_000:  # a pointer or an error message has another name for what is wrong
            with path.open("rb") as file:
                if file.read(4) != b"PAR1":
                    read_text(path)
        with pyarrow.parquet.ParquetFile(path) as file:
            names = [field.name for field in file.schema_arrow if not _has_bytes(field.type)]
            for batch in file.iter_batches(batch_size=1_000, columns=names):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise _explain(path, error) from error


def _has_bytes(kind: Any) -> bool:
    """Return whether values of an Arrow type contain bytes."""
    import pyarrow.types

    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return True
    return any(_has_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _read_folder(folder: Path, source: Source) -> Iterator[dict[str, Any]]:
    """Return the rows of a folder."""
    import datasets

    if any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        saved = _explain_errors(folder, lambda: datasets.load_from_disk(str(folder)))
        return _choose_split(folder, saved, source.split)
    files = [path for path in folder.rglob("*") if path.is_file() and _find_suffix(path) in FORMATS]
    formats = {FORMATS[_find_suffix(path)] for path in files} - {"text"}  # notes and licences beside the data
    if len(formats) > 1:
        raise DataError(
            f"{folder} contains files of several formats ({', '.join(sorted(formats))}). Give the files one by one."
        )
    if capitals := sorted(path.name for path in files if path.suffix != path.suffix.lower()):
        raise DataError(
            f"{folder} has a file with an ending in capitals, {capitals[0]}, which is not found in a folder. Rename it, or "
            "give the files one by one."
        )
    splits = _list_splits(folder, source)
    chosen = _choose(folder, list(splits), source.split)
    files = [Path(name) for name in splits[chosen]]
    return (row for path in files for _, row in _read_file(path, dataclasses.replace(source, split=None)))


def _list_splits(folder: Path, source: Source) -> dict[str, list[str]]:
    """Return split -> files of a folder, as `datasets` divides them by their names."""
    import datasets

    options = _find_subset(folder, source.subset) if source.subset else {}
    found = _explain_errors(folder, lambda: datasets.load_dataset_builder(str(folder), **options))
    splits = {str(name): sorted(map(str, files)) for name, files in (found.config.data_files or {}).items()}
    unknown = [name for files in splits.values() for name in files if _find_suffix(Path(name)) not in FORMATS]
    if unknown or not splits:
        what = f"{unknown[0]}, which has an unknown format" if unknown else "no files with records"
        raise DataError(f"{folder} contains {what}. Give the files one by one ({', '.join(FORMATS)}).")
    return splits


def _load_dataset(name: str, source: Source) -> Iterator[dict[str, Any]]:
    """Return the rows of a dataset of the Hub."""
    import datasets

    options = _find_subset(name, source.subset) if source.subset else {}
    found = _explain_errors(name, lambda: datasets.load_dataset(name, **options, streaming=False))
    return _choose_split(name, found, source.split)


def _choose_split(source: str | Path, found: Any, split: str | None) -> Iterator[dict[str, Any]]:
    """Return the rows of the chosen split of a loaded dataset, which may have no splits."""
    return _iterate(source, found[_choose(source, list(found), split)] if hasattr(found, "keys") else found)


def _choose(source: str | Path, splits: Sequence[str], split: str | None) -> str:
    """Return the name of the chosen split."""
    name = split or ("train" if "train" in splits else splits[0])
    if name not in splits or (not split and name != "train" and len(splits) > 1):
        raise DataError(f"{source} has the splits {', '.join(splits)}. Choose one of them with --split.")
    return name


def _find_subset(source: str | Path, subset: str) -> dict[str, str]:
    """Return the argument of `load_dataset` for a subset: a configuration, or else a folder of files."""
    import datasets

    names = _explain_errors(source, lambda: datasets.get_dataset_config_names(str(source)))
    return {"name": subset} if subset in names else {"data_dir": subset}


def _iterate(source: str | Path, found: Any) -> Iterator[dict[str, Any]]:
    rows = iter(found)
    while (row := _explain_errors(source, lambda: next(rows, None))) is not None:
        yield row


def _explain_errors(source: str | Path, load: Callable[[], T]) -> T:
    """Return the result of `load`. An error of `datasets` becomes a `DataError`."""
    try:
        return load()
    except Exception as error:  # of pandas, pyarrow, fsspec and huggingface_hub, with no common base class
        raise _explain(source, error) from error


def _explain(source: str | Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return DataError(
        f"{source} cannot be read ({reason}). Give a JSON Lines, JSON, CSV, TSV, text or Parquet file, a folder of them, "
        "or the id of a dataset that is on the hub or in this machine's cache. Choose its subset with --subset."
    )
