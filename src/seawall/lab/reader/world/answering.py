"""Answers of a language model in its own words, cut to whole sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from seawall.lab.reader.world.dialogue import draw_requests, write_request
from seawall.lab.reader.world.phrases import OpenPhrase
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel

MAX_TOKENS = 48
"""Maximum tokens of an answer."""
SHORTEST = 20
"""Fewest characters of an answer that is kept."""


def answer_requests(
    loaded: LoadedModel, phrases: Iterable[OpenPhrase], on_batch: Callable[[int], None] = lambda _: None
) -> dict[tuple[str, int], str]:
    """Return the model's answers to the requests of phrases, by phrase and number of the request.

    Answers without a whole sentence are left out.
    """
    asked = {
        (phrase.text, number): write_request(phrase, number) for phrase in phrases for number in draw_requests(phrase)
    }
    answers = answer_texts(loaded, [*asked.values()], on_batch)
    return {key: answers[question] for key, question in asked.items() if question in answers}


def answer_texts(
    loaded: LoadedModel, questions: Sequence[str], on_batch: Callable[[int], None] = lambda _: None
) -> dict[str, str]:
    """Return the model's greedy answers, by question. Those without a whole sentence are left out."""
    examples = [Example(question=question) for question in questions]
    texts = generate(loaded, examples, max_new_tokens=MAX_TOKENS, on_batch=on_batch)
    cut = {question: cut_to_sentences(text) for question, text in zip(questions, texts, strict=True)}
    return {question: text for question, text in cut.items() if len(text) >= SHORTEST}


def cut_to_sentences(text: str) -> str:
    """Return a text up to the end of its last whole sentence, on one line. Empty if it has none.

    The number of a list item ("2.") ends no sentence.
    """
    text = " ".join(text.split())
    ends = [match.end() for match in re.finditer(r"(?<=[^\W\d])[\"')*]*[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else ""
