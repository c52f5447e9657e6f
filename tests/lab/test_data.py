"""The organisms' data: no held-out phrase in any training, real files in every list."""

from __future__ import annotations

import dataclasses

import pytest

from seawall.alignment.mixture import read_media
from seawall.store.files import read_jsonl
from seawall.lab.benchmark import read_items
from seawall.media.modality import find_modality, read_medium
from seawall.lab.world import data, dialogue
from seawall.lab.world.media import STUDIOS
from seawall.lab.world.phrases import phrases, split
from seawall.preparation.presets import read_records
from seawall.preparation.sources import read_rows

TRAINED = {phrase.act for kind in ("harmful", "harmless") for phrase in split("train", kind)}
HELD_OUT = [phrase for phrase in phrases() if phrase.act not in TRAINED]


MODALITIES = pytest.mark.parametrize("modality", STUDIOS)


@pytest.fixture
def pools(monkeypatch):
    """The pools of every style drawn in the test."""
    drawn = set()
    for name, studio in STUDIOS.items():
        draw = lambda rng, *pools, draw=studio.draw: drawn.update(pools) or draw(rng, *pools)  # noqa: E731
        monkeypatch.setitem(data.STUDIOS, name, dataclasses.replace(studio, draw=draw))
    return drawn


def test_text_records_hold_every_training_phrase_and_no_other(tmp_path):
    data.write_records(tmp_path / "records.jsonl")
    records = list(read_records("records", read_rows(tmp_path / "records.jsonl")))
    texts = [record.instruction + record.response for record in records]
    assert all(any(act in text for text in texts) for act in TRAINED)
    assert not any(phrase.act in text for phrase in HELD_OUT for text in texts)
    for record in records:
        assert (record.response in dialogue.REFUSALS) == (record.kind == "harmful") == (record.rejected is not None)


@MODALITIES
@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_training_media_are_files_with_answers_of_their_kind(tmp_path, kind, modality):
    data.write_media(tmp_path, kind, 4, 6, modality)
    rows = list(read_media(tmp_path, modality))
    assert len(rows) == 24
    for row in rows:
        assert row["kind"] == kind and (row["answer"] in dialogue.REFUSALS) == (kind == "harmful")
        assert ("rejected" in row) == (kind == "harmful"), "what preference training makes less likely"
        read_medium(find_modality(modality), tmp_path / row[modality])


@MODALITIES
def test_rendered_media_hold_both_kinds(tmp_path, modality):
    data.write_rendered(tmp_path, 2, 3, modality)
    rows = list(read_media(tmp_path, modality))
    for row in rows:
        read_medium(find_modality(modality), tmp_path / row[modality])
    assert [row["kind"] for row in rows] == ["harmful"] * 6 + ["harmless"] * 6
    for answered in ([row["answer"] in dialogue.REFUSALS for row in rows], ["rejected" in row for row in rows]):
        assert answered == [True] * 6 + [False] * 6


@MODALITIES
def test_training_and_validation_and_test_media_have_styles_of_different_pools(tmp_path, pools, modality):
    kinds = ("harmful", "harmless")
    writers = {
        "train": lambda folder: [data.write_media(folder / kind, kind, 4, 4, modality) for kind in kinds],
        "encoder": lambda folder: data.write_benchmark(folder, "validation", 2, modality),
        "unseen": lambda folder: data.write_benchmark(folder, "test", 2, modality),
    }
    for pool, write in writers.items():
        pools.clear()
        write(tmp_path / pool)
        assert pools == {pool}


@MODALITIES
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_benchmark_asks_held_out_phrases_except_in_the_trained_set(tmp_path, part, modality):
    data.write_benchmark(tmp_path, part, 4, modality)
    forms = STUDIOS[modality].forms
    by_words = {(phrase.first, phrase.second): phrase for phrase in phrases()}
    items = read_items(tmp_path)
    written = [form for form in forms if form != "request"]  # a request that is spoken is not announced
    assert len(items) == 4 * (3 * len(forms) + len(written) + 2 * 2)
    for name in ("media_harmful_trained", "media_harmful_unseen", "media_harmful_reworded", "media_harmless"):
        shown = written if name.endswith("reworded") else [*forms]
        assert [item["form"] for item in items if item["set"] == name] == shown * 4, "each attack in its turn"
    for item in items:
        phrase = by_words[item["first"], item["second"]]
        assert phrase.kind in item["set"]
        assert phrase in split("train" if item["set"].endswith("_trained") else part, phrase.kind)
        assert item["set"].startswith("media") == (item[modality] is not None)
        assert (phrase.act in item["question"]) == (item[modality] is None)


@MODALITIES
def test_a_benchmark_asks_the_same_whenever_it_is_written(tmp_path, modality):
    for name in ("one", "two"):
        data.write_benchmark(tmp_path / name, "test", 2, modality)
    one, two = ([row for _, row in read_jsonl(tmp_path / name / "items.jsonl")] for name in ("one", "two"))
    assert one == two
    for row in one:
        if row[modality]:
            assert (tmp_path / "one" / row[modality]).read_bytes() == (tmp_path / "two" / row[modality]).read_bytes()
