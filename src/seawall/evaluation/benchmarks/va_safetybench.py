"""VA-SafetyBench, and folders of its layout such as `seawall build` and the organisms write.

`<Video|Audio>_questions/<scenario>.json` holds id -> prompt type -> text, `<Video|Audio>/<scenario>/<prompt type>/<id>.<mp4|mp3>` the
media. `phrases.json`, which the published set lacks, holds scenario -> id -> phrase, and `harmful: false` for harmless items.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from seawall.store.va_safetybench import PROMPT_TYPES, SCENARIOS, read_questions
from seawall.errors import DataError
from seawall.store.items import Item
from seawall.evaluation.benchmarks.source import choose, find_root, name_some, require_media
from seawall.store.va_safetybench import read_phrases

log = logging.getLogger(__name__)

ENDINGS = {"Video": ".mp4", "Audio": ".mp3"}
TEXT = "Text_only"
SYSTEM = {"Video": None, "Audio": "You are a helpful assistant."}
"""The reference gives a system prompt for audio only."""


def read_video(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return the items with videos; see `read`."""
    return read(data, "Video", types, scenarios)


def read_audio(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return the items with sound; see `read`."""
    return read(data, "Audio", types, scenarios)


def read(data: Path, modality: str, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    """Return every prompt type of every item.

    Raises:
        ConfigError: Unknown prompt types or scenarios.
        DataError: Question files or media are missing, or a question is not as it should be.
    """
    root = find_root(data, [f"{modality}_questions", modality])
    types = choose("prompt types", PROMPT_TYPES[modality], types)
    known = find_scenarios(root, modality)
    phrases = read_phrases(root)
    items, unasked = [], []
    for scenario in choose("scenarios", known, scenarios):
        path = root / f"{modality}_questions" / f"{scenario}.json"
        questions = read_questions(path)
        for id, texts in questions.items():
            check(path, id, texts, modality)
            about = phrases.get(scenario, {}).get(id, {})
            for task in types:
                medium = root / modality / scenario / task / (id + ENDINGS[modality])
                items.append(
                    Item(
                        id=f"{scenario}/{id}/{task}",
                        item=f"{scenario}/{id}",
                        scenario=scenario,
                        prompt_type=task,
                        question=texts[TEXT],
                        text=texts[task],
                        system=SYSTEM[modality],
                        modality=None if task == TEXT else modality.lower(),
                        medium=None if task == TEXT else medium,
                        phrase=about.get("phrase"),
                        harmful=about.get("harmful", True),
                    )
                )
        there = [path for task in types for path in (root / modality / scenario / task).glob(f"*{ENDINGS[modality]}")]
        unasked += [path.relative_to(root).as_posix() for path in there if path.stem not in questions]
    advice = (
        "Download or build them (`seawall build va-safetybench`), or choose the prompt types that are there by --types."
    )
    require_media(root, items, advice)
    if unasked:
        log.warning("%d media have no question and are left out: %s", len(unasked), name_some(unasked))
    return items


def find_scenarios(root: Path, modality: str) -> list[str]:
    """Return the scenarios: VA-SafetyBench's, all of which must be there where one is; else those of the question files."""
    folder = root / f"{modality}_questions"
    there = sorted(path.stem for path in folder.glob("*.json"))
    if not there:
        raise DataError(
            f"{root} has no question files {modality}_questions/<scenario>.json. Give VA-SafetyBench as downloaded or built "
            "(docs/benchmarks.md)."
        )
    if not set(there) & set(SCENARIOS):
        return there
    if missing := [f"{name}.json" for name in SCENARIOS if name not in there]:
        raise DataError(
            f"{folder} lacks {len(missing)} of {len(SCENARIOS)} question files: {', '.join(missing)}. Download them again."
        )
    return list(SCENARIOS)


def check(path: Path, id: str, texts: dict[str, str | None], modality: str) -> None:
    """Raise DataError for texts that are missing; only `Audio_only` has none, since there the sound carries the question."""
    wrong = [
        task
        for task in PROMPT_TYPES[modality]
        if task not in texts
        or (
            texts[task] is not None
            if task == "Audio_only"
            else not isinstance(texts[task], str) or not texts[task].strip()
        )
    ]
    if wrong:
        found = ", ".join(f"{task} {texts.get(task, 'missing')!r}" for task in wrong)
        raise DataError(
            f"{path}: item {id!r} has no usable text: {found}. All but Audio_only, which must be null, need one."
        )
