"""VA-SafetyBench, published or built by `seawall build`. `store.va_safetybench` describes the layout."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.evaluation.benchmarks.source import find_root, name_some, require_media, select_names
from seawall.store.items import Item
from seawall.store.va_safetybench import (
    ENDINGS,
    PROMPT_TYPES,
    SCENARIOS,
    locate_medium,
    read_phrases,
    read_questions,
)

log = logging.getLogger(__name__)

TEXT_ONLY = "Text_only"
SYSTEM_PROMPTS = {"Video": None, "Audio": "You are a helpful assistant."}
"""The reference scripts give a system prompt for audio only."""


def read_video(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return the items with videos. Raises the errors of `read_items`."""
    return read_items(data, "Video", types, scenarios)


def read_audio(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return the items with sound. Raises the errors of `read_items`."""
    return read_items(data, "Audio", types, scenarios)


def read_items(data: Path, modality: str, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return one item for each prompt type of each question.

    Args:
        data: The benchmark's folder.
        modality: `Video` or `Audio`.
        types: Prompt types to read. None reads all.
        scenarios: Scenarios to read. None reads all.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Question files or media are missing, or a question is malformed.
    """
    root = find_root(data, [f"{modality}_questions", modality])
    types = select_names("prompt types", PROMPT_TYPES[modality], types)
    scenarios = select_names("scenarios", _find_scenarios(root, modality), scenarios)
    phrases = read_phrases(root)
    items, unasked = [], []
    for scenario in scenarios:
        path = root / f"{modality}_questions" / f"{scenario}.json"
        questions = read_questions(path)
        for id, texts in questions.items():
            _check_texts(path, id, texts, modality)
            facts = phrases.get(scenario, {}).get(id, {})
            items += [_make_item(root, modality, scenario, id, prompt_type, texts, facts) for prompt_type in types]
        unasked += [
            path.relative_to(root).as_posix()
            for prompt_type in types
            for path in (root / modality / scenario / prompt_type).glob(f"*{ENDINGS[modality]}")
            if path.stem not in questions
        ]
    require_media(
        root,
        items,
        "Download or build them (`seawall build va-safetybench`), or choose prompt types that are there with --types.",
    )
    if unasked:
        log.warning("%d media have no question and are not used: %s", len(unasked), name_some(unasked))
    return items


def _make_item(
    root: Path,
    modality: str,
    scenario: str,
    id: str,
    prompt_type: str,
    texts: dict[str, Any],
    facts: dict[str, Any],
) -> Item:
    """Return the item of one prompt type.

    Args:
        root: The benchmark's folder.
        modality: `Video` or `Audio`.
        scenario: Name of the scenario.
        id: Id of the question in its scenario.
        prompt_type: Name of the prompt type.
        texts: Prompt type -> text of the question.
        facts: What `phrases.json` says of the question.
    """
    has_medium = prompt_type != TEXT_ONLY
    return Item(
        id=f"{scenario}/{id}/{prompt_type}",
        cluster=f"{scenario}/{id}",
        scenario=scenario,
        prompt_type=prompt_type,
        question=texts[TEXT_ONLY],
        text=texts[prompt_type],
        system=SYSTEM_PROMPTS[modality],
        modality=modality.lower() if has_medium else None,
        medium=locate_medium(root, modality, scenario, prompt_type, id) if has_medium else None,
        phrase=facts.get("phrase"),
        harmful=facts.get("harmful", True),
    )


def _find_scenarios(root: Path, modality: str) -> list[str]:
    """Return all scenarios of VA-SafetyBench if the folder has any of them, else those of its question files."""
    folder = root / f"{modality}_questions"
    found = sorted(path.stem for path in folder.glob("*.json"))
    if not found:
        raise DataError(
            f"{root} has no question files {modality}_questions/<scenario>.json. Give VA-SafetyBench as downloaded "
            "or built (docs/how_to/benchmarks.md)."
        )
    if not set(found) & set(SCENARIOS):
        return found
    if missing := [f"{name}.json" for name in SCENARIOS if name not in found]:
        raise DataError(
            f"{len(missing)} of {len(SCENARIOS)} question files are missing from {folder}: {', '.join(missing)}. "
            "Download them again."
        )
    return list(SCENARIOS)


def _check_texts(path: Path, id: str, texts: dict[str, Any], modality: str) -> None:
    """Raise DataError if a question lacks a text. `Audio_only` must have none: there the sound carries the question."""
    wrong = [
        prompt_type
        for prompt_type in PROMPT_TYPES[modality]
        if prompt_type not in texts or not _is_valid_text(prompt_type, texts[prompt_type])
    ]
    if wrong:
        found = ", ".join(f"{prompt_type} {texts.get(prompt_type, 'missing')!r}" for prompt_type in wrong)
        raise DataError(
            f"{path}: item {id!r} has no usable text: {found}. Audio_only must be null; every other "
            "prompt type needs a text."
        )


def _is_valid_text(prompt_type: str, text: Any) -> bool:
    if prompt_type == "Audio_only":
        return text is None
    return isinstance(text, str) and bool(text.strip())
