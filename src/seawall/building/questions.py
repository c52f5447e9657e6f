"""The questions of VA-SafetyBench, rewritten from those of MM-SafetyBench: the image becomes a video or a sound.

MM-SafetyBench announces a phrase in an image in two ways: "The image shows a phrase of ..." (`Rephrased Question(SD)`) and "The
bottom of the image shows ..." (`Rephrased Question`). VA-SafetyBench replaced the word "image" everywhere, even inside the
request itself. docs/explanation/va_safetybench.md lists the places where that changes a request.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.store.va_safetybench import PROMPT_TYPES, SCENARIOS, read_questions

FOLDERS = (".", "processed_questions", "data/processed_questions")
"""Where the question files of MM-SafetyBench can be, relative to the folder that the user gives."""
FIELDS = {
    "request": "Changed Question",
    "phrase": "Key Phrase",
    "phrase_type": "Phrase Type",
    "about_image": "Rephrased Question(SD)",
    "about_bottom": "Rephrased Question",
}
"""Field of `SourceItem` -> its name in MM-SafetyBench."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceItem:
    """One item of MM-SafetyBench."""

    scenario: str
    """Scenario, with VA-SafetyBench's name for it."""
    id: str
    """Id of the item, unique in its scenario."""
    request: str
    """The complete request in text."""
    phrase: str
    """What the medium shows or says."""
    phrase_type: str
    """Kind of the phrase: `activity`, `product` or another word."""
    about_image: str
    """The request that refers to a phrase in the image."""
    about_bottom: str
    """The request that refers to a phrase at the bottom of the image."""


def read_items(folder: Path) -> tuple[list[SourceItem], list[Path]]:
    """Return the items of MM-SafetyBench, and the files that they were read from.

    Args:
        folder: MM-SafetyBench's repository, its `data` or its `processed_questions`.

    Raises:
        DataError: Files are missing (the message names all of them) or unreadable, an item lacks a field, or an id is not a valid
            file name.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file. Give MM-SafetyBench's folder data/processed_questions as downloaded.")
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


def make_questions(
    items: Sequence[SourceItem], *, as_published: bool = False
) -> dict[str, dict[str, dict[str, dict[str, str | None]]]]:
    """Return the content of the question files.

    Args:
        items: See `read_items`.
        as_published: Replace the word "image" everywhere, as VA-SafetyBench did. Default: only where it means the medium itself.

    Returns:
        Modality -> scenario -> id -> prompt type -> text. The text is None if the sound contains the request.
    """
    rewrite = _rewrite_as_published if as_published else _rewrite
    files: dict[str, dict[str, dict[str, dict[str, str | None]]]] = {modality: {} for modality in PROMPT_TYPES}
    for item in items:
        for modality, scenarios in files.items():
            texts = rewrite(item, modality.lower())
            scenarios.setdefault(item.scenario, {})[item.id] = dict(zip(PROMPT_TYPES[modality], texts, strict=True))
    return files


def find_slips(items: Sequence[SourceItem]) -> list[dict[str, str]]:
    """Return `modality`, `scenario`, `id` and `prompt_type` of each text in which the published rule differs from the corrected one."""
    published, corrected = (make_questions(items, as_published=rule) for rule in (True, False))
    return [
        {"modality": modality, "scenario": item.scenario, "id": item.id, "prompt_type": prompt_type}
        for modality in PROMPT_TYPES
        for item in items
        for prompt_type, text in published[modality][item.scenario][item.id].items()
        if text != corrected[modality][item.scenario][item.id][prompt_type]
    ]


def _rewrite(item: SourceItem, medium: str) -> tuple[str | None, ...]:
    """Return the texts of one item in the order of `PROMPT_TYPES`. Only "the image" is replaced; "an image" belongs to the request."""
    shown = re.sub(r"\b([Tt]he) image\b", rf"\1 {medium}", item.about_image)
    at_end = re.sub(r"\b([Tt]he) bottom of the image\b", rf"\1 end of the {medium}", item.about_bottom)
    return (item.request, shown, shown, at_end) if medium == "video" else (item.request, None, shown, at_end)


def _rewrite_as_published(item: SourceItem, medium: str) -> tuple[str | None, ...]:
    """Return the texts of one item as VA-SafetyBench wrote them."""
    at_end = item.about_bottom.replace("The bottom of the image", f"The end of the {medium}")
    shown = item.about_image.replace("image", medium)
    if medium == "video":
        return item.request.replace("image", medium), shown, shown, at_end.replace("image", medium)
    return item.request, None, shown, at_end


def _make_item(path: Path, scenario: str, id: str, fields: dict[str, Any]) -> SourceItem:
    if not re.fullmatch(r"[\w-]+", id):
        raise DataError(f"{path}: the id {id!r} is not a valid file name. Use only letters, digits, _ and - in ids.")
    texts = {name: fields.get(name) for name in FIELDS.values()}
    if missing := [name for name, text in texts.items() if not isinstance(text, str) or not text.strip()]:
        raise DataError(
            f"{path}: item {id!r} has no text for {', '.join(map(repr, missing))}. Give MM-SafetyBench's processed questions, "
            "in which every item has all fields."
        )
    return SourceItem(scenario=scenario, id=id, **{field: str(texts[name]) for field, name in FIELDS.items()})
