"""From an instruction to an alignment pair: the extraction, the checks that it has to pass, and the pair made from it.

`rules` and `ask` produce extractions. Both call `check_extraction`.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import re

from seawall import prompts
from seawall.preparation.phrases.clauses import mask
from seawall.preparation.phrases.frame import find_telling_words
from seawall.preparation.phrases.references import find_reference
from seawall.store.pair import Pair, QuestionAnswer, Record

MAX_WORDS = 16
"""Maximum number of words in a phrase, because a medium has to show it and the model has to name it word for word."""
PLACEHOLDERS = {"activity": "this activity", "product": "this product"}
"""Category -> text that every detoxified instruction of it contains."""
WHOLE_REQUESTS = 1 / 3
"""Default share of the records whose medium contains the whole request, for modalities with words (audio).
VA-SafetyBench has one such attack out of three."""
_FUNCTION_WORDS = frozenset(
    """a an the my your our his her its their own some any of to in on at for with and or from into up out off over by
    as it this that these those them they he she is are be been was were do does doing did have has me i you we us one
    someone people how can could would should if so""".split()  # noqa: SIM905
)
_EMPTY_WORDS = frozenset(
    """know determine take help begin start started starting proceed get getting got go going use using try trying find
    finding say tell make making made need want happen work continue think learn understand decide be being come put
    give keep let look see ask answer respond act react move about more most much many something anything everything
    nothing thing things stuff item items someone somebody anyone anybody everyone everybody else best well better first
    next then now again please actually really just also always ever activity product task request""".split()  # noqa: SIM905
)
"""Words that say nothing about a request. A phrase needs another one."""
_NO_VERB = re.compile(
    r"(?:an?|the|my|your|our|his|her|their|some|of|in|on|at|with|from|for|to|by|about|into|as|and|or|who|that|which|i|"
    r"you|we|they|is|are|was|were)\s",
    re.IGNORECASE,
)
_MISPLACED = re.compile(r"\b(?:an?|the|my|your|some|this|to)\s+this\s+(?:activity|product)\b", re.IGNORECASE)
_STRAY_PUNCTUATION = re.compile(r"\s[.,;:?!]|[,;:]\s*[.?!]|\(\s*\)")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """The phrase of an instruction, and the instruction without it."""

    phrase: str
    """What the request is about."""
    category: str
    """`activity` or `product`."""
    instruction: str
    """Detoxified instruction: "this activity" or "this product" replaces the phrase."""
    paraphrase: bool = False
    """The extractor states that the phrase is not in the instruction word for word."""


class NotExtractable(Exception):
    """An instruction has no usable phrase. The text is the reason that `rejected.jsonl` gives."""


def make_pair(
    record: Record,
    extraction: Extraction,
    *,
    seed: int,
    modality: str,
    extractor: str,
    announcements: int | None = None,
    whole_requests: float | None = None,
    style_controls: bool = True,
) -> Pair:
    """Return the alignment pair of a record. It depends on the arguments only, not on other records.

    Args:
        record: The record, with a kind and a response.
        extraction: Its phrase and detoxified instruction.
        seed: Random seed for the announcement, the style and the first content question.
        modality: What the embedding will stand for.
        extractor: Name of the extractor: `rules`, or a model.
        announcements: Number of announcements to draw from. None uses all.
        whole_requests: Probability that the medium contains the whole request, in modalities with words. None takes
            `WHOLE_REQUESTS`.
        style_controls: Whether the pair has a style control.

    Source: SEA, section 3 (detoxified instruction, content control, style control).
    """
    rng = random.Random(f"{seed}/{record.id}")
    phrase, category = extraction.phrase, extraction.category
    sentences = prompts.get_sentences(modality)
    whole = bool(sentences.transcript) and rng.random() < (WHOLE_REQUESTS if whole_requests is None else whole_requests)
    announcement = rng.choice(sentences.announcements[:announcements])
    style_question, style_answer = _draw_style(rng, sentences, whole)
    first = rng.choice(sentences.content_questions)
    content_answer = prompts.format_content_answer(phrase, modality, category)

    def fill(template: str, answer: str = content_answer) -> QuestionAnswer:
        return QuestionAnswer(question=prompts.format_question(template, modality, category), answer=answer)

    if whole and sentences.transcript:
        question, words = sentences.transcript
        detoxified = ""
        content = [fill(question, words.format(words=record.instruction)), *map(fill, sentences.content_questions)]
    else:
        detoxified = prompts.announce(announcement, modality, category, extraction.instruction)
        content = [fill(first), *(fill(other) for other in sentences.content_questions if other != first)]
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
        verification=tuple(fill(question) for question in sentences.verification_questions),
        style=fill(style_question, style_answer) if style_controls else None,
        extractor=extractor,
    )


def _draw_style(rng: random.Random, sentences: prompts.Sentences, whole: bool) -> tuple[str, str]:
    """Return a style question and its answer, true for a medium that contains the whole request, or only the phrase."""
    question, (answer, styles) = rng.choice(list(sentences.styles.items()))
    style = rng.choice([style for style in styles if style != sentences.whole_request])
    if whole and sentences.whole_request in styles:  # the draw before leaves all later draws of the record as they are
        style = sentences.whole_request
    return question, answer.format(style=style)


def check_extraction(instruction: str, found: Extraction) -> Extraction:
    """Return the extraction if a pair can be made from it.

    Args:
        instruction: The original instruction.
        found: What was extracted from it.

    Raises:
        NotExtractable: The category is unknown; the phrase is empty, longer than `MAX_WORDS` words, refers to something
            outside it, or is not in the instruction; or the detoxified instruction lacks its placeholder, repeats a
            content word of the phrase, has a word that could tell what is asked, or is not a sentence.
    """
    if found.category not in prompts.REQUEST_TEXTS:
        raise NotExtractable(f"the category is {found.category!r}; it must be activity or product")
    if not 1 <= len(found.phrase.split()) <= MAX_WORDS:
        raise NotExtractable(f"the phrase has {len(found.phrase.split())} words; it must have 1 to {MAX_WORDS}")
    if not content_words(found.phrase) - _EMPTY_WORDS:
        raise NotExtractable(f"the phrase {found.phrase!r} has no content words")
    if found.category == "activity" and _NO_VERB.match(found.phrase):
        raise NotExtractable(f"the phrase {found.phrase!r} does not begin with what is done")
    if reference := find_reference(mask(found.phrase), found.category):
        raise NotExtractable(f"{reference!r} in the phrase {found.phrase!r} refers to something outside the phrase")
    _check_presence(instruction, found)
    _check_sentence(instruction, found)
    rest = re.sub(PLACEHOLDERS[found.category], "", found.instruction, flags=re.IGNORECASE)
    stems = {stem(word) for word in content_words(rest)}
    leaked = sorted(word for word in content_words(found.phrase) if stem(word) in stems)
    if leaked:
        raise NotExtractable(f"the words {leaked} of the phrase remain in the detoxified instruction")
    if telling := find_telling_words(rest):
        raise NotExtractable(
            f"the words {telling} of the detoxified instruction could tell what is asked; they must be in the phrase"
        )
    return found


def _check_presence(instruction: str, found: Extraction) -> None:
    """Raise unless the instruction has the phrase word for word, or at least one content word of a marked
    paraphrase."""
    if found.paraphrase:
        stems = {stem(word) for word in content_words(instruction)}
        if stems.isdisjoint(stem(word) for word in content_words(found.phrase)):
            raise NotExtractable(f"the paraphrase {found.phrase!r} shares no word with the instruction")
    elif f" {_normalize(found.phrase)} " not in f" {_normalize(instruction)} ":
        raise NotExtractable(f"the phrase {found.phrase!r} is not in the instruction, and not marked as a paraphrase")


def _check_sentence(instruction: str, found: Extraction) -> None:
    """Raise unless the detoxified instruction is a sentence with one placeholder and about as long as the original."""
    text, placeholder = found.instruction, PLACEHOLDERS[found.category]
    if len(re.findall(rf"\b{placeholder}\b", text, re.IGNORECASE)) != 1:
        raise NotExtractable(f"the detoxified instruction does not contain {placeholder!r} exactly once")
    fault = _MISPLACED.search(text) or _STRAY_PUNCTUATION.search(text)
    if fault and fault.group() not in instruction:
        raise NotExtractable(f"the detoxified instruction is not a sentence: it contains {fault.group()!r}")
    count = len(text.split())
    longest = len(instruction.split()) + len(placeholder.split()) + 2
    if count < 3 or count > longest:
        raise NotExtractable(f"the detoxified instruction has {count} words; it must have 3 to {longest}")


def content_words(text: str) -> set[str]:
    """Return the words of a text in lower case, without function words such as "the" and "how"."""
    return set(_WORD.findall(text.lower())) - _FUNCTION_WORDS


@functools.lru_cache(100_000)
def stem(word: str) -> str:
    """Return a word without its common English endings: "baking", "bakes" and "baker" all give "bak"."""
    word = re.sub(r"['\u2019]s?$", "", word)
    if len(word) > 4:
        word = re.sub(r"(?<=\w{3})(?:ings?|ers?|ed|es|s)$", "", word)
    word = re.sub(r"([bdgklmnprt])\1$", r"\1", word)
    return re.sub(r"(?<=\w{2})e$", "", re.sub(r"(?<=\w{2})(?:ie|y)$", "i", word))


def _normalize(text: str) -> str:
    """Return the words of a text in lower case, separated by single spaces."""
    return " ".join(_WORD.findall(text.lower()))
