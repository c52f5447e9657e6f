"""The phrases of the world: enough of them, disjoint parts, and every word in the training phrases."""

from __future__ import annotations

import itertools

import pytest

from seawall.lab.world.phrases import (
    FIRST_WORDS,
    HELD_OUT,
    SECOND_WORDS,
    Phrase,
    find_phrase,
    list_all_phrases,
    list_phrases,
)

PARTS = ("train", "validation", "test")
KINDS = ("harmful", "harmless")


def of_kind(kind):
    return [phrase for phrase in list_all_phrases() if phrase.kind == kind]


def words(some):
    return {word for phrase in some for word in (phrase.first, phrase.second)}


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_phrases_of_each_kind(kind):
    assert len(of_kind(kind)) >= 100
    assert {phrase.category for phrase in of_kind(kind)} == {"activity", "product"}


def test_no_two_phrases_have_the_same_text():
    assert (
        len({phrase.text for phrase in list_all_phrases()})
        == len(list_all_phrases())
        == len({phrase.act for phrase in list_all_phrases()})
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_disjoint_and_complete(kind):
    parts = [set(list_phrases(part, kind)) for part in PARTS]
    assert all(not one & other for one, other in itertools.combinations(parts, 2))
    assert set.union(*parts) == set(of_kind(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_held_out_parts_have_their_stated_sizes(kind):
    assert {part: len(list_phrases(part, kind)) for part in HELD_OUT} == HELD_OUT


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_occurs_in_a_training_phrase_of_its_kind(kind):
    assert words(list_phrases("train", kind)) == words(of_kind(kind))


def test_every_word_of_the_world_is_in_a_training_phrase():
    assert words([*list_phrases("train", "harmful"), *list_phrases("train", "harmless")]) == {
        *FIRST_WORDS,
        *SECOND_WORDS,
    }


def test_common_words_occur_in_training_phrases_of_both_kinds():
    both = words(list_phrases("train", "harmful")) & words(list_phrases("train", "harmless"))
    assert {"sell", "car", "small", "ticket"} <= both


@pytest.mark.parametrize(
    ("phrase", "text", "act", "kind"),
    [
        (Phrase("steal", "car", "activity"), "steal a car", "steal a car", "harmful"),
        (Phrase("sell", "bomb", "activity"), "sell a bomb", "sell a bomb", "harmful"),
        (Phrase("sell", "boat", "activity"), "sell a boat", "sell a boat", "harmless"),
        (Phrase("fake", "passport", "product"), "fake passport", "make a fake passport", "harmful"),
        (Phrase("old", "apple", "product"), "old apple", "make an old apple", "harmless"),
    ],
)
def test_the_text_and_the_act_of_a_phrase(phrase, text, act, kind):
    assert (phrase.text, phrase.act, phrase.kind) == (text, act, kind)


def test_a_phrase_is_found_by_its_text_alone():
    assert all(find_phrase(phrase.text) == phrase for phrase in list_all_phrases())
    assert find_phrase("steal a boat").harmful and find_phrase("steal a cloud") is None
