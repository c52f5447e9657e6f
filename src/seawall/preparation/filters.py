"""Which records are used: each once, of sane length, in one language, and a seeded sample of those.

What falls out is returned with the step that turned it away, so that the counts of all steps add up to what was read.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from seawall.errors import ConfigError
from seawall.preparation.extract import content_words, stem
from seawall.preparation.presets import Dropped
from seawall.store.pair import Record

NEAR = 0.8
"""Similarity of two instructions from which the later one is a near copy: Jaccard of content words, the rarer ones weighing more."""


def drop_unfit(
    records: Sequence[Record],
    *,
    words: tuple[int, int],
    language: str | None,
    copies: Literal["near", "exact", "keep"],
    sample: int | None,
    seed: int,
) -> tuple[list[Record], list[Dropped]]:
    """Sort records into those to use and those that fall out.

    Args:
        records: In the source's order; of several copies the first is used.
        words: The most words of an instruction and of a response.
        language: ISO 639-1 code that instruction and response must be in; None takes all.
        copies: Which copies fall out.
        sample: How many to draw at most. Which ones depends on the ids and the seed alone, not on the order.
        seed: Seed of the sample.

    Returns:
        The records to use, in their order, and the others.
    """
    steps: list[tuple[str, Callable[[Sequence[Record]], dict[str, str]]]] = [
        ("too long", lambda those: _find_long(those, *words))
    ]
    if copies != "keep":
        steps.append(("copy", _find_copies))
    if language:
        steps.append(("other language", lambda those: _find_foreign(those, language)))
    if copies == "near":
        steps.append(("near copy", _find_near_copies))
    if sample is not None:
        steps.append(("not sampled", lambda those: dict.fromkeys(_rank(those, seed)[sample:], "")))
    dropped: list[Dropped] = []
    for step, find in steps:
        reasons = find(records)
        dropped += [Dropped(key, step, reason) for key, reason in reasons.items()]
        records = [record for record in records if record.id not in reasons]
    return list(records), dropped


def _find_long(records: Sequence[Record], instruction: int, response: int) -> dict[str, str]:
    found = {}
    for record in records:
        counts = len(record.instruction.split()), len((record.response or "").split())
        if counts[0] > instruction or counts[1] > response:
            found[record.id] = f"{counts[0]} words of instruction, {counts[1]} of response"
    return found


def _find_copies(records: Sequence[Record]) -> dict[str, str]:
    first: dict[str, str] = {}
    found = {}
    for record in records:
        text = " ".join(re.findall(r"\w+", record.instruction.casefold()))
        whose = first.setdefault(text, record.id)
        if whose != record.id:
            found[record.id] = f"of {whose}"
    return found


def _find_near_copies(records: Sequence[Record]) -> dict[str, str]:
    """Find near copies of an earlier record of the same kind, exactly: a join with prefix filter, without comparing all pairs.

    Two sets of weight W and V that overlap by NEAR * max(W, V) or more must share one of their heaviest words, unless all those that
    are left out weigh less than NEAR * W. Source: Chaudhuri et al. 2006, "A Primitive Operator for Similarity Joins in Data Cleaning".
    """
    sets = [frozenset(map(stem, content_words(record.instruction))) for record in records]
    spread = Counter(word for words in sets for word in words)
    size = max(len(records), 1_000)  # in a small set no word is common
    weight = {word: math.log1p(size / count) for word, count in spread.items()}
    holders: dict[tuple[str | None, str], list[int]] = {}
    found = {}
    for number, (record, words) in enumerate(zip(records, sets, strict=True)):
        total = sum(weight[word] for word in words)
        prefix = [(record.kind, word) for word in _heaviest(words, weight, total)]
        for other in sorted({other for key in prefix for other in holders.get(key, ())}):
            shared = sum(weight[word] for word in words & sets[other])
            if shared >= NEAR * sum(weight[word] for word in words | sets[other]):
                found[record.id] = f"of {records[other].id}"
                break
        else:
            for key in prefix:
                holders.setdefault(key, []).append(number)
    return found


def _heaviest(words: frozenset[str], weight: dict[str, float], total: float) -> Iterator[str]:
    """Yield the heaviest words of a set until those left weigh less than NEAR of all."""
    left = total
    for word in sorted(words, key=lambda word: (-weight[word], word)):
        yield word
        left -= weight[word]
        if left < NEAR * total:
            return


def _find_foreign(records: Sequence[Record], language: str) -> dict[str, str]:
    try:
        import py3langid
    except ImportError as error:
        raise ConfigError("--language needs py3langid. Run: pip install 'seawall[language]'") from error
    found = {}
    for record in records:
        guess = py3langid.classify(f"{record.instruction} {record.response or ''}")[0]
        if guess != language:
            found[record.id] = str(guess)
    return found


def _rank(records: Sequence[Record], seed: int) -> list[str]:
    return sorted((record.id for record in records), key=lambda key: hashlib.sha256(f"{seed}/{key}".encode()).digest())
