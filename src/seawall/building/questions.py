"""The questions of VA-SafetyBench, from those of MM-SafetyBench: each item by id, the image become a video or a sound.

MM-SafetyBench announces a phrase in an image, twice: "The image shows a phrase of ..." (`Rephrased Question(SD)`) and "The
bottom of the image shows ..." (`Rephrased Question`). VA-SafetyBench put other words for the image by plain replacement,
which also hit words of the request itself. docs/va_safetybench.md lists where.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError

SCENARIOS = {
    "1-IllegalActivitiy": "01-Illegal_Activitiy",
    "2-HateSpeech": "02-HateSpeech",
    "3-MalwareGeneration": "03-Malware_Generation",
    "4-PhysicalHarm": "04-Physical_Harm",
    "5-EconomicHarm": "05-EconomicHarm",
    "6-Fraud": "06-Fraud",
    "7-Sex": "07-Sex",
    "8-PrivacyViolence": "09-Privacy_Violence",
}
"""VA-SafetyBench's scenarios and MM-SafetyBench's names of them, as they spell them."""
TASKS = {
    "Video": ("Text_only", "DM", "TYPO", "DM_TYPO"),
    "Audio": ("Text_only", "Audio_only", "KPT", "KPT_noise"),
}
"""Prompt types of each modality. All but `Text_only` have a medium."""
FOLDERS = (".", "processed_questions", "data/processed_questions")
"""Where MM-SafetyBench's question files may lie, from the folder that is given."""
FIELDS = {
    "text": "Changed Question",
    "phrase": "Key Phrase",
    "kind": "Phrase Type",
    "whole": "Rephrased Question(SD)",
    "bottom": "Rephrased Question",
}
"""Attributes of an item and what MM-SafetyBench calls them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One item of MM-SafetyBench."""

    scenario: str
    """As VA-SafetyBench spells it."""
    id: str
    """Of the item, within its scenario."""
    text: str
    """The request in plain text."""
    phrase: str
    """What the medium shows or says."""
    kind: str
    """`activity`, `product` or another word for the phrase."""
    whole: str
    """The request about a phrase that the image shows."""
    bottom: str
    """The request about a phrase that the bottom of the image shows."""


def read_items(folder: Path) -> tuple[list[Item], list[Path]]:
    """Return the items of MM-SafetyBench's question files, and the files.

    Args:
        folder: MM-SafetyBench's repository, its `data`, or its `processed_questions`.

    Raises:
        DataError: Files are missing (all are named), one cannot be read, an item lacks a field, or its id cannot name a file.
    """
    names = [f"{name}.json" for name in SCENARIOS.values()]
    places = [folder / place for place in FOLDERS]
    place = max(places, key=lambda place: sum((place / name).is_file() for name in names))
    if missing := [name for name in names if not (place / name).is_file()]:
        raise DataError(
            f"{folder} lacks {len(missing)} of MM-SafetyBench's {len(names)} question files: {', '.join(missing)}. Give its "
            "folder data/processed_questions as downloaded."
        )
    items = []
    for scenario, name in SCENARIOS.items():
        path = place / f"{name}.json"
        items += [_make_item(path, scenario, id, fields) for id, fields in read_questions(path).items()]
    return items, [place / name for name in names]


def read_questions(path: Path) -> dict[str, Any]:
    """Return a question file: id -> fields.

    Raises:
        DataError: It is not JSON, holds no item, or an id twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise DataError(
                f"{path} holds {', '.join(map(repr, twice))} more than once. Each id and field may stand there once."
            )
        return dict(pairs)

    try:
        questions = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not readable JSON ({error}). Download it again.") from error
    if not isinstance(questions, dict) or not questions or not all(isinstance(v, dict) for v in questions.values()):
        raise DataError(f'{path} is not of the form {{"id": {{"field": text}}}}. Give a question file as published.')
    return questions


def make_questions(items: Sequence[Item], *, as_published: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the question files.

    Args:
        items: See `read_items`.
        as_published: Replace words as VA-SafetyBench did, slips included; else only where the image itself is meant.

    Returns:
        Modality -> scenario -> id -> prompt type -> text; None where the sound carries the question.
    """
    write = _replace_plainly if as_published else _replace
    files: dict[str, dict[str, dict[str, Any]]] = {modality: {} for modality in TASKS}
    for item in items:
        for modality, asked in files.items():
            texts = write(item, modality.lower())
            asked.setdefault(item.scenario, {})[item.id] = dict(zip(TASKS[modality], texts, strict=True))
    return files


def find_slips(items: Sequence[Item]) -> list[dict[str, str]]:
    """Return where the published rule differs from the corrected one: modality, scenario, id and prompt type."""
    published, corrected = (make_questions(items, as_published=rule) for rule in (True, False))
    return [
        {"modality": modality, "scenario": item.scenario, "id": item.id, "task": task}
        for modality in TASKS
        for item in items
        for task, text in published[modality][item.scenario][item.id].items()
        if text != corrected[modality][item.scenario][item.id][task]
    ]


def _replace(item: Item, medium: str) -> tuple[str | None, ...]:
    """Return the texts of one item, in the order of `TASKS`; "the image" is the medium, any other image is the request's."""
    whole = re.sub(r"\b([Tt]he) image\b", rf"\1 {medium}", item.whole)
    end = re.sub(r"\b([Tt]he) bottom of the image\b", rf"\1 end of the {medium}", item.bottom)
    return (item.text, whole, whole, end) if medium == "video" else (item.text, None, whole, end)


def _replace_plainly(item: Item, medium: str) -> tuple[str | None, ...]:
    """Return the texts of one item as VA-SafetyBench wrote them."""
    end = item.bottom.replace("The bottom of the image", f"The end of the {medium}")
    whole = item.whole.replace("image", medium)
    if medium == "video":
        return item.text.replace("image", medium), whole, whole, end.replace("image", medium)
    return item.text, None, whole, end


def _make_item(path: Path, scenario: str, id: str, fields: dict[str, Any]) -> Item:
    if not re.fullmatch(r"[\w-]+", id):
        raise DataError(f"{path}: the id {id!r} cannot name a file. Ids hold letters, digits, _ and - only.")
    texts = {name: fields.get(name) for name in FIELDS.values()}
    if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]:
        raise DataError(
            f"{path}: item {id!r} has no text for {', '.join(map(repr, missing))}. Give MM-SafetyBench's processed questions, "
            "in which each item has it."
        )
    return Item(scenario=scenario, id=id, **{attribute: texts[name] for attribute, name in FIELDS.items()})
