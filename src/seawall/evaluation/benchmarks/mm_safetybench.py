"""Benchmarks of images: MM-SafetyBench, FigStep, and MOSSBench for over-refusal, each as its authors publish it."""

from __future__ import annotations

import ast
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.store.files import read_json
from seawall.store.va_safetybench import read_questions
from seawall.errors import DataError
from seawall.store.items import Item
from seawall.evaluation.benchmarks.source import choose, find_root, require_media
from seawall.store.va_safetybench import read_phrases

MM_SCENARIOS = (
    "01-Illegal_Activitiy",
    "02-HateSpeech",
    "03-Malware_Generation",
    "04-Physical_Harm",
    "05-EconomicHarm",
    "06-Fraud",
    "07-Sex",
    "08-Political_Lobbying",
    "09-Privacy_Violence",
    "10-Legal_Opinion",
    "11-Financial_Advice",
    "12-Health_Consultation",
    "13-Gov_Decision",
)
MM_TEXTS = {
    "Text_only": "Changed Question",
    "SD": "Rephrased Question(SD)",
    "TYPO": "Rephrased Question",
    "SD_TYPO": "Rephrased Question",
}
"""Prompt type -> the field of its text."""
TINY = "TinyVersion_ID_List.json"
MM_QUESTIONS, MM_IMAGES = (
    ("data/processed_questions", "processed_questions"),
    ("data/imgs", "imgs", "MM-SafetyBench(imgs)"),
)


def read_mm_safetybench(
    data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None, tiny: bool = False
) -> list[Item]:
    """Return MM-SafetyBench's items. Source: Liu et al., arXiv 2311.17600; its repository, with the images in `data/imgs`.

    Args:
        data: The repository.
        types: Of `MM_TEXTS`.
        scenarios: Of the question files.
        tiny: Only the authors' smaller selection.

    Raises:
        DataError: Files are missing, or an item lacks a text.
    """
    root = find_root(data, [*MM_QUESTIONS, *MM_IMAGES])
    folder = next((root / name for name in MM_QUESTIONS if (root / name).is_dir()), root / MM_QUESTIONS[0])
    images = next((root / name for name in MM_IMAGES if (root / name).is_dir()), root / MM_IMAGES[0])
    there = sorted(path.stem for path in folder.glob("*.json"))
    published = not there or set(there) & set(MM_SCENARIOS)
    if published and (missing := [f"{name}.json" for name in MM_SCENARIOS if name not in there]):
        raise DataError(
            f"{root} lacks {len(missing)} of MM-SafetyBench's {len(MM_SCENARIOS)} question files in {MM_QUESTIONS[0]}: "
            f"{', '.join(missing)}. Give its repository as downloaded."
        )
    known = [task for task in MM_TEXTS if published or task == "Text_only" or any(images.glob(f"*/{task}"))]
    chosen = _read_tiny(root / TINY) if tiny else None
    phrases = read_phrases(root)
    items = []
    for scenario in choose("scenarios", there, scenarios):
        path = folder / f"{scenario}.json"
        for id, fields in read_questions(path).items():
            if chosen is not None and id not in chosen.get(scenario, ()):
                continue
            for task in choose("prompt types", known, types):
                texts = {name: fields.get(name) for name in ("Question", MM_TEXTS[task])}
                if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]:
                    raise DataError(
                        f"{path}: item {id!r} has no text for {', '.join(missing)}. Give MM-SafetyBench's processed questions."
                    )
                items.append(
                    Item(
                        id=f"{scenario}/{id}/{task}",
                        item=f"{scenario}/{id}",
                        scenario=scenario,
                        prompt_type=task,
                        question=texts["Question"],
                        text=texts[MM_TEXTS[task]],
                        modality=None if task == "Text_only" else "image",
                        medium=None if task == "Text_only" else _find_image(images / scenario / task / id),
                        phrase=fields.get("Key Phrase"),
                        harmful=phrases.get(scenario, {}).get(id, {}).get("harmful", True),
                    )
                )
    require_media(
        root, items, "The images are a download of their own (docs/benchmarks.md); or choose others by --types."
    )
    return items


def _read_tiny(path: Path) -> dict[str, set[str]]:
    """Return scenario -> ids of the smaller selection."""
    try:
        return {row["Scenario"]: {str(id) for id in row["Sampled_ID_List"]} for row in read_json(path)}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a list of Scenario and Sampled_ID_List. Download it again.") from error


def read_figstep(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return FigStep's items. Source: Gong et al., arXiv 2311.05608; its repository.

    The images hold an instruction as an empty numbered list; what is asked beside them is read from the authors' script.

    Raises:
        DataError: Files are missing or not as published.
    """
    root = find_root(data, ["data/question/safebench.csv", "src/generate_prompts.py"])
    rows = read_csv(root / "data/question/safebench.csv", ("category_id", "task_id", "category_name", "question"))
    types = choose("prompt types", ["Text_only", "FigStep"], types)
    beside = _read_figstep_prompt(root / "src/generate_prompts.py") if "FigStep" in types else None
    items = []
    scenarios = choose("scenarios", list(dict.fromkeys(row["category_name"] for row in rows)), scenarios)
    for row in (row for row in rows if row["category_name"] in scenarios):
        number = f"{row['category_id']}_{row['task_id']}"
        for task in types:
            asked = {"prompt_type": task, "text": row["question"]}
            if task == "FigStep":
                medium = root / f"data/images/SafeBench/query_ForbidQI_{number}_6.png"
                asked |= {"text": beside, "modality": "image", "medium": medium}
            items.append(
                Item(
                    id=f"{number}/{task}",
                    item=number,
                    scenario=row["category_name"],
                    question=row["question"],
                    **asked,
                )
            )
    require_media(root, items, "Download FigStep's repository again.")
    return items


def _read_figstep_prompt(path: Path) -> str:
    """Return the text of the branch `QueryType.figstep` of the authors' script, which is read and not run."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): it holds what FigStep asks beside its images.") from error
    for branch in (node for node in ast.walk(tree) if isinstance(node, ast.If)):
        if ast.unparse(branch.test).endswith("QueryType.figstep"):
            for node in ast.walk(ast.Module(branch.body, [])):
                if isinstance(node, ast.Return):
                    return next(
                        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                    )
    raise DataError(f"{path} has no branch for QueryType.figstep. Download FigStep's repository again.")


def read_mossbench(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return MOSSBench's items: harmless requests with images that look otherwise. Source: Li et al., arXiv 2406.17806; its repository.

    Raises:
        DataError: Files are missing or not as published.
    """
    choose("prompt types", ["image"], types)
    root = find_root(data, ["data/images_information/information.json", "images_information/information.json"])
    root = root / "data" if (root / "data").is_dir() else root
    path = root / "images_information/information.json"
    entries = read_json(path)
    if not isinstance(entries, dict) or not entries:
        raise DataError(f"{path} is not an object of MOSSBench's items. Download it again.")
    items = [_make_moss(path, root, id, entry) for id, entry in entries.items()]
    kinds = choose("scenarios", sorted({item.scenario for item in items}), scenarios)
    items = [item for item in items if item.scenario in kinds]
    require_media(root, items, "Download MOSSBench again, its images too.")
    return items


def _make_moss(path: Path, root: Path, id: str, entry: Any) -> Item:
    try:
        kind, question = entry["metadata"]["over"], entry["question"]
        medium = _find_image((root / entry["image"]).with_suffix(""))
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: item {id!r} lacks image, question or metadata.over. Download it again.") from error
    return Item(
        id=id,
        item=id,
        scenario=str(kind),
        prompt_type="image",
        question=question,
        text=question,
        modality="image",
        medium=medium,
        harmful=False,
    )


def _find_image(stem: Path) -> Path:
    """Return the image of this name, whatever its ending; the published one where there is none."""
    names = [stem.with_name(f"{stem.name}{ending}") for ending in (".jpg", ".png", ".webp", ".jpeg")]
    return next((name for name in names if name.is_file()), names[0])


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header.

    Raises:
        DataError: It cannot be read, lacks a column or a value, or holds nothing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Give the benchmark as downloaded.") from error
    if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
        raise DataError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ['nothing'])}."
        )
    for number, row in enumerate(rows, 2):
        if empty := [column for column in columns if not (row[column] or "").strip()]:
            raise DataError(f"{path}, row {number}, has nothing in {', '.join(empty)}.")
    if not rows:
        raise DataError(f"{path} holds no rows.")
    return rows
