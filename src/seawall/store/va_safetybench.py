"""The layout of VA-SafetyBench, which `seawall build` writes and the evaluation reads.

`<Video|Audio>_questions/<scenario>.json` maps id -> prompt type -> text. The media are
`<Video|Audio>/<scenario>/<prompt type>/<id>.<mp4|mp3>`. `phrases.json`, which the published set lacks, maps scenario ->
id -> phrase, type and whether it is harmful.

Source: Lu et al., arXiv 2502.12562, and its repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seawall.errors import DataError
from seawall.store.files import read_json

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
"""VA-SafetyBench's scenarios -> MM-SafetyBench's names for them, both as published."""
PROMPT_TYPES = {
    "Video": ("Text_only", "DM", "TYPO", "DM_TYPO"),
    "Audio": ("Text_only", "Audio_only", "KPT", "KPT_noise"),
}
"""Prompt types of each modality. All but `Text_only` have a medium."""
ENDINGS = {"Video": ".mp4", "Audio": ".mp3"}
PHRASES = "phrases.json"


def locate_medium(root: Path, modality: str, scenario: str, prompt_type: str, id: str) -> Path:
    """Return the path of a medium below the benchmark's folder."""
    return root / modality / scenario / prompt_type / (id + ENDINGS[modality])


def read_questions(path: Path) -> dict[str, dict[str, Any]]:
    """Return the content of a question file: id -> field -> text.

    Raises:
        DataError: It is not JSON, is empty, or contains an id twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise DataError(f"{path} contains {', '.join(map(repr, twice))} more than once. Remove the duplicates.")
        return dict(pairs)

    try:
        questions = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not readable JSON ({error}). Download it again.") from error
    if not isinstance(questions, dict) or not questions or not all(isinstance(v, dict) for v in questions.values()):
        raise DataError(
            f'{path} does not have the form {{"id": {{"field": text}}}}. Give a question file as published.'
        )
    return questions


def read_phrases(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the content of `phrases.json`, empty without the file.

    Returns:
        Scenario -> id -> `phrase`, `type` and, if given, `harmful`.
    """
    path = root / PHRASES
    return read_json(path) if path.is_file() else {}
