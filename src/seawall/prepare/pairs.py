"""Records -> alignment pairs: detoxified instruction, content control and style control."""

from __future__ import annotations

import random
from typing import Any

from seawall import phrasing
from seawall.prepare.extract import Extraction
from seawall.prepare.presets import Record

WHOLE_REQUESTS = 1 / 3
"""Share of records whose medium asks by itself, where a modality has such: one of the three attacks of VA-SafetyBench's sounds."""


def make_pair(
    record: Record, extraction: Extraction, *, seed: int, medium: str, extractor: str, announcements: int | None = None
) -> dict[str, Any]:
    """Return one line of `pairs.jsonl`. It depends on the arguments alone, not on other records."""
    rng = random.Random(f"{seed}/{record.id}")
    phrase, category = extraction.phrase, extraction.category
    said = phrasing.sentences(medium)
    whole = said.transcript is not None and rng.random() < WHOLE_REQUESTS
    announcement = rng.choice(said.announcements[:announcements])
    style_question, (style_answer, styles) = rng.choice(list(said.styles.items()))
    style = rng.choice([style for style in styles if style != said.whole_request])
    content_question, content_answer = (
        rng.choice(said.content_questions),
        phrasing.content_answer(phrase, medium, category),
    )
    detoxified = phrasing.announce(announcement, medium, category, extraction.instruction)
    if whole:
        detoxified, (content_question, words) = "", said.transcript
        content_answer = words.format(words=record.instruction)
    return {
        **describe(record),
        "phrase": phrase,
        "category": category,
        "detoxified": detoxified,
        "content": {
            "question": phrasing.ask(content_question, medium, category),
            "answer": content_answer,
        },
        "style": {
            "question": phrasing.ask(style_question, medium, category),
            "answer": style_answer.format(style=style),
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
