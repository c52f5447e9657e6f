"""Records -> alignment pairs: detoxified instruction, content control and style control."""

from __future__ import annotations

import random
from typing import Any

from seawall import phrasing
from seawall.prepare.extract import Extraction
from seawall.prepare.presets import Record


def make_pair(
    record: Record, extraction: Extraction, *, seed: int, medium: str, extractor: str, announcements: int | None = None
) -> dict[str, Any]:
    """Return one line of `pairs.jsonl`. It depends on the arguments alone, not on other records."""
    rng = random.Random(f"{seed}/{record.id}")
    phrase, category = extraction.phrase, extraction.category
    said = phrasing.sentences(medium)
    announcement = rng.choice(said.announcements[:announcements])
    style_question, (style_answer, styles) = rng.choice(list(said.styles.items()))
    style = rng.choice(styles)
    detoxified = phrasing.announce(announcement, medium, category, extraction.instruction)
    style_answer = style_answer.format(style=style)
    if style == said.whole_request:
        detoxified, (style_question, words) = "", said.transcript
        style_answer = words.format(words=record.instruction)
    return {
        **describe(record),
        "phrase": phrase,
        "category": category,
        "detoxified": detoxified,
        "content": {
            "question": phrasing.ask(rng.choice(said.content_questions), medium, category),
            "answer": phrasing.content_answer(phrase, medium, category),
        },
        "style": {
            "question": phrasing.ask(style_question, medium, category),
            "answer": style_answer,
        },
        "extractor": extractor,
    }


def describe(record: Record) -> dict[str, Any]:
    """Return a record's own columns, as pairs.jsonl and rejected.jsonl have them."""
    return {
        "id": record.id,
        "kind": record.kind,
        "instruction": record.instruction,
        "response": record.response,
        "rejected": record.rejected,
    }
