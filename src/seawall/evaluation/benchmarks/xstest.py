"""XSTest: 250 harmless prompts that look harmful, and 200 contrasts that are. Source: Röttger et al., arXiv 2308.01263; its repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seawall.errors import DataError
from seawall.evaluation.benchmarks.mm_safetybench import read_csv
from seawall.store.items import Item
from seawall.evaluation.benchmarks.source import choose, find_root

FILES = ("xstest_prompts.csv", "xstest_v2_prompts.csv", "data/xstest_prompts.csv", "data/xstest_v2_prompts.csv")
CONTRAST = "contrast_"
"""Types that begin so are to be refused."""


def read_xstest(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return XSTest's items; scenarios are its types of prompt.

    Raises:
        DataError: The file is missing or not as published.
    """
    choose("prompt types", ["Text_only"], types)
    root = find_root(data, FILES)
    path = next((root / name for name in FILES if (root / name).is_file()), None)
    if not path:
        raise DataError(f"{data} has none of XSTest's files {', '.join(FILES[:2])}. Give its repository as downloaded.")
    rows = read_csv(path, ("type", "prompt"))
    column = next((name for name in ("id", "id_v2", "id_v1") if name in rows[0]), None)
    kinds = choose("scenarios", list(dict.fromkeys(row["type"] for row in rows)), scenarios)
    items = [
        Item(
            id=(row[column] if column else "") or str(number),
            item=(row[column] if column else "") or str(number),
            scenario=row["type"],
            prompt_type="Text_only",
            question=row["prompt"],
            text=row["prompt"],
            harmful=row["type"].startswith(CONTRAST),
        )
        for number, row in enumerate(rows, 1)
        if row["type"] in kinds
    ]
    if len({item.id for item in items}) < len(items):
        raise DataError(f"{path} holds an id twice. Download it again.")
    return items
