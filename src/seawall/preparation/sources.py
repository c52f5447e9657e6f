"""Reading of text safety data: a file, a folder, or a dataset of the Hugging Face hub.

Plain JSON Lines files are read here, so that an error names the line. `datasets` reads all others: local files as a
stream, datasets of the hub through its cache. `presets` knows what the columns mean.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from seawall.errors import DataError
from seawall.store.files import read_jsonl

FORMATS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}
"""Ending of a file -> name of its format for `datasets`."""
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
T = TypeVar("T")


def read_rows(
    source: str | Path, subset: str | None = None, split: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row) for each row of a source. Numbers start at 1; those of JSON Lines files are line numbers.

    Args:
        source: JSON Lines, JSON, CSV or Parquet file (also with gzip), a folder of them, a folder written by
            `save_to_disk`, or a dataset id of the hub.
        subset: Configuration or subfolder of a folder or dataset.
        split: Split of a folder or dataset. None uses `train`, or the only split.

    Raises:
        DataError: The source does not exist, has an unknown format or cannot be read.
    """
    path = Path(source)
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # its errors are raised below, and need no second message
    if path.is_dir():
        return enumerate(_read_folder(path, subset, split), 1)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = ([""] + (suffixes[:-1] if zipped else suffixes))[-1]
    if suffix in (".jsonl", ".ndjson") and not zipped:
        return read_jsonl(path)
    if path.is_file():
        if suffix not in FORMATS:
            raise DataError(
                f"{source} has an unknown format. Give a JSON Lines, JSON, CSV or Parquet file ({', '.join(FORMATS)})."
            )
        options = {"sep": "\t"} if suffix == ".tsv" else {}
        return enumerate(_stream_file(path, FORMATS[suffix], **options), 1)
    if suffix in FORMATS or not _HUB_ID.fullmatch(str(source)):
        raise DataError(f"There is no file {source}. Give a file, a folder, or a dataset id of the hub.")
    return enumerate(_load_dataset(source, subset, split), 1)


def _read_folder(folder: Path, subset: str | None, split: str | None) -> Iterator[dict[str, Any]]:
    """Return the rows of a folder."""
    import datasets

    if any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        saved = _explain_errors(folder, lambda: datasets.load_from_disk(str(folder)))
        return _choose_split(folder, saved, split)
    formats = {FORMATS[path.suffix.lower()] for path in folder.rglob("*") if path.suffix.lower() in FORMATS}
    if len(formats) > 1:  # `datasets` would silently use the most common one
        raise DataError(
            f"{folder} contains files of several formats ({', '.join(sorted(formats))}). Give the files one by one."
        )
    return _load_dataset(folder, subset, split, streaming=True)


def _load_dataset(
    source: str | Path, subset: str | None, split: str | None, streaming: bool = False
) -> Iterator[dict[str, Any]]:
    """Return the rows of a folder of files or of a dataset of the hub."""
    import datasets

    options = _find_subset(source, subset) if subset else {}
    found = _explain_errors(source, lambda: datasets.load_dataset(str(source), **options, streaming=streaming))
    return _choose_split(source, found, split)


def _choose_split(source: str | Path, found: Any, split: str | None) -> Iterator[dict[str, Any]]:
    """Return the rows of the chosen split of a loaded dataset, which may have no splits."""
    if not hasattr(found, "keys"):
        return _iterate(source, found)
    splits = list(found)
    name = split or ("train" if "train" in splits else splits[0])
    if name not in splits or (not split and name != "train" and len(splits) > 1):
        raise DataError(f"{source} has the splits {', '.join(splits)}. Choose one of them with --split.")
    return _iterate(source, found[name])


def _find_subset(source: str | Path, subset: str) -> dict[str, str]:
    """Return the argument of `load_dataset` for a subset: a configuration, or else a folder of files."""
    import datasets

    names = _explain_errors(source, lambda: datasets.get_dataset_config_names(str(source)))
    return {"name": subset} if subset in names else {"data_dir": subset}


def _stream_file(path: Path, file_format: str, **options: Any) -> Iterator[dict[str, Any]]:
    import datasets

    def load() -> Any:
        return datasets.load_dataset(file_format, data_files=str(path), split="train", streaming=True, **options)

    return _iterate(path, _explain_errors(path, load))


def _iterate(source: str | Path, found: Any) -> Iterator[dict[str, Any]]:
    rows = iter(found)
    while (row := _explain_errors(source, lambda: next(rows, None))) is not None:
        yield row


def _explain_errors(source: str | Path, load: Callable[[], T]) -> T:
    """Return the result of `load`. An error of `datasets` becomes a `DataError`."""
    try:
        return load()
    except Exception as error:  # of pandas, pyarrow, fsspec and huggingface_hub, with no common base class
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(
            f"{source} cannot be read ({reason}). Give a JSON Lines, JSON, CSV or Parquet file, a folder of them, or "
            "the id of a dataset that is on the hub or in this machine's cache. Choose its subset with --subset."
        ) from error
