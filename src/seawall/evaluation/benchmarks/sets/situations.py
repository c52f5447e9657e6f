"""Sets in which neither the image nor the text shows the risk alone: SIUO, VLSBench and MSSBench.

Sources: Wang et al., arXiv 2406.15279; Hu et al., arXiv 2411.19939; Zhou et al., arXiv 2410.06172; and their repositories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.sets.common import find_file, locate, read_list, require_fields, require_unique
from seawall.evaluation.benchmarks.source import require_media, select_names
from seawall.store.files import read_json
from seawall.store.items import Item

IMAGE, CHAT = "image", "chat"
SIUO = "https://huggingface.co/datasets/sinwang/SIUO"
VLSBENCH = "https://huggingface.co/datasets/Foreshhh/vlsbench"
MSSBENCH = "https://huggingface.co/datasets/kzhou35/mssbench"


def read_siuo(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return SIUO's items for free answers. Scenarios are its domains.

    Args:
        data: Its folder, with `siuo_gen.json` and `images`.
        types: Prompt types to read; `image` is the only one. None reads it.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    select_names("prompt types", [IMAGE], types)
    path = find_file(data, ["siuo_gen.json", "data/siuo_gen.json"], SIUO)
    rows = read_list(path, ("image", "question", "category"))
    folders = [path.parent / "images", path.parent.parent / "images"]
    items = [
        _make_item(
            str(row.get("question_id", number)), row["category"], row["question"], locate(path, folders, row["image"])
        )
        for number, row in enumerate(rows)
    ]
    return _select(path, items, scenarios, f"Put the folder images of {SIUO} beside siuo_gen.json.")


def read_vlsbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return VLSBench's items. Scenarios are its categories.

    Args:
        data: Its folder, with `data.json` and the images of `imgs.tar` in `imgs`.
        types: Prompt types to read; `image` is the only one. None reads it.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    select_names("prompt types", [IMAGE], types)
    path = find_file(data, ["data.json", "data/data.json"], VLSBENCH)
    rows = read_list(path, ("instruction", "image_path", "category"))
    folders = [path.parent, path.parent.parent]
    items = [
        _make_item(
            str(row.get("instruction_id", number)),
            row["category"],
            row["instruction"],
            locate(path, folders, row["image_path"]),
        )
        for number, row in enumerate(rows)
    ]
    return _select(path, items, scenarios, f"Unpack imgs.tar of {VLSBENCH} beside data.json.")


def read_mssbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return MSSBench's chat items: each question with an image that makes it unsafe, and with one that makes it safe.

    Args:
        data: Its folder, with `combined.json` and the images in `chat`.
        types: Prompt types to read; `chat` is the only one. None reads it.
        scenarios: Scenarios (`Type`) to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    select_names("prompt types", [CHAT], types)
    path = find_file(data, ["combined.json", "combine.json"], MSSBENCH)
    content = read_json(path)
    rows = content.get(CHAT) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} is not a JSON object with a list `chat`. Download it again.")
    items = []
    for number, row in enumerate(rows):
        name = f"chat item {number}"
        if not isinstance(row, dict):
            raise DataError(f"{path}, {name}, is not an object. Download it again.")
        require_fields(path, name, row, ("queries", "safe_image_path", "unsafe_image_path", "Type"))
        for harmful, field in ((True, "unsafe_image_path"), (False, "safe_image_path")):
            medium = locate(path, [path.parent / CHAT, path.parent], row[field])
            kind = "unsafe" if harmful else "safe"
            items += [
                _make_item(f"{number}/{n}/{kind}", row["Type"], query, medium, CHAT, str(number), harmful)
                for n, query in enumerate(row["queries"])
            ]
    return _select(path, items, scenarios, f"Unpack the images of {MSSBENCH} beside {path.name}.")


def _make_item(
    id: str, scenario: Any, text: str, medium: Path, prompt_type: str = IMAGE, cluster: str = "", harmful: bool = True
) -> Item:
    return Item(
        id=id,
        cluster=cluster or id,
        scenario=str(scenario),
        prompt_type=prompt_type,
        question=text,
        text=text,
        modality="image",
        medium=medium,
        harmful=harmful,
    )


def _select(path: Path, items: list[Item], scenarios: Sequence[str] | None, advice: str) -> list[Item]:
    require_unique(path, items)
    wanted = select_names("scenarios", sorted({item.scenario for item in items}), scenarios)
    items = [item for item in items if item.scenario in wanted]
    roots = [path.parent, path.parent.parent]
    root = roots[0] if all(item.medium and item.medium.is_relative_to(roots[0]) for item in items) else roots[1]
    require_media(root, items, advice)
    return items
