"""VLGuard: harmful images, and harmless images with harmful and harmless requests.

Source: Zong et al., arXiv 2402.02207, and its repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.sets.common import find_file, locate, read_list, require_unique
from seawall.evaluation.benchmarks.source import require_media, select_names
from seawall.store.items import Item

PAGE = "https://huggingface.co/datasets/ys-zong/VLGuard"
FIELDS = {"unsafes": "instruction", "safe_unsafes": "unsafe_instruction", "safe_safes": "safe_instruction"}
"""Prompt type, as the authors name it -> field with its text. The last one is harmless: it measures over-refusal."""
HARMLESS = "safe_safes"
SAFE_IMAGE = "safe image"
"""Scenario of requests about harmless images, which have no category."""


def read_vlguard(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return the items of VLGuard's test set. Scenarios are the categories of the harmful images.

    Args:
        data: Its folder, with `test.json` and the images of `test.zip` in `test`.
        types: Prompt types to read: `unsafes`, `safe_unsafes`, `safe_safes`. None reads all.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    path = find_file(data, ["test.json", "data/test.json"], PAGE, gated=True)
    rows = read_list(path, ("image", "instr-resp"))
    items = []
    for number, row in enumerate(rows):
        if not isinstance(row.get("safe"), bool) or not isinstance(row["instr-resp"], list):
            raise DataError(f"{path}, item {number}, has no `safe` or no list `instr-resp`. Download it again.")
        items += _make_items(path, number, row)
    require_unique(path, items)
    types = select_names("prompt types", list(FIELDS), types)
    scenarios = select_names("scenarios", list(dict.fromkeys(item.scenario for item in items)), scenarios)
    items = [item for item in items if item.prompt_type in types and item.scenario in scenarios]
    require_media(path.parent, items, f"Unpack test.zip of {PAGE} beside test.json.")
    return items


def _make_items(path: Path, number: int, row: dict[str, Any]) -> list[Item]:
    """Return the items of an image: one if it is harmful, else two."""
    id = str(row.get("id") or number)
    scenario = str(row.get("harmful_category") or SAFE_IMAGE) if not row["safe"] else SAFE_IMAGE
    medium = locate(path, [path.parent / name for name in ("test", "VLGuard/test", "images", ".")], str(row["image"]))
    items = []
    for prompt_type in ("safe_unsafes", HARMLESS) if row["safe"] else ("unsafes",):
        field = FIELDS[prompt_type]
        text = next((one[field] for one in row["instr-resp"] if isinstance(one, dict) and one.get(field)), None)
        if not text:
            raise DataError(f"{path}, item {number}, has no {field} in instr-resp. Download it again.")
        items.append(
            Item(
                id=f"{id}/{prompt_type}",
                cluster=id,
                scenario=scenario,
                prompt_type=prompt_type,
                question=text,
                text=text,
                modality="image",
                medium=medium,
                harmful=prompt_type != HARMLESS,
            )
        )
    return items
