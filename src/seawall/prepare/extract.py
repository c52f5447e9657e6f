"""The phrase of an instruction, by rules: no model, good on imperative and how-to forms, honest about the rest."""

from __future__ import annotations

import dataclasses
import re

from seawall.phrasing import REQUEST_TEXTS

_LEADS = tuple(
    re.compile(rf"\b(?:{forms})\s+", re.IGNORECASE)
    for forms in (
        "how to|ways? (?:to|of)|steps? to|tips? to|plan to|recipe to|teach me to"
        "|how (?:do|can|could|should|would|might) (?:i|you|one|we|someone|people)",
        "(?:want|need|like|trying) to|help me(?: to)?",  # looked for last: "I want to know how to ..."
    )
)
_END = re.compile(r"[.?!;](?=\s|$)|\n|,? (?:please|without|so that|because|in order to)\b", re.IGNORECASE)
_MAKING = re.compile(
    r"(?:make|create|produce|manufacture|buy|obtain|acquire)\s+(?P<article>an?|the|some|my own)\s+(?P<what>.+)",
    re.IGNORECASE,
)
_LITTLE = frozenset(
    [
        "a",
        "an",
        "the",
        "my",
        "your",
        "own",
        "some",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "with",
        "and",
        "or",
        "from",
        "into",
        "up",
        "it",
        "this",
        "that",
        "is",
        "do",
        "me",
        "i",
        "you",
        "we",
        "one",
        "people",
        "how",
        "can",
    ]
)
_POINTER = re.compile(r"\b(?:it|this|that|them|these|those|so)$", re.IGNORECASE)
MAX_WORDS = 8


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What is harmful (or, in a harmless record, what it is about), and the instruction without it."""

    phrase: str
    category: str
    """`activity` or `product`."""
    instruction: str
    """The instruction with "this activity" or "this product" in the phrase's place."""


class NotExtractable(Exception):
    """An instruction that the rules cannot handle; its text is the reason."""


def extract_by_rules(instruction: str) -> Extraction:
    """Find the phrase of an instruction such as "Explain how to steal a car." -> "steal a car".

    Raises:
        NotExtractable: No known form, a phrase of more than `MAX_WORDS` words, or one that leaks into the rest.
    """
    lead = next(filter(None, (leads.search(instruction) for leads in _LEADS)), None)
    if not lead:
        raise NotExtractable(
            "no phrase found: the rules know 'how to ...', 'steps to ...', 'how can I ...' and the like"
        )
    act = _END.split(instruction[lead.end() :], maxsplit=1)[0].strip()
    if not 1 <= len(act.split()) <= MAX_WORDS:
        raise NotExtractable(
            f"the phrase found has {len(act.split())} words; 1 to {MAX_WORDS} can be shown by a medium"
        )
    if _POINTER.search(act):
        raise NotExtractable(f"the phrase found, {act!r}, only points at something said elsewhere")
    making = _MAKING.fullmatch(act)
    phrase, category = (making["what"], "product") if making else (act, "activity")
    start = lead.end() + (making.start("article") if making else 0)
    detoxified = instruction[:start] + REQUEST_TEXTS[category] + instruction[lead.end() + len(act) :]
    leaked = content_words(phrase) & content_words(detoxified)
    if leaked:
        raise NotExtractable(f"the words {sorted(leaked)} of the phrase remain in the rest of the instruction")
    return Extraction(phrase, category, detoxified)


def content_words(text: str) -> set[str]:
    """Return the words of a text that say what it is about."""
    return set(re.findall(r"\w+(?:'\w+)*", text.lower())) - _LITTLE
