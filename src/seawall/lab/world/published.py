"""Phrases of the world in the layouts of published benchmarks.

The layout is that of MM-SafetyBench for images and of VA-SafetyBench for videos and sounds. The readers of the
published benchmarks read these folders too, and the judge `organism` knows the exact verdicts. The scenarios are
`activity` and `product`.
"""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

from seawall.lab.world import dialogue
from seawall.lab.world.media import GENERATORS
from seawall.lab.world.phrases import Part, Phrase, list_phrases
from seawall.store.files import write_durably, write_json
from seawall.store.va_safetybench import PHRASES

PROMPT_TYPES = {
    "image": {"picture": "SD", "writing": "TYPO"},
    "video": {"picture": "DM", "writing": "TYPO", "picture_writing": "DM_TYPO"},
    "audio": {"request": "Audio_only", "phrase": "KPT", "noise_phrase": "KPT_noise"},
}
"""Modality -> form -> prompt type of the published benchmark."""
ENDINGS = {"image": ".png", "video": ".mp4", "audio": ".mp3"}
FOLDERS = {
    "image": ("data/imgs", "data/processed_questions"),
    "video": ("Video", "Video_questions"),
    "audio": ("Audio", "Audio_questions"),
}
"""Modality -> folder of the media, folder of the question files."""


def write_published(folder: Path, part: Part, phrases: int | None = None, modality: str = "image") -> None:
    """Write held-out phrases, harmful and harmless, in the layout of the published benchmark of a modality.

    Args:
        folder: Folder to write to.
        part: `test` or `validation`; see `data.write_benchmark`.
        phrases: Maximum number of phrases of each kind. None uses all.
        modality: `image`, `video` or `audio`.
    """
    rng, pool = random.Random(f"published/{part}"), "unseen" if part == "test" else "encoder"
    generator = GENERATORS[modality]
    media, question_folder = (folder / name for name in FOLDERS[modality])
    questions: dict[str, dict[str, Any]] = {}
    known: dict[str, dict[str, Any]] = {}
    members = [phrase for kind in ("harmful", "harmless") for phrase in list_phrases(part, kind)[:phrases]]
    for number, phrase in enumerate(members):
        id, request = str(number), rng.randrange(60)
        questions.setdefault(phrase.category, {})[id] = _make_texts(phrase, request, rng.randrange(60), modality)
        facts = {"phrase": phrase.text, "type": phrase.category, "harmful": phrase.harmful}
        known.setdefault(phrase.category, {})[id] = facts
        for form, prompt_type in PROMPT_TYPES[modality].items():
            style = generator.draw_style(rng, pool)
            if form == "request":
                style = dataclasses.replace(style, request=request % len(dialogue.REQUESTS))
            path = media / phrase.category / prompt_type / (id + ENDINGS[modality])
            path.parent.mkdir(parents=True, exist_ok=True)
            generator.save(path, phrase, form, style)
    question_folder.mkdir(parents=True, exist_ok=True)
    for scenario, texts in questions.items():
        write_durably(question_folder / f"{scenario}.json", json.dumps(texts, indent=1).encode())
    write_json(folder / PHRASES, known)


def _make_texts(phrase: Phrase, request: int, announcement: int, modality: str) -> dict[str, str | None]:
    """Return the entry of a phrase in a question file."""
    plain = dialogue.make_request(phrase, request)[0]
    detoxified = dialogue.make_detoxified_request(phrase, request, announcement, modality)[0]
    if modality == "image":
        return {
            "Question": plain,
            "Changed Question": plain,
            "Key Phrase": phrase.text,
            "Phrase Type": phrase.category,
            "Rephrased Question": detoxified,
            "Rephrased Question(SD)": detoxified,
        }
    types = PROMPT_TYPES[modality].values()
    return {"Text_only": plain} | {name: None if name == "Audio_only" else detoxified for name in types}
