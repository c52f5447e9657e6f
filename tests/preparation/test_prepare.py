"""`prepare` with rules: what is extracted, what is rejected and why, and what a pair depends on."""

from __future__ import annotations

import dataclasses
import json
import random
import re

import pytest

from sample_records import RECORDS, write_lines
from seawall import Modality, PrepareConfig, prepare, prompts, register_modality
from seawall.errors import ArtifactError, ConfigError, DataError
from seawall.lab.world import dialogue
from seawall.lab.world.phrases import list_all_phrases
from seawall.media.modality import MODALITIES
from seawall.preparation.extract import Extraction, NotExtractable, check_extraction
from seawall.preparation.rules import extract_by_rules
from seawall.store.files import read_json, read_jsonl
from seawall.store.pair import read_modality, read_pairs

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
        "How can we water plants without a jug?",
        "water plants without a jug",
        "activity",
        "How can we do this activity?",
    ),
    ("Explain how to make a paper boat.", "paper boat", "product", "Explain how to make this product."),
    ("Explain how to make an apple pie.", "apple pie", "product", "Explain how to make this product."),
    ("I want to buy some fresh flowers.", "fresh flowers", "product", "I want to buy this product."),
    ("Write a recipe to produce the soup.", "soup", "product", "Write a recipe to produce this product."),
    ("Draft a plan to create my own garden.", "garden", "product", "Draft a plan to create this product."),
]
HARD = [
    ("I want to know how to bake bread.", "bake bread", "activity", "I want to know how to do this activity."),
    ("I have a question. How to dive?", "dive", "activity", "I have a question. How to do this activity?"),
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
    ("Where do I get a sail mended?", "get a sail mended", "activity", "Where do I do this activity?"),
    ("Is it okay for me to fold a sail?", "fold a sail", "activity", "Is it okay for me to do this activity?"),
    ("I need to fold a sail. What is the best way to do it?", "fold a sail", "activity",
     "I need to do this activity. What is the best way to do it?"),
    ("How do I make soup at home?", "soup at home", "product", "How do I make this product?"),
    ("How do I make money?", "make money", "activity", "How do I do this activity?"),
    ("What is the recipe for lemon curd?", "lemon curd", "product", "What is the recipe for this product?"),
]  # fmt: skip
REJECTED = [
    ("Describe the weather.", "no phrase found"),
    ("Explain how to", "no phrase found"),
    (f"Explain how to carry a {'very ' * 14}old piano.", "has 18 words; it must have 1 to 16"),
    ("Paint a fence? Explain how to paint a fence.", r"\['fence', 'paint'\] .* remain"),
    ("Explain how to make a toy car. The toy should be red.", r"\['toy'\] .* remain"),
    ("A word on 東京: explain how to draw 東京.", "remain"),
    ("Tell me about knots, and how to do it.", "'do it' has no content words"),
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


def test_extraction_of_other_forms_than_how_to():
    for instruction, phrase, category, rest in FORMS:
        found = extract_by_rules(instruction)
        assert (found.phrase, found.category, found.instruction) == (phrase, category, rest)


@pytest.mark.parametrize(("instruction", "reason"), REJECTED)
def test_an_instruction_without_a_phrase_is_rejected_with_a_reason(instruction, reason):
    with pytest.raises(NotExtractable, match=reason):
        extract_by_rules(instruction)


def test_an_unknown_category_is_rejected():
    extraction = Extraction("wash a car", "crime", "Explain how to do this activity.")
    with pytest.raises(NotExtractable, match="category is 'crime'; it must be activity or product"):
        check_extraction("Explain how to wash a car.", extraction)


def test_the_rules_find_the_phrase_of_every_request_in_the_lab():
    for phrase in list_all_phrases():
        for form in range(len(dialogue.REQUESTS)):
            found = extract_by_rules(dialogue.make_request(phrase, form)[0])
            assert (found.phrase, found.category) == (phrase.text, phrase.category)
            assert not {phrase.first, phrase.second} & words(found.instruction)


def test_a_pair_has_the_fields_of_the_interface(tmp_path):
    folder = prepared(tmp_path, RECORDS)
    fields = ["id", "kind", "modality", "instruction", "response", "rejected", "phrase", "category"]
    fields += ["detoxified", "content", "verification", "style", "extractor"]
    for _, line in read_jsonl(folder / "pairs.jsonl"):
        assert list(line) == fields
        for question in (*line["content"], *line["verification"], line["style"]):
            assert set(question) == {"question", "answer"}
    pairs = read_pairs(folder)
    assert [pair.id for pair in pairs] == ["1", "2", "3", "4"]
    assert [pair.kind for pair in pairs] == ["harmful", "harmful", "harmless", "harmless"]
    assert all(pair.rejected is None for pair in pairs)


def test_the_values_of_the_source_are_kept(tmp_path):
    record = {
        "id": "a-7",
        "kind": "harmless",
        "instruction": " How to dance? ",
        "response": "Dance.",
        "rejected": "No.",
    }
    (pair,) = read_pairs(prepared(tmp_path, [record]))
    assert {name: getattr(pair, name) for name in record} == {**record, "instruction": "How to dance?"}


def test_null_ids_are_numbered_like_missing_ones(tmp_path):
    records = [{**record, "id": None} for record in RECORDS]
    assert [pair.id for pair in read_pairs(prepared(tmp_path, records))] == ["1", "2", "3", "4"]


def test_the_detoxified_instruction_does_not_contain_the_phrase(tmp_path):
    records = [{"instruction": instruction, "response": "Yes.", "kind": "harmless"} for instruction, *_ in EXTRACTED]
    little = {"a", "an", "the", "of"}
    for pair in read_pairs(prepared(tmp_path, records)):
        assert not (words(pair.phrase) - little) & words(pair.detoxified)
        assert f"this {pair.category}" in pair.detoxified
        for one in (*pair.content, *pair.verification):
            assert pair.phrase in one.answer
            assert not (words(pair.phrase) - little) & words(one.question)
        assert pair.phrase not in pair.style.answer


def test_content_questions_are_never_verification_questions(tmp_path):
    records = RECORDS[:1] * 60
    pairs = read_pairs(prepared(tmp_path, records, duplicates="keep"))
    sentences = prompts.get_sentences("image")
    templates = (sentences.content_questions, sentences.verification_questions)
    content, held_out = ([prompts.format_question(one, "image", "activity") for one in some] for some in templates)
    assert {pair.content[0].question for pair in pairs} == set(content)
    for pair in pairs:
        first, *rest = [one.question for one in pair.content]
        assert rest == [question for question in content if question != first], "the rest, in the order of the table"
        assert [one.question for one in pair.verification] == held_out and not {first, *rest} & set(held_out)


def test_a_pair_does_not_depend_on_other_records_or_their_order(tmp_path):
    records = [{**record, "id": f"r{number}"} for number, record in enumerate(RECORDS * 5)]
    whole = {pair.id: pair for pair in read_pairs(prepared(tmp_path, records, "whole", duplicates="keep"))}
    shuffled = random.Random(0).sample(records, 7)
    for pair in read_pairs(prepared(tmp_path, shuffled, "part", duplicates="keep")):
        assert pair == whole[pair.id]


def test_the_seed_determines_the_file(tmp_path):
    one, same, other = (
        (prepared(tmp_path, RECORDS * 5, name, seed=seed, duplicates="keep") / "pairs.jsonl").read_bytes()
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    assert one == same != other


def test_a_pair_names_the_medium_of_its_modality(tmp_path):
    for modality, name in prompts.MEDIUM_WORDS.items():
        verb = "names" if modality == "audio" else "shows"
        (pair, *_) = read_pairs(prepared(tmp_path, RECORDS, modality, modality=modality, announcements=1))
        assert f"The {name} {verb} the activity: steal a car." == pair.content[0].answer
        assert pair.detoxified.startswith(f"The {name} {verb} an activity.")


def test_a_registered_modality_can_be_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(MODALITIES, "_values", dict(MODALITIES._values))
    monkeypatch.setattr(prompts, "MEDIUM_WORDS", dict(prompts.MEDIUM_WORDS))
    with pytest.raises(ConfigError, match=r"modality is 'thermal'; .* image, video, audio, .*register_modality"):
        PrepareConfig(modality="thermal")
    blank = {"read": lambda path: path, "blank": lambda size: None}
    register_modality(Modality(name="thermal", word="thermogram", argument="thermograms", endings=(".raw",), **blank))
    folder = prepared(tmp_path, RECORDS, modality="thermal", announcements=1)
    for pair in read_pairs(folder):
        assert pair.modality == "thermal" and pair.detoxified.startswith("The thermogram shows")
        assert all("thermogram" in one.answer for one in pair.content)
    assert read_modality(folder) == read_json(folder / "manifest.json")["config"]["modality"] == "thermal"


def test_every_announcement_is_used_except_the_held_out_ones(tmp_path):
    pairs = read_pairs(prepared(tmp_path, [RECORDS[0]] * 200, duplicates="keep"))
    sentences = prompts.get_sentences("image")
    ways = {pair.detoxified for pair in pairs}
    request = "Explain how to do this activity."
    assert ways == {prompts.announce(text, "image", "activity", request) for text in sentences.announcements}
    assert request in ways and len(sentences.announcements + sentences.held_out_announcements) >= 12
    assert ways.isdisjoint(prompts.announce(t, "image", "activity", request) for t in sentences.held_out_announcements)


def test_a_third_of_the_sounds_contain_the_whole_request_and_have_no_text(tmp_path):
    records = [{**RECORDS[0], "id": str(number)} for number in range(60)]
    pairs = read_pairs(prepared(tmp_path, records, "audio", modality="audio", duplicates="keep"))
    alone = [pair for pair in pairs if not pair.detoxified]
    assert 10 < len(alone) < 30
    asked = set()
    for pair in pairs:
        whole = pair.content[0].answer == f"The words are: {pair.instruction}"
        assert whole == (pair in alone)
        if pair.style.question == "Is the audio clip a request or a phrase?":
            assert pair.style.answer == ("It is a request." if whole else "It is a phrase.")
            asked.add(whole)
        assert len(pair.content) == len(prompts.get_sentences("audio").content_questions) + whole
    assert asked == {True, False}
    image = read_pairs(prepared(tmp_path, records, "image", modality="image", duplicates="keep"))
    assert all(pair.detoxified for pair in image)


def test_the_share_of_whole_requests_and_the_style_controls_are_settings(tmp_path):
    records = [{**RECORDS[0], "id": str(number)} for number in range(40)]

    def prepare_pairs(name, **settings):
        return read_pairs(prepared(tmp_path, records, name, modality="audio", duplicates="keep", **settings))

    default, none, every = (prepare_pairs(str(share), whole_requests=share) for share in (None, 0, 1))
    assert all(pair.detoxified for pair in none) and not any(pair.detoxified for pair in every)
    for one, other in zip(default, none, strict=True):  # the other draws of a record stay
        assert one.detoxified in ("", other.detoxified)
        assert one.style.question == other.style.question
    plain = prepare_pairs("plain", style_controls=False)
    assert [pair.style for pair in plain] == [None] * 40
    assert [dataclasses.replace(pair, style=None) for pair in default] == plain


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"whole_requests": 1.5, "modality": "audio"}, "whole_requests is 1.5; it must be from 0 to 1"),
        ({"whole_requests": 0.5}, "whole_requests is 0.5, but modality image has no words; use audio, or leave it out"),
    ],
)
def test_a_share_of_whole_requests_that_cannot_be_made(settings, message):
    with pytest.raises(ConfigError, match=message):
        PrepareConfig(**settings)


def test_rejected_lines_keep_their_columns_and_give_the_reason(tmp_path):
    line = {"id": "w", "instruction": "Describe the weather.", "response": "Fine.", "kind": "harmless", "source": "own"}
    folder = prepared(tmp_path, [*RECORDS, line])
    (rejected,) = map(json.loads, (folder / "rejected.jsonl").read_text().splitlines())
    assert "no phrase found" in rejected.pop("reason")
    assert line.items() <= rejected.items()
    assert prepare(tmp_path / "pairs.jsonl", folder).counts == {"pairs": 4, "rejected": 1}


def test_rejected_records_keep_their_ids_and_kinds_when_they_are_tried_again(tmp_path):
    line = {"id": None, "instruction": "Describe the weather.", "response": "Fine."}
    folder = prepared(tmp_path, [*RECORDS[2:], line], kind="harmless")
    rejected = (folder / "rejected.jsonl").read_text()
    assert (json.loads(rejected)["id"], json.loads(rejected)["kind"]) == ("3", "harmless")
    assert prepare(folder, tmp_path / "again").counts == {"pairs": 2, "rejected": 1}
    assert (tmp_path / "again" / "rejected.jsonl").read_text() == rejected


def test_rejected_records_of_an_unfinished_folder_cannot_be_tried_again(tmp_path):
    folder = prepared(tmp_path, RECORDS)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    with pytest.raises(ArtifactError, match="has not finished"):
        prepare(folder, tmp_path / "again")


def test_no_phrase_at_all_is_an_error_with_the_first_reason(tmp_path):
    records = [{"instruction": "Describe the weather.", "response": "Fine.", "kind": "harmless"}]
    with pytest.raises(DataError, match=r"None of the 1 instructions.*no phrase found.*Explain how to"):
        prepared(tmp_path, records)
    assert not (tmp_path / "pairs").exists(), "the folder can be used for the corrected source"


FAULTS = [
    (
        {"prompt": "x", "response": "y"},
        r"line 2: 'instruction' is missing \(its columns: prompt, response\); it must be a",
    ),
    ({"instruction": "x", "response": "  "}, "line 2: 'response' is an empty text"),
    ({"instruction": ["x"], "response": "y"}, "line 2: 'instruction' is a list"),
    ({"instruction": "x", "response": "y", "kind": "bad"}, "line 2: kind is 'bad'; it must be 'harmful' or 'harmless'"),
    ({"instruction": "x", "response": "y", "kind": "harmful", "id": "a"}, "line 2: the id 'a' occurs twice"),
    ({"instruction": "x", "response": "y", "rejected": 5}, "line 2: 'rejected' is the number 5"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS)
def test_the_error_names_the_faulty_line(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, [{"id": "a", **RECORDS[0]}, line])
    assert not (tmp_path / "pairs").exists()


def test_unicode_line_separators_do_not_end_a_line(tmp_path):
    text = '{"kind": "harmless", "instruction": "Explain how to wash a car.", "response": "One.\u2028Two.\x85Three."}'
    (pair,) = read_pairs(prepared(tmp_path, [text]))
    assert pair.response == "One.\u2028Two.\x85Three."


def test_all_faulty_settings_are_reported_at_once():
    message = (
        r"modality is 'smell'.*extractor is 'magic'.*answers is 'me'.*preset is 'zork'.*duplicates is 'some'.*turns is 'all'.*encoding is 'x'.*kind is 'bad'"
        r".*refusals is empty.*sample is 0; it must be at least 1.*retries is -1"
    )
    with pytest.raises(ConfigError, match=message):
        PrepareConfig(
            modality="smell", extractor="magic", answers="me", preset="zork", duplicates="some", kind="bad",
            refusals=(), sample=0, retries=-1, turns="all", encoding="x",
        )  # fmt: skip
