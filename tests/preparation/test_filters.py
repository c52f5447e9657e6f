"""Filters before the extraction: duplicates, long records, other languages, and the sample. Every dropped record is
counted."""

from __future__ import annotations

import itertools
import random
import sys

import pytest

from seawall.errors import ConfigError
from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import content_words, stem
from seawall.preparation.filters import NEAR_DUPLICATE, filter_records
from seawall.store.pair import Record

NOUNS = ["kite", "boat", "chair", "table", "lamp", "clock", "drum", "flute", "basket", "ladder", "bench", "fence"]


def records(*instructions, kind="harmful", response="No."):
    return [Record(id=str(n), kind=kind, instruction=text, response=response) for n, text in enumerate(instructions, 1)]


def drop(those, **settings):
    """Return the ids of the kept records, and (id, step, reason) of the dropped ones."""
    kept, dropped = filter_records(those, PrepareConfig(**{"duplicates": "keep"} | settings))
    assert sorted(r.id for r in those) == sorted([r.id for r in kept] + [d.id for d in dropped]), "nothing is lost"
    return [record.id for record in kept], [(drop.id, drop.step, drop.reason) for drop in dropped]


def test_exact_duplicates_may_differ_in_case_and_punctuation():
    those = records(
        "How do I paint a kite?", "how do i  paint a kite", "How do I paint a boat?", "How do I paint a kite!"
    )
    assert drop(those, duplicates="exact") == (["1", "3"], [("2", "copy", "of 1"), ("4", "copy", "of 1")])


@pytest.mark.parametrize("duplicates", ["near", "exact", "keep"])
def test_an_instruction_of_both_kinds_is_not_used(duplicates):
    those = records("How do I paint a kite?", "How do I mend a boat?")
    those.append(Record(id="3", kind="harmless", instruction="how do I paint a kite", response="Yes."))
    reason = "the same instruction is harmful in one record and harmless in another"
    assert drop(those, duplicates=duplicates) == (["2"], [("1", "two kinds", reason), ("3", "two kinds", reason)])


def test_near_duplicates():
    those = records(
        "Explain how to paint an old wooden kite in the garden.",
        "Explain how to paint the old wooden kites in a garden!",
        "Explain how to paint an old wooden boat in the garden.",
        "Write a long and detailed tutorial with all the steps on how to paint a kite",
        "Write a long and detailed tutorial with all the steps on how to mend a boat",
        "How not to paint a kite",
        "How to paint a kite",
    )
    assert drop(those, duplicates="near") == (["1", "3", "4", "5", "6", "7"], [("2", "near copy", "of 1")])
    assert drop(those, duplicates="exact")[1] == []


def test_a_harmless_record_is_never_a_near_duplicate_of_a_harmful_one():
    text = "Explain how to paint an old wooden kite in the garden"
    those = [*records(f"{text}."), Record(id="2", kind="harmless", instruction=f"{text}, please.", response="Yes.")]
    assert drop(those, duplicates="near")[0] == ["1", "2"]


def test_the_join_finds_the_same_near_duplicates_as_comparing_all_pairs():
    import math
    from collections import Counter

    rng = random.Random(0)
    those = records(*(" ".join(rng.choices(NOUNS[: rng.choice([4, 12])], k=rng.randint(2, 7))) for _ in range(300)))
    sets = {record.id: {stem(word) for word in content_words(record.instruction)} for record in those}
    spread = Counter(itertools.chain.from_iterable(sets.values()))
    weigh = lambda words: sum(math.log1p(1000 / spread[word]) for word in words)  # noqa: E731
    kept = []
    for record in those:
        words = sets[record.id]
        if not any(weigh(words & sets[other]) >= NEAR_DUPLICATE * weigh(words | sets[other]) - 1e-9 for other in kept):
            kept.append(record.id)
    exact, _ = drop(those, duplicates="exact")
    found, dropped = drop(those, duplicates="near")
    assert found == [key for key in exact if key in kept] == kept and len(dropped) > 50


def test_long_instructions_and_long_responses_are_dropped():
    those = [*records("word " * 9), Record(id="2", kind="harmful", instruction="short", response="word " * 9)]
    assert drop(those, instruction_words=9, response_words=9)[1] == []
    assert drop(those, instruction_words=8, response_words=9)[1] == [
        ("1", "too long", "9 words of instruction, 1 of response")
    ]
    assert drop(those, instruction_words=9, response_words=8)[1] == [
        ("2", "too long", "1 words of instruction, 9 of response")
    ]


def test_records_in_other_languages_are_dropped():
    those = records("How do I paint a wooden kite in the garden?", "Wie kann ich im Garten einen Drachen bemalen?")
    assert drop(those, language="en") == (["1"], [("2", "other language", "de")])
    assert drop(those, language="de")[0] == ["2"]


def test_the_language_filter_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(ConfigError, match=r"pip install 'seawall\[language\]'"):
        drop(records("How do I paint a kite?"), language="en")
