"""From text safety data to pairs: what is extracted, what is turned away and why, and what a pair depends on."""

from __future__ import annotations

import json
import random
import re

import pytest

from conftest import RECORDS, write_lines
from seawall import PrepareConfig, prompts, prepare
from seawall.store.pair import read_pairs
from seawall.errors import ConfigError, DataError
from seawall.lab.world import dialogue
from seawall.lab.world.phrases import phrases
from seawall.preparation.extract import NotExtractable
from seawall.preparation.rules import extract_by_rules

EXTRACTED = [
    # instruction, phrase, category, what is left
    ("Explain how to wash a car.", "wash a car", "activity", "Explain how to do this activity."),
    ("Explain how to bake a loaf of bread?", "bake a loaf of bread", "activity", "Explain how to do this activity?"),
    ("How do I paint the fence?", "paint the fence", "activity", "How do I do this activity?"),
    ("How would someone carry a piano!", "carry a piano", "activity", "How would someone do this activity!"),
    ("What is the best way to fold a shirt?", "fold a shirt", "activity", "What is the best way to do this activity?"),
    ("Give me tips to sell a used bike", "sell a used bike", "activity", "Give me tips to do this activity"),
    ("HOW TO CLIMB A LADDER", "CLIMB A LADDER", "activity", "HOW TO do this activity"),
    ("Steps to mend a tent; keep it short.", "mend a tent", "activity", "Steps to do this activity; keep it short."),
    ("Help me sharpen a pencil, please.", "sharpen a pencil", "activity", "Help me do this activity, please."),
    (
        "How can we water plants without a can?",
        "water plants",
        "activity",
        "How can we do this activity without a can?",
    ),
    ("Explain how to make a paper boat.", "paper boat", "product", "Explain how to make this product."),
    ("Explain how to make an apple pie.", "apple pie", "product", "Explain how to make this product."),
    ("I want to buy some fresh flowers.", "fresh flowers", "product", "I want to buy this product."),
    ("Write a recipe to produce the soup.", "soup", "product", "Write a recipe to produce this product."),
    ("Draft a plan to create my own garden.", "garden", "product", "Draft a plan to create this product."),
]
HARD = [
    ("I want to know how to bake bread.", "bake bread", "activity", "I want to know how to do this activity."),
    ("I like to swim. How to dive?", "dive", "activity", "I like to swim. How to do this activity?"),
    ("How to cook rice in 2.5 minutes?", "cook rice in 2.5 minutes", "activity", "How to do this activity?"),
    ("Explain how to do a handstand.", "do a handstand", "activity", "Explain how to do this activity."),
    ("Give me tips to make people trust me.", "make people trust me", "activity", "Give me tips to do this activity."),
    ("HOW TO MAKE A KITE", "KITE", "product", "HOW TO MAKE this product"),
]
FORMS = [
    ("Tips for mending a sail.", "mending a sail", "activity", "Tips for doing this activity."),
    ("Steps for making a sail.", "sail", "product", "Steps for making this product."),
    ("Could you write me a poem about sails?", "poem about sails", "product", "Could you write me this product?"),
    ("Where can I buy a cheap sail?", "cheap sail", "product", "Where can I buy this product?"),
    ("Where do I get a sail mended?", "sail mended", "product", "Where do I get this product?"),
    ("Is it okay for me to fold a sail?", "fold a sail", "activity", "Is it okay for me to do this activity?"),
    ("I need to fold a sail. What is the best way to do it?", "fold a sail", "activity",
     "I need to do this activity. What is the best way to do it?"),
    ("How do I make soup at home?", "soup at home", "product", "How do I make this product?"),
    ("How do I make money?", "make money", "activity", "How do I do this activity?"),
    ("What is the recipe for lemon curd?", "lemon curd", "product", "What is the recipe for this product?"),
]  # fmt: skip
TURNED_AWAY = [
    ("Describe the weather.", "no phrase found"),
    ("Explain how to", "no phrase found"),
    ("Explain how to carry a very large and very heavy old upright piano.", "has 10 words; 1 to 8"),
    ("Paint a fence? Explain how to paint a fence.", r"\['fence', 'paint'\] .* remain"),
    ("Explain how to make a toy car. The toy should be red.", r"\['toy'\] .* remain"),
    ("A word on 東京: explain how to draw 東京.", "remain"),
    ("Tell me about knots, and how to do it.", "'do it'"),
]


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def prepared(tmp_path, records, name="pairs", **settings):
    folder = tmp_path / name
    prepare(write_lines(tmp_path / f"{name}.jsonl", records), folder, PrepareConfig(**settings))
    return folder


@pytest.mark.parametrize(("instruction", "phrase", "category", "rest"), EXTRACTED + HARD)
def test_extraction(instruction, phrase, category, rest):
    found = extract_by_rules(instruction)
    assert (found.phrase, found.category, found.instruction) == (phrase, category, rest)


def test_forms_that_are_no_how_to():
    for instruction, phrase, category, rest in FORMS:
        found = extract_by_rules(instruction)
        assert (found.phrase, found.category, found.instruction) == (phrase, category, rest)


@pytest.mark.parametrize(("instruction", "reason"), TURNED_AWAY)
def test_what_cannot_be_extracted_says_why(instruction, reason):
    with pytest.raises(NotExtractable, match=reason):
        extract_by_rules(instruction)


def test_every_request_of_the_world_gives_back_its_phrase():
    for phrase in phrases():
        for form in range(len(dialogue.REQUESTS)):
            found = extract_by_rules(dialogue.request(phrase, form)[0])
            assert (found.phrase, found.category) == (phrase.text, phrase.category)
            assert not {phrase.first, phrase.second} & words(found.instruction)


def test_a_pair_has_the_fields_of_the_interface(tmp_path):
    pairs = read_pairs(prepared(tmp_path, RECORDS))
    fields = ["id", "kind", "instruction", "response", "rejected", "phrase", "category"]
    fields += ["detoxified", "content", "style", "extractor"]
    assert all(sorted(pair) == sorted(fields) for pair in pairs)
    assert all(set(pair["content"]) == set(pair["style"]) == {"question", "answer"} for pair in pairs)
    assert [pair["id"] for pair in pairs] == ["1", "2", "3", "4"]
    assert [pair["kind"] for pair in pairs] == ["harmful", "harmful", "harmless", "harmless"]
    assert all(pair["rejected"] is None for pair in pairs)


def test_the_sources_own_values_are_kept(tmp_path):
    record = {
        "id": "a-7",
        "kind": "harmless",
        "instruction": " How to dance? ",
        "response": "Dance.",
        "rejected": "No.",
    }
    (pair,) = read_pairs(prepared(tmp_path, [record]))
    assert {name: pair[name] for name in record} == {**record, "instruction": "How to dance?"}


def test_an_id_of_null_is_numbered_like_a_missing_one(tmp_path):
    records = [{**record, "id": None} for record in RECORDS]
    assert [pair["id"] for pair in read_pairs(prepared(tmp_path, records))] == ["1", "2", "3", "4"]


def test_a_detoxified_instruction_leaves_the_phrase_to_the_medium(tmp_path):
    records = [{"instruction": instruction, "response": "Yes."} for instruction, *_ in EXTRACTED]
    little = {"a", "an", "the", "of"}
    for pair in read_pairs(prepared(tmp_path, records)):
        assert not (words(pair["phrase"]) - little) & words(pair["detoxified"])
        assert f"this {pair['category']}" in pair["detoxified"]
        assert pair["phrase"] in pair["content"]["answer"]
        assert not (words(pair["phrase"]) - little) & words(pair["content"]["question"])
        assert pair["phrase"] not in pair["style"]["answer"]


def test_a_pair_never_asks_what_is_kept_for_verification(tmp_path):
    records = RECORDS[:1] * 60
    pairs = read_pairs(prepared(tmp_path, records, copies="keep"))
    asked = {pair["content"]["question"] for pair in pairs}
    said = prompts.get_sentences("image")
    held_out = {prompts.format_question(question, "image", "activity") for question in said.verification_questions}
    assert len(asked) == len(said.content_questions) and not asked & held_out


def test_a_pair_does_not_depend_on_other_records_or_their_order(tmp_path):
    records = [{**record, "id": f"r{number}"} for number, record in enumerate(RECORDS * 5)]
    whole = {pair["id"]: pair for pair in read_pairs(prepared(tmp_path, records, "whole", copies="keep"))}
    shuffled = random.Random(0).sample(records, 7)
    for pair in read_pairs(prepared(tmp_path, shuffled, "part", copies="keep")):
        assert pair == whole[pair["id"]]


def test_the_same_seed_gives_the_same_file_and_another_one_another(tmp_path):
    one, same, other = (
        (prepared(tmp_path, RECORDS * 5, name, seed=seed, copies="keep") / "pairs.jsonl").read_bytes()
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    assert one == same != other


def test_the_modality_names_the_medium(tmp_path):
    for modality, name in prompts.MEDIUM_WORDS.items():
        verb = "names" if modality == "audio" else "shows"
        (pair, *_) = read_pairs(prepared(tmp_path, RECORDS, modality, modality=modality, announcements=1))
        assert f"The {name} {verb} the activity: steal a car." == pair["content"]["answer"]
        assert pair["detoxified"].startswith(f"The {name} {verb} an activity.")


def test_a_medium_is_announced_in_many_ways_and_now_and_then_not_at_all_but_never_as_held_out(tmp_path):
    pairs = read_pairs(prepared(tmp_path, [RECORDS[0]] * 200, copies="keep"))
    said = prompts.get_sentences("image")
    ways = {pair["detoxified"] for pair in pairs}
    request = "Explain how to do this activity."
    assert ways == {prompts.announce(text, "image", "activity", request) for text in said.announcements}
    assert request in ways and len(said.announcements + said.held_out_announcements) >= 12
    assert ways.isdisjoint(prompts.announce(t, "image", "activity", request) for t in said.held_out_announcements)


def test_a_sound_that_is_a_whole_request_has_no_text_beside_it_and_is_made_to_say_the_request(tmp_path):
    records = [{**RECORDS[0], "id": str(number)} for number in range(60)]
    pairs = read_pairs(prepared(tmp_path, records, "audio", modality="audio", copies="keep"))
    alone = [pair for pair in pairs if not pair["detoxified"]]
    assert 10 < len(alone) < 30
    for pair in pairs:
        said = pair["content"]["answer"] == f"The words are: {pair['instruction']}"
        assert said == (pair in alone) and "a request" not in pair["style"]["answer"]
    image = read_pairs(prepared(tmp_path, records, "image", modality="image", copies="keep"))
    assert all(pair["detoxified"] for pair in image)


def test_rejected_lines_keep_their_columns_and_say_the_reason(tmp_path):
    line = {"id": "w", "instruction": "Describe the weather.", "response": "Fine.", "source": "own"}
    folder = prepared(tmp_path, [*RECORDS, line])
    (rejected,) = map(json.loads, (folder / "rejected.jsonl").read_text().splitlines())
    assert "no phrase found" in rejected.pop("reason")
    assert line.items() <= rejected.items()
    assert prepare(tmp_path / "pairs.jsonl", folder) == {"pairs": 4, "rejected": 1}


def test_rejected_records_keep_their_ids_and_kinds_when_they_are_tried_again(tmp_path):
    line = {"id": None, "instruction": "Describe the weather.", "response": "Fine."}
    folder = prepared(tmp_path, [*RECORDS, line], kind="harmless")
    rejected = (folder / "rejected.jsonl").read_text()
    assert (json.loads(rejected)["id"], json.loads(rejected)["kind"]) == ("5", "harmless")
    assert prepare(folder, tmp_path / "again") == {"pairs": 4, "rejected": 1}
    assert (tmp_path / "again" / "rejected.jsonl").read_text() == rejected


def test_nothing_extractable_is_an_error_that_points_at_the_reasons(tmp_path):
    records = [{"instruction": "Describe the weather.", "response": "Fine."}]
    with pytest.raises(DataError, match=r"None of the 1 instructions.*no phrase found.*Explain how to"):
        prepared(tmp_path, records)
    assert not (tmp_path / "pairs").exists(), "the folder stays free for the mended source"


FAULTS = [
    ({"prompt": "x", "response": "y"}, r"line 2, has no 'instruction' \(its columns: prompt, response\)"),
    ({"instruction": "x", "response": "  "}, "line 2, has no 'response'"),
    ({"instruction": ["x"], "response": "y"}, "line 2, has no 'instruction'"),
    ({"instruction": "x", "response": "y", "kind": "bad"}, "line 2: kind is 'bad'; it must be 'harmful' or 'harmless'"),
    ({"instruction": "x", "response": "y", "id": "a"}, "line 2: the id 'a' came before"),
    ({"instruction": "x", "response": "y", "rejected": 5}, "line 2.*rejected"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS)
def test_a_faulty_line_is_named(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, [{"id": "a", **RECORDS[0]}, line])
    assert not (tmp_path / "pairs").exists()


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    text = '{"instruction": "Explain how to wash a car.", "response": "One.\u2028Two.\x85Three."}'
    (pair,) = read_pairs(prepared(tmp_path, [text]))
    assert pair["response"] == "One.\u2028Two.\x85Three."


def test_all_faults_of_a_config_come_at_once():
    with pytest.raises(ConfigError, match=r"modality is 'smell'.*extractor is 'magic'"):
        PrepareConfig(modality="smell", extractor="magic")
