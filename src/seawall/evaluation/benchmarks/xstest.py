"""XSTest: 250 harmless prompts that look harmful, and 200 harmful contrasts.

Source: Röttger et al., arXiv 2308.01263, and its repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_root, read_csv, select_names
from seawall.store.items import Item

FILES = ("xstest_prompts.csv", "xstest_v2_prompts.csv", "data/xstest_prompts.csv", "data/xstest_v2_prompts.csv")
ID_COLUMNS = ("id", "id_v2", "id_v1")
CONTRAST = "contrast_"
"""Prefix of the types of prompt that should be refused."""


def read_xstest(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return XSTest's items. Its scenarios are the types of prompt.

    Args:
        data: The repository.
        types: Prompt types to read; `Text_only` is the only one. None reads all.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: The file is missing or is not as published.
    """
    select_names("prompt types", ["Text_only"], types)
    root = find_root(data, FILES)
    path = next((root / name for name in FILES if (root / name).is_file()), None)
    if path is None:
        raise DataError(f"{data} has none of XSTest's files {', '.join(FILES[:2])}. Give its repository as downloaded.")
    rows = read_csv(path, ("type", "prompt"))
    column = next((name for name in ID_COLUMNS if name in rows[0]), None)
    scenarios = select_names("scenarios", list(dict.fromkeys(row["type"] for row in rows)), scenarios)
    items = []
    for number, row in enumerate(rows, 1):
        if row["type"] not in scenarios:
            continue
        id = (row[column] if column else "") or str(number)
        items.append(
            Item(
                id=id,
                cluster=id,
                scenario=row["type"],
                prompt_type="Text_only",
                question=row["prompt"],
                text=row["prompt"],
                harmful=row["type"].startswith(CONTRAST),
            )
        )
    if len({item.id for item in items}) < len(items):
        raise DataError(f"{path} contains an id more than once. Download it again.")
    return items
