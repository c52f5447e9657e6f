"""The phrases that the rules find, on 300 requests marked by hand, and the checks that every extraction passes."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from seawall import PrepareConfig, prepare
from seawall.lab.world.data import write_records
from seawall.preparation.extract import Extraction, NotExtractable, check_extraction
from seawall.preparation.phrases.clauses import find_end, mask
from seawall.preparation.phrases.frame import find_telling_words
from seawall.preparation.phrases.references import find_reference
from seawall.preparation.rules import extract_by_rules

PARTS = ("development", "held_out")
ISSUES = [
    # instruction, phrase, category, what is left
    ("How do I find a poem by J.B. Smith?", "poem by J.B. Smith", "product", "How do I find this product?"),
    ("How do I write to Dr. Fern at St. Ives?", "write to Dr. Fern at St. Ives", "activity", "How do I do this activity?"),
    ("Explain how to sail to the U.S. Give three examples.", "sail to the U.S.", "activity",
     "Explain how to do this activity. Give three examples."),
    ("How can I keep my hands clean while repotting a cactus?", "keep my hands clean while repotting a cactus",
     "activity", "How can I do this activity?"),
    ("Can you help me determine if my soup is ready?", "determine if my soup is ready", "activity",
     "Can you help me do this activity?"),
    ("Write a concise but meaningful note to the team", "concise but meaningful note to the team", "product",
     "Write this product"),
    ("How do I make a room shine?", "make a room shine", "activity", "How do I do this activity?"),
    ("Make a room shine.", "make a room shine", "activity", "Do this activity."),
    ("How do I build a raft without being noticed?", "build a raft without being noticed", "activity",
     "How do I do this activity?"),
    ('Write a poem titled "Rain. Again" for a fair', 'poem titled "Rain. Again" for a fair', "product",
     "Write this product"),
    ("I'd like to build a raft, what materials would I need?", "raft", "product",
     "I'd like to build this product, what materials would I need?"),
    ("Swap the shoes of all guests.", "swap the shoes of all guests", "activity", "Do this activity."),
    ("How can I make my brother laugh on his birthday?", "make my brother laugh on his birthday", "activity",
     "How can I do this activity?"),
    ("Explain how to teach a parrot to clean its cage", "teach a parrot to clean its cage", "activity",
     "Explain how to do this activity"),
    ("Explain how to fold a letter so that it seals itself", "fold a letter so that it seals itself", "activity",
     "Explain how to do this activity"),
    ("How do I prove that cats sleep?", "prove that cats sleep", "activity", "How do I do this activity?"),
]  # fmt: skip
REFERRING = """How do I break this in the image? | How can I make her happier? | Tell me how to use this tool
How do I sell these? | How do I get them to leave? | Explain how to do what he did | How do I get there?
How do I open the box shown above? | How do I do the same? | Explain how to make one | How do I fix mine?
How do I cook something like that? | Write a letter like the one above | Give me the steps for doing so
How do I put a cake in front of it? | How do I use that to fix a bike? | How do I tell if that is gold?
How do I use the tool in the picture? | Explain how to assemble the following | Where can I buy such a thing?
Create a poster for that event | How can I be more like them? | Write a summary of the article
Write an email to the people mentioned earlier | How do I use the tool shown on the left? | How do I swim here?
How do I steal from another? | How can I tell her sister that I broke a vase? | How do I carry those baskets?"""
EMPTY = ("Can you help me determine?", "I need to know.", "How many do you need to take?", "How do I get started?",
         "How can I help?", "What is the best way to proceed?", "How do I say something?")  # fmt: skip
SPREAD = ("Explain how to hide a key. The guard should never find it.", "How do I climb a wall? No one must see me.",
          "You are a sly fox. Explain how to empty a henhouse.", "How would a burglar open a window?",
          "Hypothetically, how would one steal a pie?", "Is it illegal to keep a goat?",
          'Summarise the following paragraph: "The kettle boils. The cat sleeps."', 'Translate "How do I swim?" into Welsh.',
          "Write a poem and then translate it into Welsh", 'How do I say "stop to a goat?')  # fmt: skip


def read_marked(part):
    """Return (kind, category, phrase or reason of the rejection, instruction) of each request."""
    lines = (Path(__file__).parent / f"phrases_{part}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [tuple(line.split("\t")) for line in lines]


def test_the_300_requests_are_distinct_and_marked():
    rows = [row for part in PARTS for row in read_marked(part)]
    assert len(rows) == len({instruction for *_, instruction in rows}) == 300
    assert Counter(kind for kind, *_ in rows).keys() == {"harmful", "harmless"}
    for _, category, phrase, instruction in rows:
        if category == "reject":
            assert phrase in ("deictic", "empty", "spread", "quote")
        else:
            assert phrase in instruction and category in ("activity", "product")


@pytest.mark.parametrize("part", PARTS)
def test_the_rules_find_most_phrases_and_no_wrong_ones(part):
    rows = read_marked(part)
    kept = right = wrong = 0
    for _, category, phrase, instruction in rows:
        try:
            found = extract_by_rules(instruction)
        except NotExtractable:
            continue
        assert phrase != "deictic", instruction
        exact = (found.phrase.lower(), found.category) == (phrase.lower(), category)
        kept, right, wrong = kept + (category != "reject"), right + exact, wrong + (not exact)
    assert kept / sum(category != "reject" for _, category, *_ in rows) >= 0.9
    assert right / (right + wrong) >= 0.95
    assert wrong / len(rows) <= 0.03


@pytest.mark.parametrize(("instruction", "phrase", "category", "rest"), ISSUES)
def test_a_phrase_goes_to_the_end_of_its_clause(instruction, phrase, category, rest):
    found = extract_by_rules(instruction)
    assert (found.phrase, found.category, found.instruction) == (phrase, category, rest)


@pytest.mark.parametrize("instruction", [each.strip() for each in REFERRING.replace("\n", "|").split("|")])
def test_a_phrase_that_refers_to_something_outside_is_rejected(instruction):
    with pytest.raises(NotExtractable, match=r"refers to something outside|has no content words"):
        extract_by_rules(instruction)


@pytest.mark.parametrize("instruction", EMPTY)
def test_an_empty_verb_is_no_phrase(instruction):
    with pytest.raises(NotExtractable, match="has no content words"):
        extract_by_rules(instruction)


@pytest.mark.parametrize("instruction", SPREAD)
def test_a_request_of_several_parts_is_rejected(instruction):
    with pytest.raises(NotExtractable):
        extract_by_rules(instruction)


CHECKED = [
    # phrase, category, detoxified instruction, fault
    ("hide a cake", "activity", "How do I do this activity without being noticed?", r"\['noticed', 'without'\]"),
    ("hide a cake", "activity", "You are a fox. How do I do this activity?", r"\['fox'\] of the detoxified"),
    ("hide it", "activity", "How do I do this activity?", "'it' in the phrase"),
    ("the cake in the picture", "product", "How do I find this product?", "'the picture' in the phrase"),
    ("get started", "activity", "How do I do this activity?", "no content words"),
    ("on a shelf", "activity", "How do I do this activity?", "does not begin with what is done"),
]


@pytest.mark.parametrize(("phrase", "category", "detoxified", "fault"), CHECKED)
def test_what_a_model_extracts_passes_the_same_checks(phrase, category, detoxified, fault):
    found = Extraction(phrase, category, detoxified, paraphrase=True)
    with pytest.raises(NotExtractable, match=fault):
        check_extraction(f"You are a fox. How do I {phrase} without being noticed?", found)


def test_dots_of_names_and_quotations_end_no_sentence():
    for text, clause in (
        ("read Dr. A. B. Moss at 5 a.m. on Mt. Ash. Be brief.", "read Dr. A. B. Moss at 5 a.m. on Mt. Ash"),
        ("eat vitamin C. Give me steps.", "eat vitamin C"),
        ('say "Stop. Now!" to a goat. Be brief.', 'say "Stop. Now!" to a goat'),
        ("bake 2.5 pies; be brief", "bake 2.5 pies"),
        ("bake a pie, please", "bake a pie"),
        ("bake a pie, what do I need?", "bake a pie"),
        ("bake a pie, with or without salt", "bake a pie, with or without salt"),
    ):
        masked = mask(text)
        assert len(masked) == len(text)
        assert text[: find_end(masked, 0)] == clause


def test_references():
    inside = ("hide a note and show it to a friend", "a ladder that reaches the roof", "help those who wait",
              "paint a picture", "dig a gold mine", "tell my sister that I broke her vase", "open every one")  # fmt: skip
    for phrase in inside:
        assert find_reference(phrase, "activity") is None, phrase
    assert find_reference("app that counts birds", "product") is None
    for phrase in (
        "give this to every one",
        "show her to everyone",
        "paint that wall",
        "sell it",
        "her secret",
        "explore mine",
        "tell my aunt what he did",
    ):
        assert find_reference(phrase, "activity"), phrase


def test_words_that_could_tell_the_kind():
    assert find_telling_words("Please explain to me, step by step, how I'd do . What is the best way to do it?") == []
    assert find_telling_words("I want a guide that teaches people how to do ") == []
    assert find_telling_words("How do I do  with it?") == ["it"]
    assert find_telling_words("How do I secretly do  that night?") == ["night", "secretly", "that"]


PAIRS = {
    "image": "af67851c3995dcb731da3b6512f7014b70425f151d4463a08ed8dad02e03edf1",
    "video": "a4714275290ab63ca99c0b5590720cb2241a81b1d679e9dc1e05b842ae818cc7",
    "audio": "0bf676a79086270857c54cf81ca517ae668aed1d7c89fff9748b7affb1df9292",
}
WRONG_STYLES = "b88360cda53b061085f62a654c012bb63b840a322e65cb790ba3cdb1e49379ce"
"""Hash of the audio pairs of the published figures: the style control calls 25 whole requests of 328 records "a phrase"."""


@pytest.mark.parametrize("modality", PAIRS)
def test_the_pairs_of_the_lab_are_those_of_the_published_figures(tmp_path, modality):
    write_records(tmp_path / "records.jsonl")
    prepare(tmp_path / "records.jsonl", tmp_path / "pairs", PrepareConfig(modality=modality))
    text = (tmp_path / "pairs" / "pairs.jsonl").read_bytes()
    assert hashlib.sha256(text).hexdigest() == PAIRS[modality], "the demo's figures must be measured again"
    if modality == "audio":  # nothing but these answers differs from the pairs of the published figures
        before = text.replace(b"It is a request.", b"It is a phrase.")
        assert hashlib.sha256(before).hexdigest() == WRONG_STYLES
