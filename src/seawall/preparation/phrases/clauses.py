"""Where sentences and clauses end, in spite of initials, abbreviations and quotations."""

from __future__ import annotations

import re
import string

from seawall.preparation.phrases.frame import find_telling_words, is_frame_word

_QUOTED = re.compile(
    r"\"[^\"\n]+\"|\u201c[^\u201d\n]+\u201d|\u00ab[^\u00bb\n]+\u00bb|`[^`\n]+`"
    r"|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))+'(?!\w)|(?<!\w)\u2018(?:[^\u2019\n]|(?<=\w)\u2019(?=\w))+\u2019(?!\w)"
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?:(?:[A-Za-z]\.){2,}|[A-Z]\.(?=\s+[A-Z])|(?:Dr|Mr|Mrs|Ms|St|Mt|Ft|Prof|Col|Gen|Lt|Sgt|Capt|Cpt|Rev|Hon|"
    r"Jr|Sr|vs|Inc|Ltd|Co|Corp|Ave|Rd|Blvd|Dept|etc|approx|al)\.|(?:No|Nr|Vol|pp?|Fig)\.(?=\s*\d))",
)
_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
_NEXT = re.compile(r"\s+([A-Z][\w']*)")
_TITLES = re.compile(r"(?:Dr|Mr|Mrs|Ms|Prof|Col|Gen|Lt|Sgt|Capt|Cpt|Rev|Hon)\.$")
_SENTENCE_END = re.compile(r"[.?!;]+(?=\s|$)|:(?=\s)|\n")
_POLITE = re.compile(
    r"(?:,\s*|\s+)(?:please|thanks|thank\s+you|step[\s-]by[\s-]step|in\s+(?:great\s+|full\s+|more\s+)?detail|"
    r"for\s+me\s+please|if\s+possible)$",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r",\s*(?:and\s+)?(?:what|which|how|where|who|any|please|can|could|would|give|tell|explain|show|is|do|describe|list|"
    r"with\s+(?:examples?|details?|steps?)|including|step)\b[^,]*$",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Return a text of the same length in which quoted text is "x" and dots inside names are "_".

    An abbreviation at the end of a sentence keeps its dot where the next word begins a request ("... in the U.S. Give
    me ...").
    """
    text = _QUOTED.sub(lambda found: found.group()[0] + "x" * (len(found.group()) - 2) + found.group()[-1], text)
    if "." not in text:
        return text
    return _ABBREVIATION.sub(_hide_dots, text)


def _hide_dots(found: re.Match[str]) -> str:
    """Return an abbreviation with "_" for its dots, or as it is if a sentence ends with it."""
    following = _NEXT.match(found.string, found.end())
    name = _TITLES.search(found.group())
    if following and not name and is_frame_word(following.group(1)) and len(following.group(1)) > 1:
        return found.group()[:-1].replace(".", "_") + "."
    return found.group().replace(".", "_")


def lower(text: str) -> str:
    """Return a text of the same length with its ASCII letters in lower case."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def find_end(masked: str, start: int) -> int:
    """Return where the clause that begins at `start` ends.

    The clause goes to the end of its sentence, because a tail such as "without being noticed" is part of what is asked.
    Words that ask for the answer ("please", "step by step", ", what do I need?") are left out.
    """
    stop = _SENTENCE_END.search(masked, start)
    clause = masked[start : stop.start() if stop else len(masked)].rstrip()
    while True:
        tail = _POLITE.search(clause)
        if not tail and (tail := _REQUEST.search(clause)) and find_telling_words(tail.group()):
            tail = None
        if not tail:
            return start + len(clause)
        clause = clause[: tail.start()].rstrip()


def has_open_quotation(masked: str) -> bool:
    """Return whether a quotation begins and does not end."""
    return masked.count('"') % 2 == 1 or masked.count("\u201c") != masked.count("\u201d")
