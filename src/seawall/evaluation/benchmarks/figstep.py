"""FigStep: instructions drawn as empty numbered lists. Source: Gong et al., arXiv 2311.05608, and its repository."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_root, read_csv, require_media, select_names
from seawall.store.items import Item

QUESTIONS = "data/question/safebench.csv"
SCRIPT = "src/generate_prompts.py"
IMAGE_TYPE = "FigStep"


def read_figstep(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return FigStep's items. The text beside the images is read from the authors' script, which is not run.

    Args:
        data: The repository.
        types: Prompt types to read. None reads all.
        scenarios: Categories to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing or are not as published.
    """
    root = find_root(data, [QUESTIONS, SCRIPT])
    rows = read_csv(root / QUESTIONS, ("category_id", "task_id", "category_name", "question"))
    types = select_names("prompt types", ["Text_only", IMAGE_TYPE], types)
    prompt = _read_prompt(root / SCRIPT) if IMAGE_TYPE in types else None
    scenarios = select_names("scenarios", list(dict.fromkeys(row["category_name"] for row in rows)), scenarios)
    items = []
    for row in rows:
        if row["category_name"] not in scenarios:
            continue
        number = f"{row['category_id']}_{row['task_id']}"
        image = root / f"data/images/SafeBench/query_ForbidQI_{number}_6.png"
        for prompt_type in types:
            drawn = prompt_type == IMAGE_TYPE
            items.append(
                Item(
                    id=f"{number}/{prompt_type}",
                    cluster=number,
                    scenario=row["category_name"],
                    prompt_type=prompt_type,
                    question=row["question"],
                    text=prompt if drawn else row["question"],
                    modality="image" if drawn else None,
                    medium=image if drawn else None,
                )
            )
    require_media(root, items, "Download FigStep's repository again.")
    return items


def _read_prompt(path: Path) -> str:
    """Return the text of the branch `QueryType.figstep` in the authors' script."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). It contains the text beside FigStep's images. Download it again."
        ) from error
    for branch in (node for node in ast.walk(tree) if isinstance(node, ast.If)):
        if not ast.unparse(branch.test).endswith("QueryType.figstep"):
            continue
        for node in ast.walk(ast.Module(branch.body, [])):
            if isinstance(node, ast.Return):
                return next(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    raise DataError(f"{path} has no branch for QueryType.figstep. Download FigStep's repository again.")
