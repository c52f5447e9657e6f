"""What a batch is made of: shares kept, rounds complete, nothing missing in silence."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from PIL import Image

from conftest import RECORDS, write_lines
from seawall import AlignConfig, Mixture, prepare
from seawall.alignment.mixture import Row, collect_rows, keep_preferences, plan, read_media
from seawall.store.pair import read_pairs
from seawall.errors import ConfigError, DataError
from seawall.models.chat import BLANK, Example
from seawall.store.embeddings import EmbeddingStore

NAMES = [field.name for field in dataclasses.fields(Mixture)]
EVERY = Mixture(**dict.fromkeys(NAMES, 1.0))


def some_rows(**numbers):
    return {name: [Row(Example(question=f"{name}/{i}")) for i in range(numbers.get(name, 3))] for name in NAMES}


def component(row):
    return row.turn.question.split("/")[0]


def batches(planned, size):
    return [planned[first : first + size] for first in range(0, len(planned), size)]


def store_of(folder, pairs, *facts):
    """A store whose embeddings are told apart by their value."""
    folder.mkdir()
    store = EmbeddingStore(folder)
    contents = {pair["id"]: store.hash_content(pair) for pair in pairs}
    rows = [
        {
            "key": f"{record}#0",
            "record": record,
            "content": contents.get(record, ""),
            "kind": kind,
            "verified": verified,
            "steps": 1,
            "starts": 1,
            "seconds": 0.1,
            "curve": [],
        }
        for record, kind, verified in facts
    ]
    store.append({row["key"]: torch.full((2, 3), float(i)) for i, row in enumerate(rows)}, rows)
    return EmbeddingStore(folder)


@pytest.fixture
def pairs(source, tmp_path):
    prepare(source, tmp_path / "pairs")
    return read_pairs(tmp_path / "pairs")


@pytest.fixture
def media(tmp_path):
    """Write a `media.jsonl` beside one real image; return its folder."""

    def write(*lines):
        folder = tmp_path / "media"
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "a.png")
        write_lines(folder / "media.jsonl", list(lines))
        return folder

    return write


@pytest.mark.parametrize("mixture", [Mixture(), EVERY, Mixture(text_harmful=1e-9, text_harmless=1e9)])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 32, 100])
def test_counts_sum_to_the_batch(mixture, batch_size):
    assert sum(mixture.counts(batch_size).values()) == batch_size


def test_counts_are_within_one_of_their_share_whatever_its_scale():
    for scale in (1, 7.3):
        mixture = Mixture(**{name: scale * share for name, share in dataclasses.asdict(Mixture()).items()})
        counts = mixture.counts(33)
        assert counts == Mixture().counts(33)
        for name, number in counts.items():
            assert abs(number - 33 * getattr(Mixture(), name)) < 1


def test_a_share_of_0_leaves_a_component_out():
    assert "media_harmful" not in Mixture().counts(32)


def test_every_batch_has_the_same_shares():
    planned = plan(some_rows(), Mixture(), steps=6, batch_size=20, seed=0)
    assert [Counter(map(component, batch)) for batch in batches(planned, 20)] == [Mixture().counts(20)] * 6


def test_all_rows_come_before_one_comes_again():
    planned = plan(some_rows(text_harmful=5), EVERY, steps=10, batch_size=6, seed=0)
    for name, number in (("text_harmful", 5), ("media_harmless", 3)):
        seen = [row for row in planned if component(row) == name]
        for first in range(0, len(seen) - number + 1, number):
            assert len({row.turn.question for row in seen[first : first + number]}) == number


def test_the_seed_decides_the_order():
    one, same, other = (plan(some_rows(text_harmful=9), EVERY, 5, 6, seed) for seed in (0, 0, 1))
    assert one == same != other


def test_an_empty_component_is_named_with_the_ways_out():
    rows = some_rows(synthetic_harmless=0, media_harmless=0)
    with pytest.raises(ConfigError, match=r"wants synthetic_harmless, media_harmless,.*--embeddings.*share to 0"):
        plan(rows, Mixture(), 1, 20, 0)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_batch_too_small_for_every_share_is_refused(batch_size):
    with pytest.raises(ConfigError, match=r"batch.*text_harmless"):
        plan(some_rows(), Mixture(), 1, batch_size, 0)


@pytest.mark.parametrize("shares", [{"text_harmful": -0.1}, dict.fromkeys(NAMES, 0), {"text_harmful": float("nan")}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="must not be negative"):
        Mixture(**shares)


def test_harm_without_twins_is_refused_unless_asked_for():
    mixture = Mixture(synthetic_harmless=0)
    with pytest.raises(ConfigError, match=r"no twins.*synthetic means refuse.*--allow-shortcut"):
        AlignConfig(mixture=mixture)
    assert AlignConfig(mixture=mixture, allow_shortcut=True).mixture == mixture
    AlignConfig(mixture=Mixture(synthetic_harmless=0, synthetic_harmful=0))


def test_all_faults_of_a_config_come_at_once():
    with pytest.raises(ConfigError, match=r"steps is 0.*learning_rate is 0.*no twins"):
        AlignConfig(steps=0, learning_rate=0, mixture=Mixture(synthetic_harmless=0))


def test_rows_of_text(pairs):
    rows = collect_rows(pairs, None, ())
    assert [(row.turn.question, row.turn.answer) for row in rows["text_harmful"] + rows["text_harmless"]] == [
        (record["instruction"], record["response"]) for record in RECORDS
    ]
    assert all(row.turn.medium is None and row.key is None for row in rows["text_harmful"])
    assert not rows["synthetic_harmful"] and not rows["media_harmless"]


def test_synthetic_rows_ask_the_detoxified_instruction_over_a_blank(pairs, tmp_path):
    rows = collect_rows(pairs, store_of(tmp_path / "store", pairs, ("1", "harmful", True), ("3", "harmless", True)), ())
    (harmful,), (twin,) = rows["synthetic_harmful"], rows["synthetic_harmless"]
    assert (harmful.key, twin.key) == ("1#0", "3#0")
    assert harmful.turn == Example(question=pairs[0]["detoxified"], answer=pairs[0]["response"], medium=BLANK)
    assert twin.turn == Example(question=pairs[2]["detoxified"], answer=pairs[2]["response"], medium=BLANK)


def test_what_is_rejected_is_the_unsafe_answer_or_a_refusal(pairs, media, tmp_path):
    pairs = [{**pair, "rejected": f"unsafe {pair['id']}" if pair["id"] == "1" else None} for pair in pairs]
    refusals = [pair["response"] for pair in pairs if pair["kind"] == "harmful"]
    folder = media({"image": "a.png", "question": "What?", "answer": "A thing."})
    store = store_of(tmp_path / "store", pairs, ("1", "harmful", True), ("3", "harmless", True))
    rows = collect_rows(pairs, store, [folder])
    assert [row.rejected for row in rows["text_harmful"]] == ["unsafe 1"] + [None] * (len(refusals) - 1)
    assert rows["synthetic_harmful"][0].rejected == "unsafe 1"
    for name in ("text_harmless", "synthetic_harmless", "media_harmless"):
        assert rows[name] and all(row.rejected in refusals for row in rows[name])


def test_rows_without_a_rejected_answer_are_left_out_of_preferences_and_counted(pairs, caplog):
    pairs = [{**pair, "rejected": "unsafe" if pair["id"] == "1" else None} for pair in pairs]
    rows = collect_rows(pairs, None, ())
    mixture = Mixture(synthetic_harmful=0, synthetic_harmless=0, media_harmless=0)
    kept = keep_preferences(rows, mixture)
    assert len(kept["text_harmful"]) == 1 and kept["text_harmless"] == rows["text_harmless"]
    assert f"{len(rows['text_harmful']) - 1} of {len(rows['text_harmful'])} text_harmful" in caplog.text
    with pytest.raises(ConfigError, match=r"Rows without a rejected answer: \d of \d text_harmful.*--method sft"):
        keep_preferences(collect_rows([{**pair, "rejected": None} for pair in pairs], None, ()), mixture)


def test_unverified_embeddings_and_those_of_no_pair_are_left_out(pairs, tmp_path):
    facts = [("1", "harmful", True), ("2", "harmful", False), ("99", "harmful", True), ("4", "harmless", False)]
    rows = collect_rows(pairs, store_of(tmp_path / "store", pairs, *facts), ())
    assert [row.key for row in rows["synthetic_harmful"]] == ["1#0"]
    assert rows["synthetic_harmless"] == []


def test_an_embedding_whose_record_has_other_prompts_now_is_left_out_with_a_warning(pairs, tmp_path, caplog):
    store = store_of(tmp_path / "store", pairs, ("1", "harmful", True), ("2", "harmful", True))
    other = {**pairs[0], "response": "No."}, {**pairs[1], "phrase": "make a real passport"}
    rows = collect_rows(other, store, ())
    assert [row.key for row in rows["synthetic_harmful"]] == ["1#0"], "a response is not what it was made from"
    assert "1 embeddings" in caplog.text and "Run `seawall synthesize` again" in caplog.text


def test_rows_of_media_go_by_their_kind_which_is_harmless_unless_said(pairs, media):
    line = {"image": "a.png", "question": "What?", "answer": "A thing."}
    folder = media(line, {**line, "kind": "harmful", "answer": "No."})
    rows = collect_rows(pairs, None, [folder])
    assert [row.turn.answer for row in rows["media_harmless"]] == ["A thing."]
    assert [row.turn.answer for row in rows["media_harmful"]] == ["No."]
    assert rows["media_harmless"][0].turn.medium == folder / "a.png"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"image": "a.png"}, "line 1, lacks question, answer"),
        ({"image": "b.png", "question": "q", "answer": "a"}, "line 1, names b.png, which is not in"),
        ({"image": "", "question": "q", "answer": "a"}, "line 1, lacks image"),
        ({"image": 5, "question": "q", "answer": "a"}, "line 1.*image"),
        ({"image": "a.png", "question": 5, "answer": "a"}, "line 1.*question"),
        ({"image": "a.png", "question": "q", "answer": "a", "kind": "bad"}, "line 1.*kind.*'bad'"),
        ("{nope", "line 1, is not JSON"),
    ],
)
def test_faults_of_a_media_list_are_named(media, line, message):
    with pytest.raises(DataError, match=message):
        list(read_media(media(line)))


def test_a_folder_without_a_list_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file .*media\.jsonl"):
        list(read_media(tmp_path))
