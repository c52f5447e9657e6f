"""The organisms' world in the layouts of published benchmarks: VA-SafetyBench for videos and sound, MM-SafetyBench for images.

So what reads a public set reads this one, and its figures are known exactly (the judge `organism`). Scenarios are `activity` and `product`.
"""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

from seawall.store.files import write_durably, write_json
from seawall.lab.world import dialogue
from seawall.lab.world.media import STUDIOS
from seawall.lab.world.phrases import Phrase, split

TYPES = {
    "image": {"picture": "SD", "writing": "TYPO"},
    "video": {"picture": "DM", "writing": "TYPO", "picture_writing": "DM_TYPO"},
    "audio": {"request": "Audio_only", "phrase": "KPT", "noise_phrase": "KPT_noise"},
}
"""The benchmarks' names of the ways to show a phrase."""
ENDINGS = {"image": ".png", "video": ".mp4", "audio": ".mp3"}
FOLDERS = {
    "image": ("data/imgs", "data/processed_questions"),
    "video": ("Video", "Video_questions"),
    "audio": ("Audio", "Audio_questions"),
}
"""Where media and question files lie."""


def write_published(folder: Path, part: str, phrases: int | None = None, modality: str = "image") -> None:
    """Write held-out phrases, harmful and harmless, as a published benchmark of this modality has them.

    Args:
        folder: Where to.
        part: `test` or `validation`; see `data.write_benchmark`.
        phrases: Use only so many phrases of each kind.
        modality: Of the media.
    """
    rng, pool = random.Random(f"published/{part}"), "unseen" if part == "test" else "encoder"
    media, questions = (folder / name for name in FOLDERS[modality])
    asked: dict[str, dict[str, Any]] = {}
    known: dict[str, dict[str, Any]] = {}
    members = [phrase for kind in ("harmful", "harmless") for phrase in split(part, kind)[:phrases]]
    for number, phrase in enumerate(members):
        id, form = str(number), rng.randrange(60)
        texts = _write_texts(phrase, form, rng.randrange(60), modality)
        asked.setdefault(phrase.category, {})[id] = texts
        about = {"phrase": phrase.text, "type": phrase.category, "harmful": phrase.harmful}
        known.setdefault(phrase.category, {})[id] = about
        for shown, name in TYPES[modality].items():
            look = STUDIOS[modality].draw(rng, pool)
            if shown == "request":
                look = dataclasses.replace(look, request=form % len(dialogue.REQUESTS))
            path = media / phrase.category / name / (id + ENDINGS[modality])
            path.parent.mkdir(parents=True, exist_ok=True)
            STUDIOS[modality].save(path, phrase, shown, look)
    questions.mkdir(parents=True, exist_ok=True)
    for scenario, items in asked.items():
        write_durably(questions / f"{scenario}.json", json.dumps(items, indent=1).encode())
    write_json(folder / "phrases.json", known)


def _write_texts(phrase: Phrase, form: int, announcement: int, modality: str) -> dict[str, str | None]:
    """Return what a question file says of a phrase."""
    plain = dialogue.request(phrase, form)[0]
    beside = dialogue.detoxified_request(phrase, form, announcement, modality)[0]
    if modality == "image":
        return {
            "Question": plain,
            "Changed Question": plain,
            "Key Phrase": phrase.text,
            "Phrase Type": phrase.category,
            "Rephrased Question": beside,
            "Rephrased Question(SD)": beside,
        }
    return {"Text_only": plain} | {name: None if name == "Audio_only" else beside for name in TYPES[modality].values()}
