"""Where text safety data comes from: a file, a folder, or a set of the Hugging Face hub -> rows.

JSON Lines are read here, so that a fault names its line; all else by `datasets`: local files as a stream, sets of the hub through
its cache. What the columns mean is said in `presets`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seawall.store.files import read_jsonl
from seawall.errors import DataError

FORMATS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def read_rows(source: str | Path, subset: str | None = None, split: str | None = None) -> Iterator[tuple[int, dict]]:
    """Yield (number from 1, row) of a source.

    Args:
        source: A JSON Lines, JSON, CSV or Parquet file (gzip too), a folder of them, one that `save_to_disk` wrote, or a hub id.
        subset: Configuration or subfolder of a folder or hub id.
        split: Split of a folder or hub id; by default `train`, or the only one.

    Raises:
        DataError: Nothing of this name, a format that is not known, or a file that cannot be read.
    """
    path = Path(source)
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # what it raises is said once, below
    if path.is_dir():
        return enumerate(_load_set(path, subset, split), 1)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = (suffixes[:-1] if packed else suffixes)[-1:] or [""]
    if suffix[0] in (".jsonl", ".ndjson") and not packed:
        return read_jsonl(path)
    if path.is_file():
        if suffix[0] not in FORMATS:
            raise DataError(
                f"{source} is of no known format. Give JSON Lines, JSON, CSV or Parquet ({', '.join(FORMATS)})."
            )
        options = {"sep": "\t"} if suffix[0] == ".tsv" else {}
        return enumerate(_stream(source, FORMATS[suffix[0]], data_files=str(path), **options), 1)
    if suffix[0] in FORMATS or not _HUB_ID.fullmatch(str(source)):
        raise DataError(f"There is no file {source}. Give a file, a folder, or the id of a set on the hub.")
    return enumerate(_load_set(source, subset, split), 1)


def _load_set(source: str | Path, subset: str | None, split: str | None) -> Iterator[dict[str, Any]]:
    """Return the rows of a folder (as a stream) or of a hub id (through the cache of `datasets`)."""
    import datasets

    local = isinstance(source, Path)
    kinds = {FORMATS.get(path.suffix.lower()) for path in source.rglob("*")} - {None} if local else set()
    if local and any((source / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        found = _guard(source, lambda: datasets.load_from_disk(str(source)))
    else:
        if len(kinds) > 1:  # `datasets` would take the commoner one and say nothing
            raise DataError(
                f"{source} holds files of several formats ({', '.join(sorted(kinds))}). Name the files themselves."
            )
        which = _find_subset(source, subset) if subset else {}
        found = _guard(source, lambda: datasets.load_dataset(str(source), **which, streaming=local))
    if not hasattr(found, "keys"):
        return _rows(source, found)
    splits = list(found)
    name = split or ("train" if "train" in splits else splits[0])
    if name not in splits or (not split and name != "train" and len(splits) > 1):
        raise DataError(f"{source} has the splits {', '.join(splits)}. Give one of them by --split.")
    return _rows(source, found[name])


def _find_subset(source: str | Path, subset: str) -> dict[str, str]:
    """Return how `load_dataset` names a subset: a configuration, else a folder of files."""
    import datasets

    names = _guard(source, lambda: datasets.get_dataset_config_names(str(source)))
    return {"name": subset} if subset in names else {"data_dir": subset}


def _stream(source: str | Path, kind: str, **options: Any) -> Iterator[dict[str, Any]]:
    import datasets

    load = lambda: datasets.load_dataset(kind, split="train", streaming=True, **options)  # noqa: E731
    return _rows(source, _guard(source, load))


def _rows(source: str | Path, found: Any) -> Iterator[dict[str, Any]]:
    rows = iter(found)
    while (row := _guard(source, lambda: next(rows, None))) is not None:
        yield row


def _guard(source: str | Path, load: Any) -> Any:
    """Call `load`; what `datasets` raises becomes one message."""
    try:
        return load()
    except Exception as error:  # of pandas, pyarrow, fsspec and huggingface_hub, with no base in common
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(
            f"{source} cannot be read ({reason}). Give a JSON Lines, JSON, CSV or Parquet file, a folder of them, or the id of a set "
            "that the hub, or its cache on this machine, has; a subset by --subset."
        ) from error
