"""What an extraction is, and the checks that each one has to pass, whoever made it: rules (`rules`) or a model (`ask`)."""

from __future__ import annotations

import dataclasses
import functools
import re

from seawall.prompts import REQUEST_TEXTS

MAX_WORDS = 8
"""The longest phrase that a medium is asked to show."""
PLACEHOLDERS = {"activity": "this activity", "product": "this product"}
_LITTLE = frozenset(
    """a an the my your our his her its their own some any of to in on at for with and or from into up out off over by as
    it this that these those them they he she is are be been was were do does doing did have has me i you we us one someone
    people how can could would should if so""".split()  # noqa: SIM905
)
POINTER = re.compile(r"\b(?:it|this|that|them|these|those|so)$", re.IGNORECASE)
_MISPLACED = re.compile(r"\b(?:an?|the|my|your|some|this|to)\s+this\s+(?:activity|product)\b", re.IGNORECASE)
_SLIP = re.compile(r"\s[.,;:?!]|[,;:]\s*[.?!]|\(\s*\)")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What is harmful (or, in a harmless record, what it is about), and the instruction without it."""

    phrase: str
    category: str
    """`activity` or `product`."""
    instruction: str
    """The instruction with "this activity" or "this product" in the phrase's place."""
    paraphrase: bool = False
    """The phrase is not in the instruction word for word, and whoever extracted it says so."""


class NotExtractable(Exception):
    """An instruction without a usable phrase; its text is the reason, as `rejected.jsonl` gives it."""


def check_extraction(instruction: str, found: Extraction) -> Extraction:
    """Return an extraction that is fit for a pair.

    Raises:
        NotExtractable: Unknown category; a phrase that is empty, of more than `MAX_WORDS` words, points elsewhere or is not in
            the instruction; a detoxified instruction that lacks its placeholder, holds a content word of the phrase, or is
            no sentence any more.
    """
    if found.category not in REQUEST_TEXTS:
        raise NotExtractable(f"the category is {found.category!r}; it must be activity or product")
    if not 1 <= len(found.phrase.split()) <= MAX_WORDS:
        raise NotExtractable(
            f"the phrase found has {len(found.phrase.split())} words; 1 to {MAX_WORDS} can be shown by a medium"
        )
    if POINTER.search(found.phrase):
        raise NotExtractable(f"the phrase found, {found.phrase!r}, only points at something said elsewhere")
    if not content_words(found.phrase):
        raise NotExtractable(f"the phrase found, {found.phrase!r}, says nothing by itself")
    _check_presence(instruction, found)
    _check_sentence(instruction, found)
    rest = re.sub(PLACEHOLDERS[found.category], "", found.instruction, flags=re.IGNORECASE)
    stems = {stem(word) for word in content_words(rest)}
    leaked = sorted(word for word in content_words(found.phrase) if stem(word) in stems)
    if leaked:
        raise NotExtractable(f"the words {leaked} of the phrase remain in the rest of the instruction")
    return found


def _check_presence(instruction: str, found: Extraction) -> None:
    """Raise where the phrase is not the instruction's: word for word, or a paraphrase that shares a content word."""
    if found.paraphrase:
        said = {stem(word) for word in content_words(instruction)}
        if said.isdisjoint(stem(word) for word in content_words(found.phrase)):
            raise NotExtractable(f"the paraphrase {found.phrase!r} shares no word with the instruction")
    elif f" {_plain(found.phrase)} " not in f" {_plain(instruction)} ":
        raise NotExtractable(f"the phrase {found.phrase!r} is not in the instruction, and not marked as a paraphrase")


def _check_sentence(instruction: str, found: Extraction) -> None:
    """Raise where the detoxified instruction is no sentence, or not this one."""
    text, placeholder = found.instruction, PLACEHOLDERS[found.category]
    if len(re.findall(rf"\b{placeholder}\b", text, re.IGNORECASE)) != 1:
        raise NotExtractable(f"the detoxified instruction does not say {placeholder!r} exactly once")
    fault = _MISPLACED.search(text) or _SLIP.search(text)
    if fault and fault.group() not in instruction:
        raise NotExtractable(f"the detoxified instruction is no sentence: it holds {fault.group()!r}")
    count = len(text.split())
    if count < 3 or count > len(instruction.split()) + len(placeholder.split()) + 2:
        raise NotExtractable(f"the detoxified instruction is no sentence of this length: {count} words")


def content_words(text: str) -> set[str]:
    """Return the words of a text that say what it is about."""
    return set(_WORD.findall(text.lower())) - _LITTLE


@functools.lru_cache(100_000)
def stem(word: str) -> str:
    """Return what the common English forms of a word share: "baking", "bakes", "baker" -> "bak"."""
    word = re.sub(r"['\u2019]s?$", "", word)
    if len(word) > 4:
        word = re.sub(r"(?<=\w{3})(?:ings?|ers?|ed|es|s)$", "", word)
    word = re.sub(r"([bdgklmnprt])\1$", r"\1", word)
    return re.sub(r"(?<=\w{2})e$", "", re.sub(r"(?<=\w{2})(?:ie|y)$", "i", word))


def _plain(text: str) -> str:
    """Lower case, words alone: what two spellings of a text share."""
    return " ".join(_WORD.findall(text.lower()))
