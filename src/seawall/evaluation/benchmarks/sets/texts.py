"""Sets of requests in text: HarmBench, StrongREJECT, JailbreakBench and AdvBench.

Sources: Mazeika et al., arXiv 2402.04249; Souly et al., arXiv 2402.10260; Chao et al., arXiv 2404.01318; Zou et al., arXiv
2307.15043; and their repositories.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from seawall.evaluation.benchmarks.sets.common import find_file, require_unique
from seawall.evaluation.benchmarks.source import read_csv, select_names
from seawall.store.items import Item

log = logging.getLogger(__name__)

TEXT_ONLY = "Text_only"
HARMBENCH_TYPES = ("standard", "contextual", "copyright")
UNJUDGED = "copyright"
"""HarmBench judges these by hashes of the works, not by its classifier."""
CONTEXT = "{context}\n\n---\n\n{behavior}"
"""HarmBench's direct request with a context."""


def read_harmbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return HarmBench's behaviours in text. Prompt types are its functional categories, scenarios its semantic ones.

    Args:
        data: The repository.
        types: Functional categories to read. None reads `standard` and `contextual`.
        scenarios: Semantic categories to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: The file is missing or is not as published.
    """
    name = "harmbench_behaviors_text_all.csv"
    path = find_file(data, [f"data/behavior_datasets/{name}", name], "https://github.com/centerforaisafety/HarmBench")
    rows = read_csv(path, ("Behavior", "FunctionalCategory", "SemanticCategory", "BehaviorID"))
    wanted = select_names("prompt types", HARMBENCH_TYPES, types)
    if types is None and any(row["FunctionalCategory"] == UNJUDGED for row in rows):
        wanted.remove(UNJUDGED)
        left = sum(row["FunctionalCategory"] == UNJUDGED for row in rows)
        log.warning("%d copyright behaviours are not asked: HarmBench judges them by hashes. See --types.", left)
    scenarios = select_names("scenarios", sorted({row["SemanticCategory"] for row in rows}), scenarios)
    items = []
    for row in rows:
        if row["FunctionalCategory"] not in wanted or row["SemanticCategory"] not in scenarios:
            continue
        behavior, context = row["Behavior"], (row.get("ContextString") or "").strip()
        text = CONTEXT.format(context=context, behavior=behavior) if context else behavior
        items.append(
            Item(
                id=row["BehaviorID"],
                cluster=row["BehaviorID"],
                scenario=row["SemanticCategory"],
                prompt_type=row["FunctionalCategory"],
                question=behavior,
                text=text,
            )
        )
    require_unique(path, items)
    return items


def read_strongreject(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return StrongREJECT's forbidden prompts. Scenarios are its categories. For the rest see `_read_table`."""
    name = "strongreject_dataset.csv"
    names = [f"strongreject_dataset/{name}", name, "strongreject_dataset/strongreject_small_dataset.csv"]
    path = find_file(data, names, "https://github.com/alexandrasouly/strongreject")
    return _read_table(path, "forbidden_prompt", "category", types, scenarios)


def read_jailbreakbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return JailbreakBench's goals, harmful and benign. Scenarios are its categories. For the rest see `_read_table`."""
    page = "https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors"
    items = []
    found = set()
    for kind in ("harmful", "benign"):
        name = f"{kind}-behaviors.csv"
        path = find_file(data, [f"data/{name}", name], page)
        part = _read_table(path, "Goal", "Category", types, None, id_column="Index", prefix=f"{kind}/")
        items += [dataclasses.replace(item, harmful=kind == "harmful") for item in part]
        found |= {item.scenario for item in part}
    wanted = select_names("scenarios", sorted(found), scenarios)
    return [item for item in items if item.scenario in wanted]


def read_advbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return AdvBench's harmful behaviours. It has no categories. For the rest see `_read_table`."""
    name = "harmful_behaviors.csv"
    path = find_file(
        data, [f"data/advbench/{name}", f"advbench/{name}", name], "https://github.com/llm-attacks/llm-attacks"
    )
    return _read_table(path, "goal", None, types, scenarios)


def _read_table(
    path: Path,
    column: str,
    category: str | None,
    types: Sequence[str] | None,
    scenarios: Sequence[str] | None,
    *,
    id_column: str | None = None,
    prefix: str = "",
) -> list[Item]:
    """Return one item for each row of a CSV file.

    Args:
        path: The file.
        column: Column with the request.
        category: Column with its scenario. None: there is one scenario, `all`.
        types: Prompt types to read; `Text_only` is the only one. None reads it.
        scenarios: Scenarios to read. None reads all.
        id_column: Column with its id. None: its number from 0.
        prefix: Start of each id.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: The file is not as published.
    """
    select_names("prompt types", [TEXT_ONLY], types)
    rows = read_csv(path, [name for name in (column, category, id_column) if name])
    items = []
    for number, row in enumerate(rows):
        id = f"{prefix}{row[id_column] if id_column else number}"
        item = Item(
            id=id,
            cluster=id,
            scenario=row[category] if category else "all",
            prompt_type=TEXT_ONLY,
            question=row[column],
            text=row[column],
        )
        items.append(item)
    require_unique(path, items)
    wanted = select_names("scenarios", sorted({item.scenario for item in items}), scenarios)
    return [item for item in items if item.scenario in wanted]
