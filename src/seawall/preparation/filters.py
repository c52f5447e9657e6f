"""Choice of the records to use: short enough, no duplicates, in one language.

Every filter returns the records that it drops, with a reason. The counts of all steps add up to the number of records
read.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from seawall.errors import ConfigError
from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import content_words, stem
from seawall.preparation.sources.reading import Dropped
from seawall.store.pair import Record

NEAR_DUPLICATE = 0.8
"""Similarity from which the later of two instructions is a near duplicate. The measure is the weighted Jaccard
similarity of their content words; rare words weigh more."""


def filter_records(records: Sequence[Record], config: PrepareConfig) -> tuple[list[Record], list[Dropped]]:
    """Divide records into those to use and those to drop.

    Args:
        records: Records in the order of the source. The first of several duplicates is used.
        config: Settings; `instruction_words`, `response_words`, `duplicates` and `language` are used.

    Returns:
        The records to use, in their order, and the dropped ones.

    Raises:
        ConfigError: The filter by language needs a package that is not installed.
    """
    steps: list[tuple[str, Callable[[Sequence[Record]], dict[str, str]]]] = [
        ("too long", lambda left: _find_long(left, config.instruction_words, config.response_words))
    ]
    steps.append(("two kinds", _find_contradictions))
    if config.duplicates != "keep":
        steps.append(("copy", _find_duplicates))
    if language := config.language:
        steps.append(("other language", lambda left: _find_other_languages(left, language)))
    if config.duplicates == "near":
        steps.append(("near copy", _find_near_duplicates))
    dropped: list[Dropped] = []
    for step, find in steps:
        reasons = find(records)
        dropped += [Dropped(one.id, step, reasons[one.id], one.kind) for one in records if one.id in reasons]
        records = [record for record in records if record.id not in reasons]
    return list(records), dropped


def _find_long(records: Sequence[Record], instruction_words: int, response_words: int) -> dict[str, str]:
    """Return id -> reason of each record whose instruction or response has too many words."""
    found = {}
    for record in records:
        counts = len(record.instruction.split()), len((record.response or "").split())
        if counts[0] > instruction_words or counts[1] > response_words:
            found[record.id] = f"{counts[0]} words of instruction, {counts[1]} of response"
    return found


def _find_contradictions(records: Sequence[Record]) -> dict[str, str]:
    """Return id -> reason of each record whose instruction another record has under the other kind."""
    kinds: dict[str, set[str | None]] = {}
    texts = [_find_words(record.instruction) for record in records]
    for record, text in zip(records, texts, strict=True):
        kinds.setdefault(text, set()).add(record.kind)
    reason = "the same instruction is harmful in one record and harmless in another"
    return {record.id: reason for record, text in zip(records, texts, strict=True) if len(kinds[text]) > 1}


@functools.lru_cache(100_000)
def _find_words(text: str) -> str:
    """Return the words of a text in lower case."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _find_duplicates(records: Sequence[Record]) -> dict[str, str]:
    """Return id -> reason of each record whose instruction has the same words as an earlier one."""
    first: dict[str, str] = {}
    found = {}
    for record in records:
        original = first.setdefault(_find_words(record.instruction), record.id)
        if original != record.id:
            found[record.id] = f"of {original}"
    return found


def _find_near_duplicates(records: Sequence[Record]) -> dict[str, str]:
    """Return id -> reason of each record that is a near duplicate of an earlier one of the same kind.

    The search is exact, but does not compare all pairs: it is a join with a prefix filter. Let two sets of words have
    weights W and V, and an overlap of at least NEAR_DUPLICATE * max(W, V). Then they share one of their heaviest words,
    where a set's heaviest words are those left after removing light ones of less than NEAR_DUPLICATE * W in total.

    Source: Chaudhuri et al. 2006, "A Primitive Operator for Similarity Joins in Data Cleaning".
    """
    sets = [frozenset(map(stem, content_words(record.instruction))) for record in records]
    spread = Counter(word for words in sets for word in words)
    size = max(len(records), 1_000)  # so that words are not common just because the data set is small
    weight = {word: math.log1p(size / count) for word, count in spread.items()}
    holders: dict[tuple[str | None, str], list[int]] = {}
    found = {}
    for number, (record, words) in enumerate(zip(records, sets, strict=True)):
        total = sum(weight[word] for word in words)
        prefix = [(record.kind, word) for word in _find_heaviest(words, weight, total)]
        for other in sorted({other for key in prefix for other in holders.get(key, ())}):
            shared = sum(weight[word] for word in words & sets[other])
            if shared >= NEAR_DUPLICATE * sum(weight[word] for word in words | sets[other]):
                found[record.id] = f"of {records[other].id}"
                break
        else:
            for key in prefix:
                holders.setdefault(key, []).append(number)
    return found


def _find_heaviest(words: frozenset[str], weight: dict[str, float], total: float) -> Iterator[str]:
    """Yield the heaviest words of a set until the rest weighs less than NEAR_DUPLICATE of the total."""
    left = total
    for word in sorted(words, key=lambda word: (-weight[word], word)):
        yield word
        left -= weight[word]
        if left < NEAR_DUPLICATE * total:
            return


def _find_other_languages(records: Sequence[Record], language: str) -> dict[str, str]:
    """Return id -> detected language of each record that is not in the given language."""
    try:
        import py3langid
    except ImportError as error:
        raise ConfigError("--language needs the package py3langid. Run: pip install 'seawall[language]'") from error
    found = {}
    for record in records:
        guess = py3langid.classify(f"{record.instruction} {record.response or ''}")[0]
        if guess != language:
            found[record.id] = str(guess)
    return found
