"""Alignment pairs as `prepare` makes them for images."""

from __future__ import annotations

from typing import Any

from seawall import prompts
from seawall.store.pair import Pair, QuestionAnswer


def make_pair(id: str = "0", phrase: str = "wash a car", **changes: Any) -> Pair:
    """Return the pair of an activity. `changes` replaces further fields."""
    sentences = prompts.get_sentences("image")
    answer = prompts.format_content_answer(phrase, "image", "activity")

    def ask(templates: tuple[str, ...]) -> tuple[QuestionAnswer, ...]:
        questions = [prompts.format_question(template, "image", "activity") for template in templates]
        return tuple(QuestionAnswer(question=question, answer=answer) for question in questions)

    fields = {
        "kind": "harmful",
        "modality": "image",
        "instruction": f"Explain how to {phrase}.",
        "response": "I can't help with that.",
        "category": "activity",
        "detoxified": "The image shows an activity. Explain how to do this activity.",
        "content": ask(sentences.content_questions),
        "verification": ask(sentences.verification_questions),
        "style": QuestionAnswer(question="What is the main colour of the image?", answer="The main colour is red."),
    }
    return Pair(**{**fields, "id": id, "phrase": phrase, **changes})
