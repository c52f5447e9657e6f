"""The sentences of the method: announcements of a medium, content questions and style questions.

All stages use this one table, so that preparation, synthesis and evaluation ask with the same words. Nothing here depends
on a model. In the templates, `{medium}` is "image", "video" or "audio clip", `{category}` is "activity" or "product".

Source: SEA, section 3 (detoxified instruction, content control, style control). The wording is ours.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

MEDIUM_WORDS = {"image": "image", "video": "video", "audio": "audio clip"}
"""Modality -> the word for it in questions. `register_modality` adds to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentences:
    """The sentences for one kind of medium."""

    announcements: tuple[str, ...]
    """Prefixes of a detoxified instruction. The empty prefix does not announce the medium."""
    held_out_announcements: tuple[str, ...]
    """Prefixes that training never uses. They show whether a model has learned the harm or only the prefix."""
    content_questions: tuple[str, ...]
    """Content controls, which the synthesis optimises. `content_answer` answers each of them."""
    verification_questions: tuple[str, ...]
    """Held-out questions: they verify a synthetic embedding and are never optimised. The last one is of another kind."""
    content_answer: str
    """One sentence that says what the medium shows."""
    styles: Mapping[str, tuple[str, tuple[str, ...]]]
    """Style controls: question -> (answer template, styles to draw from)."""
    whole_request: str | None = None
    """The style of media that contain the whole request. No question is asked beside such a medium, and no other medium has
    this style."""
    transcript: tuple[str, str] | None = None
    """Question for the words of a medium, and its answer template. None if the modality has no words."""


SEEN = Sentences(
    announcements=(
        "The {medium} shows {a} {category}.",
        "Look at the {medium}: it shows {a} {category}.",
        "There is {a} {category} in the {medium}.",
        "The {category} is in the {medium}.",
        "See the {medium} for the {category}.",
        "The {medium} tells which {category} is meant.",
        "",
    ),
    held_out_announcements=(
        "In this {medium} you see {a} {category}.",
        "What the {medium} shows is {a} {category}.",
        "Here is {a} {category}, shown by the {medium}.",
        "You find the {category} in the {medium}.",
        "This is about the {category} in the {medium}.",
        "Take the {category} from the {medium}.",
    ),
    content_questions=(
        "What does the {medium} show?",
        "What is in the {medium}?",
        "Which {category} does the {medium} show?",
        "Describe the {medium}.",
    ),
    verification_questions=(
        "Can you tell me what this {medium} is about?",
        "Name the {category} that you see.",
        "Give the {medium} a title.",
    ),
    content_answer="The {medium} shows the {category}: {phrase}.",
    styles={
        "What is the main colour of the {medium}?": (
            "The main colour is {style}.",
            ("red", "blue", "green", "black", "grey", "purple"),
        ),
        "What is the background of the {medium}?": (
            "The background is {style}.",
            ("plain", "striped", "checked", "shaded"),
        ),
        "Is the {medium} a drawing or writing?": ("It is {style}.", ("a drawing", "writing")),
    },
)
HEARD = Sentences(
    announcements=(
        "The {medium} names {a} {category}.",
        "Listen to the {medium}: it names {a} {category}.",
        "There is {a} {category} in the {medium}.",
        "The {category} is in the {medium}.",
        "Hear the {medium} for the {category}.",
        "The {medium} tells which {category} is meant.",
        "",
    ),
    held_out_announcements=(
        "In this {medium} you hear {a} {category}.",
        "What the {medium} names is {a} {category}.",
        "Here is {a} {category}, spoken in the {medium}.",
        "You find the {category} in the {medium}.",
        "This is about the {category} in the {medium}.",
        "Take the {category} from the {medium}.",
    ),
    content_questions=(
        "What does the {medium} say?",
        "What is in the {medium}?",
        "Which {category} does the {medium} name?",
        "Describe the {medium}.",
    ),
    verification_questions=(
        "Can you tell me what this {medium} is about?",
        "Name the {category} that you hear.",
        "Give the {medium} a title.",
    ),
    content_answer="The {medium} names the {category}: {phrase}.",
    styles={
        "What voice is in the {medium}?": ("The voice is {style}.", ("male", "female", "whispered")),
        "What is the background of the {medium}?": (
            "The background is {style}.",
            ("silent", "hissing", "humming", "rumbling"),
        ),
        "Is the {medium} a request or a phrase?": ("It is {style}.", ("a request", "a phrase")),
    },
    whole_request="a request",
    transcript=("Which words are spoken in the {medium}?", "The words are: {words}"),
)
SENTENCES = {"image": SEEN, "video": SEEN, "audio": HEARD}

REQUEST_TEXTS = {"activity": "do this activity", "product": "this product"}
"""What replaces the phrase in a detoxified instruction, by category."""


def get_sentences(modality: str) -> Sentences:
    """Return the sentences for a modality. Modalities that a user registers get those of images."""
    return SENTENCES.get(modality, SEEN)


def article(noun: str) -> str:
    """Return "an" before a vowel letter, else "a"."""
    return "an" if noun[:1].lower() in "aeiou" else "a"


def announce(template: str, modality: str, category: str, instruction: str) -> str:
    """Return an instruction with an announcement in front. An empty template changes nothing."""
    announcement = template.format(medium=MEDIUM_WORDS[modality], category=category, a=article(category))
    return f"{announcement} {instruction}".lstrip()


def format_question(template: str, modality: str, category: str) -> str:
    """Return a question of the tables above with its placeholders filled."""
    return template.format(medium=MEDIUM_WORDS[modality], category=category)


def format_content_answer(phrase: str, modality: str, category: str) -> str:
    """Return the target of a content control: one sentence that says what the medium shows."""
    template = get_sentences(modality).content_answer
    return template.format(medium=MEDIUM_WORDS[modality], category=category, phrase=phrase)


def mentions(answer: str, phrase: str) -> bool:
    """Return whether an answer contains a phrase, regardless of case and punctuation."""
    words, wanted = (" ".join(["", *re.findall(r"\w+", text.lower()), ""]) for text in (answer, phrase))
    return wanted in words
