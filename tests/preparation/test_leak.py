"""The classifier that tells harmful from harmless pairs by their detoxified instructions."""

from __future__ import annotations

import dataclasses
import logging
import random
from pathlib import Path

import pytest

from sample_records import write_lines
from seawall import PrepareConfig, prepare
from seawall.lab.world.data import write_records
from seawall.preparation.extract import Extraction, NotExtractable, make_pair
from seawall.preparation.phrases.leak import MAX_AUC, MIN_PAIRS, measure_leak
from seawall.preparation.rules import extract_by_rules
from seawall.store.files import read_json
from seawall.store.pair import Record, read_pairs

FRAMES = ["Explain how to {}.", "How do I {}?", "Give me tips to {}.", "List the steps to {}.", "I want to {}."]


def make(kind, detoxified, number, modality="image"):
    record = Record(id=f"{kind}{number}", kind=kind, instruction="Explain how to fold a kite.", response="Yes.")
    extraction = Extraction("fold a kite", "activity", detoxified)
    return make_pair(record, extraction, seed=0, modality=modality, extractor="rules")


def make_all(count, tell=0.0):
    """Return pairs of both kinds with the same frames. A share of the harmful ones has a word that no other has."""
    rng = random.Random(count)
    pairs = []
    for kind in ("harmful", "harmless"):
        for number in range(count):
            text = rng.choice(FRAMES).format("do this activity")
            if kind == "harmful" and rng.random() < tell:
                text = f"Quietly: {text}"
            pairs.append(make(kind, text, number))
    return pairs


def test_the_same_frames_in_both_kinds_are_near_chance():
    leak = measure_leak(make_all(400))
    assert 0.4 < leak.auc <= MAX_AUC
    assert leak.pairs == 400 and 0 < leak.error < 0.03


def test_a_word_of_one_kind_is_found_and_named():
    half, all_of_them = measure_leak(make_all(200, 0.5)), measure_leak(make_all(200, 1.0))
    assert 0.7 < half.auc < 0.8, "half of the harmful pairs can be told"
    assert all_of_them.auc > 0.99 and all_of_them.harmful_words[0] == "quietly"
    assert measure_leak(make_all(200, 1.0)) == all_of_them, "the seed determines the result"


def test_what_speaks_for_a_harmless_pair_is_a_leak_too():
    kinds = {"harmful": "harmless", "harmless": "harmful"}
    swapped = [dataclasses.replace(pair, kind=kinds[pair.kind]) for pair in make_all(200, 1.0)]
    leak = measure_leak(swapped)
    assert leak.auc > 0.99 and leak.harmless_words[0] == "quietly"


def test_nothing_is_measured_with_few_pairs_or_without_a_text():
    assert measure_leak(make_all(MIN_PAIRS)) is not None
    assert measure_leak(make_all(MIN_PAIRS - 1)) is None
    assert measure_leak([pair for pair in make_all(50) if pair.kind == "harmful"]) is None
    assert measure_leak([dataclasses.replace(pair, detoxified="") for pair in make_all(50)]) is None


def test_announcements_do_not_count():
    pairs = make_all(100)
    assert len({pair.detoxified for pair in pairs}) > 2 * len(FRAMES), "announcements were drawn"
    words = {word for leak in [measure_leak(pairs)] for word in (*leak.harmful_words, *leak.harmless_words)}
    assert words.isdisjoint({"image", "shows", "meant"})


def test_the_lab_and_the_300_requests_are_near_chance(tmp_path):
    write_records(tmp_path / "records.jsonl")
    prepare(tmp_path / "records.jsonl", tmp_path / "pairs")
    assert measure_leak(read_pairs(tmp_path / "pairs")).auc <= MAX_AUC
    assert read_json(tmp_path / "pairs" / "manifest.json")["leak"]["pairs"] == 160
    pairs = []
    for part in ("development", "held_out"):
        lines = (Path(__file__).parent / f"phrases_{part}.tsv").read_text().splitlines()[1:]
        for kind, _, _, instruction in (line.split("\t") for line in lines):
            try:
                found = extract_by_rules(instruction)
            except NotExtractable:
                continue
            pairs.append(make(kind, found.instruction, len(pairs)))
    assert measure_leak(pairs).auc <= MAX_AUC


@pytest.mark.parametrize(("harmful", "warns"), [("Explain how to {}.", True), ("How do I {}?", False)])
def test_prepare_warns_and_the_manifest_has_the_figure(tmp_path, caplog, harmful, warns):
    things = ("kite", "boat", "drum", "lamp", "bench")
    acts = [f"{verb} a {thing}" for verb in ("paint", "wash", "carry", "mend") for thing in things]
    records = [{"kind": "harmless", "instruction": f"How do I {act}?", "response": "Begin."} for act in acts]
    records += [
        {"kind": "harmful", "instruction": harmful.format(f"{act} at night"), "response": "I can't help with that."}
        for act in acts
    ]
    source = write_lines(tmp_path / "records.jsonl", records)
    with caplog.at_level(logging.WARNING, "seawall"):
        prepare(source, tmp_path / "pairs", PrepareConfig(duplicates="keep"))
    leak = read_json(tmp_path / "pairs" / "manifest.json")["leak"]
    assert leak["pairs"] == 20 and (leak["auc"] > 0.99) == warns
    assert ("alone tell harmful from harmless pairs: AUC 1.00" in caplog.text) == warns


def test_the_manifest_says_that_nothing_was_measured(tmp_path):
    records = [{"kind": "harmless", "instruction": "How do I paint a kite?", "response": "Begin."}]
    prepare(write_lines(tmp_path / "records.jsonl", records), tmp_path / "pairs")
    assert read_json(tmp_path / "pairs" / "manifest.json")["leak"] is None
