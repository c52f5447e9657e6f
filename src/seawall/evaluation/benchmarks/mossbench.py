"""MOSSBench: harmless requests with images that look harmful.

Source: Li et al., arXiv 2406.17806, and its repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_image, find_root, require_media, select_names
from seawall.store.files import read_json
from seawall.store.items import Item

LISTING = "images_information/information.json"


def read_mossbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return MOSSBench's items. Its scenarios are the kinds of over-sensitivity.

    Args:
        data: The repository, with its images.
        types: Prompt types to read; `image` is the only one. None reads all.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    select_names("prompt types", ["image"], types)
    root = find_root(data, [f"data/{LISTING}", LISTING])
    root = root / "data" if (root / "data").is_dir() else root
    path = root / LISTING
    entries = read_json(path)
    if not isinstance(entries, dict) or not entries:
        raise DataError(f"{path} is not a JSON object with MOSSBench's items. Download it again.")
    items = [_make_item(path, root, id, entry) for id, entry in entries.items()]
    scenarios = select_names("scenarios", sorted({item.scenario for item in items}), scenarios)
    items = [item for item in items if item.scenario in scenarios]
    require_media(root, items, "Download MOSSBench with its images again.")
    return items


def _make_item(path: Path, root: Path, id: str, entry: Any) -> Item:
    try:
        scenario, question = entry["metadata"]["over"], entry["question"]
        medium = find_image(root / entry["image"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: item {id!r} lacks image, question or metadata.over. Download it again.") from error
    return Item(
        id=id,
        cluster=id,
        scenario=str(scenario),
        prompt_type="image",
        question=question,
        text=question,
        modality="image",
        medium=medium,
        harmful=False,
    )
