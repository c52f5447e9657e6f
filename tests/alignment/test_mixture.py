"""What a batch consists of: shares are kept, rounds are complete, and nothing is left out silently."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
import torch
from PIL import Image

from sample_records import RECORDS, write_lines
from seawall import AlignConfig, Mixture, prepare
from seawall.alignment.config import COMPONENTS
from seawall.alignment.mixture import (
    MediaLine,
    TrainingExample,
    collect_examples,
    keep_preferences,
    plan_training,
    read_media,
)
from seawall.errors import ConfigError, DataError
from seawall.models.chat import BLANK, Example
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.pair import read_pairs

EVERY = Mixture(**dict.fromkeys(COMPONENTS, 1.0))
LINE = {"image": "a.png", "question": "What?", "answer": "A thing."}


def make_examples(**numbers):
    return {
        name: [TrainingExample(Example(question=f"{name}/{i}")) for i in range(numbers.get(name, 3))]
        for name in COMPONENTS
    }


def component(one):
    return one.example.question.split("/")[0]


def batches(planned, size):
    return [planned[first : first + size] for first in range(0, len(planned), size)]


def make_store(folder, pairs, *facts):
    """A store whose embeddings are told apart by their value."""
    folder.mkdir()
    store = EmbeddingStore(folder)
    contents = {pair.id: store.hash_content(pair) for pair in pairs}
    entries = [
        Entry(key=f"{record}#0", record=record, content=contents.get(record, ""), kind=kind, verified=verified, steps=1)
        for record, kind, verified in facts
    ]
    store.append({entry.key: torch.full((2, 3), float(i)) for i, entry in enumerate(entries)}, entries)
    return EmbeddingStore(folder)


def with_rejected(pairs, *ids):
    """The pairs, with an unsafe response where the id is given."""
    return [dataclasses.replace(pair, rejected=f"unsafe {pair.id}" if pair.id in ids else None) for pair in pairs]


@pytest.fixture
def pairs(source, tmp_path):
    prepare(source, tmp_path / "pairs")
    return read_pairs(tmp_path / "pairs")


@pytest.fixture
def media(tmp_path):
    """Write a `media.jsonl` beside one real image; return its folder."""

    def write(*lines, name="media"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "a.png")
        write_lines(folder / "media.jsonl", list(lines))
        return folder

    return write


@pytest.mark.parametrize("mixture", [Mixture(), EVERY, Mixture(text_harmful=1e-9, text_harmless=1e9)])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 32, 100])
def test_counts_sum_to_the_batch(mixture, batch_size):
    assert sum(mixture.count_examples(batch_size).values()) == batch_size


def test_counts_are_within_one_of_their_share_at_any_scale():
    for scale in (1, 7.3):
        mixture = Mixture(**{name: scale * share for name, share in Mixture().get_shares().items()})
        counts = mixture.count_examples(33)
        assert counts == Mixture().count_examples(33)
        for name, number in counts.items():
            assert abs(number - 33 * getattr(Mixture(), name)) < 1


def test_a_share_of_0_leaves_a_component_out():
    assert "media_harmful" not in Mixture().count_examples(32)


def test_every_batch_has_the_same_shares():
    planned = plan_training(make_examples(), Mixture(), steps=6, batch_size=20, seed=0)
    assert [Counter(map(component, batch)) for batch in batches(planned, 20)] == [Mixture().count_examples(20)] * 6


def test_an_example_returns_only_after_all_others():
    planned = plan_training(make_examples(text_harmful=5), EVERY, steps=10, batch_size=6, seed=0)
    for name, number in (("text_harmful", 5), ("media_harmless", 3)):
        seen = [one for one in planned if component(one) == name]
        for first in range(0, len(seen) - number + 1, number):
            assert len({one.example.question for one in seen[first : first + number]}) == number


def test_the_seed_decides_the_order():
    one, same, other = (plan_training(make_examples(text_harmful=9), EVERY, 5, 6, seed) for seed in (0, 0, 1))
    assert one == same != other


def test_an_empty_component_is_named_with_advice():
    examples = make_examples(synthetic_harmless=0, media_harmless=0)
    with pytest.raises(ConfigError, match=r"contains synthetic_harmless, media_harmless,.*--embeddings.*share to 0"):
        plan_training(examples, Mixture(), 1, 20, 0)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_batch_too_small_for_every_share_is_refused(batch_size):
    with pytest.raises(ConfigError, match=r"batch.*text_harmless"):
        plan_training(make_examples(), Mixture(), 1, batch_size, 0)


@pytest.mark.parametrize(
    "shares", [{"text_harmful": -0.1}, dict.fromkeys(COMPONENTS, 0), {"text_harmful": float("nan")}]
)
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="must not be negative"):
        Mixture(**shares)


def test_harm_without_twins_is_refused_unless_allowed():
    mixture = Mixture(synthetic_harmless=0)
    with pytest.raises(ConfigError, match=r"no twins.*synthetic means refuse.*--allow-shortcut"):
        AlignConfig(mixture=mixture)
    assert AlignConfig(mixture=mixture, allow_shortcut=True).mixture == mixture
    AlignConfig(mixture=Mixture(synthetic_harmless=0, synthetic_harmful=0))


def test_a_config_lists_all_its_faults_at_once():
    with pytest.raises(ConfigError, match=r"steps is 0.*learning_rate is 0.*no twins"):
        AlignConfig(steps=0, learning_rate=0, mixture=Mixture(synthetic_harmless=0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text_harmful = 0.5\ntext_harmless = 0.4\n", "sum to 0.9, not 1"),
        ("text_harmfull = 1\n", "contains text_harmfull. A mixture consists of"),
        ("text_harmful 1\n", "cannot be read as a mixture"),
        (None, "cannot be read as a mixture"),
    ],
)
def test_faults_of_a_mixture_file_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "mixture.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Mixture.read(tmp_path / "mixture.toml")


def test_components_that_a_mixture_file_leaves_out_get_0(tmp_path):
    text = "text_harmful = 0.25\nsynthetic_harmful = 0.75\n"
    (tmp_path / "mixture.toml").write_text(text, encoding="utf-8-sig")  # a byte order mark is ignored
    assert Mixture.read(tmp_path / "mixture.toml") == Mixture(
        text_harmful=0.25, synthetic_harmful=0.75, text_harmless=0, synthetic_harmless=0, media_harmless=0
    )


def test_the_order_of_examples_does_not_depend_on_which_block_was_stored_first(pairs, tmp_path):
    """Of several workers, another one may be the first after a kill. The training must not change."""
    ids = [pair.id for pair in pairs]
    blocks = [ids[:2], ids[2:3], ids[3:]]
    found = []
    for order in (blocks, blocks[::-1]):
        folder = tmp_path / f"store{len(found)}"
        folder.mkdir()
        store = EmbeddingStore(folder)
        for block in order:
            by_id = {pair.id: pair for pair in pairs}
            entries = [
                Entry(
                    key=f"{record}#0",
                    record=record,
                    content=store.hash_content(by_id[record]),
                    verified=True,
                    block=block[0],
                )
                for record in block[::-1]  # in the order in which they were done
            ]
            store.append({entry.key: torch.zeros(2, 3) for entry in entries}, entries)
        found.append(collect_examples(pairs, EmbeddingStore(folder), ()))
    assert found[0] == found[1] and len(found[0]["synthetic_harmful"]) > 1


def test_text_examples_are_the_records(pairs):
    examples = collect_examples(pairs, None, ())
    text = examples["text_harmful"] + examples["text_harmless"]
    assert [(one.example.question, one.example.answer) for one in text] == [
        (record["instruction"], record["response"]) for record in RECORDS
    ]
    assert all(one.example.medium is None and one.key is None for one in examples["text_harmful"])
    assert not examples["synthetic_harmful"] and not examples["media_harmless"]


def test_synthetic_examples_ask_the_detoxified_instruction_about_a_blank(pairs, tmp_path):
    store = make_store(tmp_path / "store", pairs, ("1", "harmful", True), ("3", "harmless", True))
    examples = collect_examples(pairs, store, ())
    (harmful,), (twin,) = examples["synthetic_harmful"], examples["synthetic_harmless"]
    assert (harmful.key, twin.key) == ("1#0", "3#0")
    assert harmful.example == Example(question=pairs[0].detoxified, answer=pairs[0].response, medium=BLANK)
    assert twin.example == Example(question=pairs[2].detoxified, answer=pairs[2].response, medium=BLANK)


def test_the_rejected_response_is_the_unsafe_one_or_a_refusal(pairs, media, tmp_path):
    pairs = with_rejected(pairs, "1")
    refusals = [pair.response for pair in pairs if pair.kind == "harmful"]
    folder = media(LINE, {**LINE, "kind": "harmful", "rejected": "unsafe"})
    store = make_store(tmp_path / "store", pairs, ("1", "harmful", True), ("3", "harmless", True))
    examples = collect_examples(pairs, store, [folder])
    assert [one.rejected for one in examples["text_harmful"]] == ["unsafe 1"] + [None] * (len(refusals) - 1)
    assert examples["synthetic_harmful"][0].rejected == "unsafe 1"
    assert examples["media_harmful"][0].rejected == "unsafe"
    for name in ("text_harmless", "synthetic_harmless", "media_harmless"):
        assert examples[name] and all(one.rejected in refusals for one in examples[name])


def test_the_order_of_pairs_media_and_folders_does_not_change_what_is_rejected(pairs, media, tmp_path):
    many = [
        dataclasses.replace(
            pair, id=f"{pair.id}/{i}", response=f"No, {i}." if pair.kind == "harmful" else pair.response
        )
        for i in range(10)
        for pair in pairs
    ]
    facts = [(pair.id, pair.kind, True) for pair in many]
    lists = {name: [{**LINE, "question": f"What is {name} {i}?"} for i in range(5)] for name in ("one", "two")}

    def collect(name):
        folders = [media(*lines, name=folder) for folder, lines in lists.items()]
        return collect_examples(many, make_store(tmp_path / name, many, *facts), folders)

    before = collect("store")
    rng = random.Random(0)
    for values in (many, facts, *lists.values()):
        rng.shuffle(values)
    lists = dict(reversed(lists.items()))
    after = collect("shuffled")
    for name in COMPONENTS:
        assert Counter(before[name]) == Counter(after[name])
    for name in ("text_harmless", "synthetic_harmless", "media_harmless"):
        assert before[name] != after[name], "the order differs"
        assert len({one.rejected for one in before[name]}) > 3, "different examples have different refusals"


def test_examples_without_a_rejected_response_are_left_out_of_preferences_and_counted(pairs, caplog):
    examples = collect_examples(with_rejected(pairs, "1"), None, ())
    mixture = Mixture(synthetic_harmful=0, synthetic_harmless=0, media_harmless=0)
    kept = keep_preferences(examples, mixture)
    assert len(kept["text_harmful"]) == 1 and kept["text_harmless"] == examples["text_harmless"]
    assert f"{len(examples['text_harmful']) - 1} of {len(examples['text_harmful'])} text_harmful" in caplog.text
    with pytest.raises(ConfigError, match=r"Examples without a rejected response: \d of \d text_harmful.*--method sft"):
        keep_preferences(collect_examples(with_rejected(pairs), None, ()), mixture)


def test_unverified_embeddings_and_those_of_no_pair_are_left_out(pairs, tmp_path):
    facts = [("1", "harmful", True), ("2", "harmful", False), ("99", "harmful", True), ("4", "harmless", False)]
    examples = collect_examples(pairs, make_store(tmp_path / "store", pairs, *facts), ())
    assert [one.key for one in examples["synthetic_harmful"]] == ["1#0"]
    assert examples["synthetic_harmless"] == []


def test_an_embedding_whose_record_has_other_questions_now_is_left_out_with_a_warning(pairs, tmp_path, caplog):
    store = make_store(tmp_path / "store", pairs, ("1", "harmful", True), ("2", "harmful", True))
    changed = [
        dataclasses.replace(pairs[0], response="No."),
        dataclasses.replace(pairs[1], phrase="make a real passport"),
    ]
    examples = collect_examples(changed, store, ())
    assert [one.key for one in examples["synthetic_harmful"]] == ["1#0"], "an embedding does not depend on the response"
    assert "1 embeddings" in caplog.text and "Run `seawall synthesize` again" in caplog.text


def test_media_are_harmless_unless_their_list_says_otherwise(pairs, media):
    folder = media(LINE, {**LINE, "kind": "harmful", "answer": "No."})
    examples = collect_examples(pairs, None, [folder])
    assert [one.example.answer for one in examples["media_harmless"]] == ["A thing."]
    assert [one.example.answer for one in examples["media_harmful"]] == ["No."]
    assert examples["media_harmless"][0].example.medium == folder / "a.png"


@pytest.mark.parametrize("name", ["media.jsonl", "media.json"])
@pytest.mark.parametrize(
    "turns",
    [
        [("from", "human", "value"), ("from", "gpt", "value")],
        [("role", "user", "content"), ("role", "assistant", "content")],
    ],
)
def test_a_conversation_about_a_medium_gives_its_first_question_and_answer(pairs, media, name, turns):
    texts = ["<image>\nWhat is it?", "A thing.", "And now?", "Another one."]
    talk = [{role: who, text: words} for (role, who, text), words in zip(turns * 2, texts, strict=True)]
    folder = media({"id": "1", "image": "a.png", "conversations" if "from" in talk[0] else "messages": talk})
    if name == "media.json":
        lines = (folder / "media.jsonl").read_text()
        (folder / "media.json").write_text(f"[{lines}]")
        (folder / "media.jsonl").unlink()
    (example,) = collect_examples(pairs, None, [folder])["media_harmless"]
    assert (example.example.question, example.example.answer) == ("What is it?", "A thing.")


def test_a_sound_may_contain_the_whole_request():
    line = MediaLine.from_json({"audio": "a.mp3", "answer": "A thing."}, "audio", "line 1")
    assert line == MediaLine(file="a.mp3", question="", answer="A thing.")
    with pytest.raises(DataError, match="lacks question"):
        MediaLine.from_json({"video": "a.mp4", "answer": "A thing."}, "video", "line 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"image": "a.png"}, "line 1, lacks question, answer"),
        ({"image": "b.png", "question": "q", "answer": "a"}, "line 1, names b.png, which is not in"),
        ({"image": "", "question": "q", "answer": "a"}, "line 1, lacks image"),
        ({"image": 5, "question": "q", "answer": "a"}, "line 1.*image"),
        ({"image": "a.png", "question": 5, "answer": "a"}, "line 1.*question"),
        ({"image": "a.png", "question": "q", "answer": "a", "kind": "bad"}, "line 1.*kind.*'bad'"),
        ({"image": "a.png", "question": "q", "answer": "a", "rejected": 5}, "line 1.*rejected"),
        ("{nope", "line 1, is not JSON"),
    ],
)
def test_faults_of_a_media_list_are_named(media, line, message):
    with pytest.raises(DataError, match=message):
        list(read_media(media(line)))


def test_a_folder_without_a_list_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file .*media\.jsonl"):
        list(read_media(tmp_path))
