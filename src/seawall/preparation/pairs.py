"""Records -> alignment pairs: detoxified instruction, content controls, verification questions and style control."""

from __future__ import annotations

import random

from seawall import prompts
from seawall.preparation.extract import Extraction
from seawall.store.pair import Pair, QuestionAnswer, Record

WHOLE_REQUESTS = 1 / 3
"""Share of records whose medium contains the whole request, in modalities that can (sounds): one of three attacks of VA-SafetyBench."""


def make_pair(
    record: Record,
    extraction: Extraction,
    *,
    seed: int,
    modality: str,
    extractor: str,
    announcements: int | None = None,
) -> Pair:
    """Return the alignment pair of a record. It depends on the arguments only, not on other records.

    Args:
        record: The record, with a kind and a response.
        extraction: Its phrase and detoxified instruction.
        seed: Seed of what is drawn: announcement, style, and the first content question.
        modality: What the embedding will stand for.
        extractor: What found the phrase.
        announcements: Number of announcements to draw from. None is all of them.
    """
    rng = random.Random(f"{seed}/{record.id}")
    phrase, category = extraction.phrase, extraction.category
    sentences = prompts.get_sentences(modality)
    whole = sentences.transcript is not None and rng.random() < WHOLE_REQUESTS
    announcement = rng.choice(sentences.announcements[:announcements])
    style_question, (style_answer, styles) = rng.choice(list(sentences.styles.items()))
    style = rng.choice([style for style in styles if style != sentences.whole_request])
    first = rng.choice(sentences.content_questions)
    answer = prompts.format_content_answer(phrase, modality, category)

    def ask(template: str, reply: str = answer) -> QuestionAnswer:
        return QuestionAnswer(question=prompts.format_question(template, modality, category), answer=reply)

    detoxified = prompts.announce(announcement, modality, category, extraction.instruction)
    content = [ask(first), *(ask(other) for other in sentences.content_questions if other != first)]
    if whole and sentences.transcript:
        question, words = sentences.transcript
        detoxified = ""
        content = [
            ask(question, words.format(words=record.instruction)),
            *(ask(other) for other in sentences.content_questions),
        ]
    return Pair(
        id=record.id,
        kind=record.kind or "harmful",
        modality=modality,
        instruction=record.instruction,
        response=record.response or "",
        rejected=record.rejected,
        phrase=phrase,
        category=category,
        detoxified=detoxified,
        content=tuple(content),
        verification=tuple(ask(question) for question in sentences.verification_questions),
        style=ask(style_question, style_answer.format(style=style)),
        extractor=extractor,
    )
