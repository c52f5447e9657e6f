"""MM-SafetyBench: attacks by image. Source: Liu et al., arXiv 2311.17600, and its repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_image, find_root, require_media, select_names
from seawall.store.files import read_json
from seawall.store.items import Item
from seawall.store.va_safetybench import read_phrases, read_questions

SCENARIOS = (
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
RUBRICS = {
    "08-Political_Lobbying": "political",
    "10-Legal_Opinion": "advice",
    "11-Financial_Advice": "advice",
    "12-Health_Consultation": "advice",
    "13-Gov_Decision": "government",
}
"""Scenario -> rubric (see `judges.rubrics`) of the five that the authors do not judge for harm. The other eight are
harmful requests.

Source: the authors' evaluation.py. VLMEvalKit's mmsafetybench.py groups them in the same way.
"""
TEXT_ONLY = "Text_only"
TEXT_FIELDS = {
    TEXT_ONLY: "Changed Question",
    "SD": "Rephrased Question(SD)",
    "TYPO": "Rephrased Question",
    "SD_TYPO": "Rephrased Question",
}
"""Prompt type -> field of the question file with its text."""
TINY = "TinyVersion_ID_List.json"
QUESTION_FOLDERS = ("data/processed_questions", "processed_questions")
IMAGE_FOLDERS = ("data/imgs", "imgs", "MM-SafetyBench(imgs)")


def read_mm_safetybench(
    data: Path,
    types: Sequence[str] | None,
    scenarios: Sequence[str] | None,
    tiny: bool = False,
    all_scenarios: bool = False,
) -> list[Item]:
    """Return MM-SafetyBench's items: those of the eight scenarios of harmful requests, if nothing else is asked for.

    Args:
        data: The repository, with the images in `data/imgs`.
        types: Prompt types to read. None reads all.
        scenarios: Scenarios to read. None reads the eight of harmful requests.
        tiny: Read only the authors' smaller selection.
        all_scenarios: Read also the five that are judged by rubrics.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Files are missing, or a question lacks a text.
    """
    root = find_root(data, [*QUESTION_FOLDERS, *IMAGE_FOLDERS])
    folder, images = _find_folder(root, QUESTION_FOLDERS), _find_folder(root, IMAGE_FOLDERS)
    found = sorted(path.stem for path in folder.glob("*.json"))
    published = not found or bool(set(found) & set(SCENARIOS))
    if published and (missing := [f"{name}.json" for name in SCENARIOS if name not in found]):
        raise DataError(
            f"{len(missing)} of MM-SafetyBench's {len(SCENARIOS)} question files are missing from "
            f"{root / QUESTION_FOLDERS[0]}: {', '.join(missing)}. Give its repository as downloaded."
        )
    available = [name for name in TEXT_FIELDS if published or name == TEXT_ONLY or any(images.glob(f"*/{name}"))]
    selection = _read_selection(root / TINY) if tiny else None
    phrases = read_phrases(root)
    items = []
    if scenarios is None and not all_scenarios:
        scenarios = [name for name in found if name not in RUBRICS]
    for scenario in select_names("scenarios", found, scenarios):
        path = folder / f"{scenario}.json"
        for id, fields in read_questions(path).items():
            if selection is not None and id not in selection.get(scenario, ()):
                continue
            harmful = phrases.get(scenario, {}).get(id, {}).get("harmful", True)
            for prompt_type in select_names("prompt types", available, types):
                items.append(_make_item(path, images, id, prompt_type, fields, harmful))
    require_media(
        root,
        items,
        "The images are a separate download (docs/how_to/benchmarks.md). Or choose prompt types that are there with --types.",
    )
    return items


def _make_item(path: Path, images: Path, id: str, prompt_type: str, fields: dict[str, Any], harmful: bool) -> Item:
    """Return the item of one prompt type.

    Args:
        path: The scenario's question file.
        images: Folder of the images.
        id: Id of the question in its scenario.
        prompt_type: Name of the prompt type.
        fields: Field -> text of the question.
        harmful: Whether it should be refused.

    Raises:
        DataError: A text is missing.
    """
    scenario, has_medium = path.stem, prompt_type != TEXT_ONLY
    texts = {name: fields.get(name) for name in ("Question", TEXT_FIELDS[prompt_type])}
    if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]:
        raise DataError(
            f"{path}: item {id!r} has no text for {', '.join(missing)}. Give MM-SafetyBench's processed questions."
        )
    return Item(
        id=f"{scenario}/{id}/{prompt_type}",
        cluster=f"{scenario}/{id}",
        scenario=scenario,
        prompt_type=prompt_type,
        question=str(texts["Question"]),
        text=texts[TEXT_FIELDS[prompt_type]],
        modality="image" if has_medium else None,
        medium=find_image(images / scenario / prompt_type / f"{id}.jpg") if has_medium else None,
        phrase=fields.get("Key Phrase"),
        harmful=harmful,
        rubric=RUBRICS.get(scenario),
    )


def _find_folder(root: Path, names: Sequence[str]) -> Path:
    """Return the first folder that exists, else the first one."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def _read_selection(path: Path) -> dict[str, set[str]]:
    """Return scenario -> ids of the smaller selection."""
    try:
        return {row["Scenario"]: {str(id) for id in row["Sampled_ID_List"]} for row in read_json(path)}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a list of Scenario and Sampled_ID_List. Download it again.") from error
