"""The sentences of the method: how a medium is announced, asked about and described.

One table for every stage, so that `prepare` writes, `synthesize` optimises and verifies, and `evaluate` asks with
the same words. Nothing here depends on a model. `{medium}` is "image", "video" or "audio clip".

Source: SEA, section 3 (detoxified instruction, content control, style control); the wording is ours.
"""

from __future__ import annotations

MEDIA = {"image": "image", "video": "video", "audio": "audio clip"}

ANNOUNCEMENTS = (
    "The {medium} shows {a} {category}.",
    "Look at the {medium}: it shows {a} {category}.",
    "There is {a} {category} in the {medium}.",
    "The {category} is in the {medium}.",
    "See the {medium} for the {category}.",
    "The {medium} tells which {category} is meant.",
)
"""Prefixes of a detoxified instruction."""

CONTENT_QUESTIONS = (
    "What does the {medium} show?",
    "What is in the {medium}?",
    "Which {category} does the {medium} show?",
    "Describe the {medium}.",
)
"""Content controls: what the synthesis optimises. Each is answered by `content_answer`."""

HELD_OUT_QUESTIONS = (
    "Can you tell me what this {medium} is about?",
    "Name the {category} that you see.",
    "Give the {medium} a title.",
)
"""Asked only to verify a synthetic embedding, never in its optimisation. The last is of another kind."""

STYLES = {
    "What is the main colour of the {medium}?": (
        "The main colour is {style}.",
        ("red", "blue", "green", "black", "grey", "purple"),
    ),
    "What is the background of the {medium}?": (
        "The background is {style}.",
        ("plain", "striped", "checked", "shaded"),
    ),
    "Is the {medium} a drawing or writing?": ("It is {style}.", ("a drawing", "writing")),
}
"""Style controls: question -> (answer, the styles to draw from)."""

REQUEST_TEXTS = {"activity": "do this activity", "product": "this product"}
"""What stands for the phrase in a detoxified instruction."""


def article(noun: str) -> str:
    """Return "an" before a vowel letter, else "a"."""
    return "an" if noun[:1].lower() in "aeiou" else "a"


def announce(index: int, medium: str, category: str) -> str:
    """Return announcement number `index` (taken modulo their number) of a medium."""
    text = ANNOUNCEMENTS[index % len(ANNOUNCEMENTS)]
    return text.format(medium=MEDIA[medium], category=category, a=article(category))


def ask(question: str, medium: str, category: str) -> str:
    """Fill in a question of the tables above."""
    return question.format(medium=MEDIA[medium], category=category)


def content_answer(phrase: str, medium: str, category: str) -> str:
    """Return the target of a content control: what the medium shows, in one sentence."""
    return f"The {MEDIA[medium]} shows the {category}: {phrase}."
