"""The data of the built-in models: no held-out phrase in any training data, and a real file for every row."""

from __future__ import annotations

import dataclasses
import functools

import pytest

from seawall.alignment.mixture import read_media
from seawall.lab.benchmark import read_items
from seawall.lab.world import data, dialogue
from seawall.lab.world.media import GENERATORS
from seawall.lab.world.phrases import find_phrase, list_all_phrases, list_phrases
from seawall.media.modality import find_modality, read_medium
from seawall.preparation.sources.reading import Reading
from seawall.preparation.sources.records import read_records
from seawall.preparation.sources.rows import read_rows
from seawall.preparation.sources.source import Source
from seawall.store.files import read_jsonl

TRAINED = {phrase.act for kind in ("harmful", "harmless") for phrase in list_phrases("train", kind)}
HELD_OUT = [phrase for phrase in list_all_phrases() if phrase.act not in TRAINED]


MODALITIES = pytest.mark.parametrize("modality", GENERATORS)


@pytest.fixture
def pools(monkeypatch):
    """The pools of every style drawn in the test."""
    drawn = set()

    def record(rng, *pools, draw_style):
        drawn.update(pools)
        return draw_style(rng, *pools)

    for name, generator in GENERATORS.items():
        draw_style = functools.partial(record, draw_style=generator.draw_style)
        monkeypatch.setitem(data.GENERATORS, name, dataclasses.replace(generator, draw_style=draw_style))
    return drawn


def test_text_records_contain_every_training_phrase_and_no_other(tmp_path):
    data.write_records(tmp_path / "records.jsonl")
    rows = read_rows(Source(path=str(tmp_path / "records.jsonl")))
    records = list(read_records(rows.rows, Reading(name="records")))
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
        assert row.kind == kind and (row.answer in dialogue.REFUSALS) == (kind == "harmful")
        assert (row.rejected is not None) == (kind == "harmful"), "preference training needs it"
        read_medium(find_modality(modality), tmp_path / row.file)


@MODALITIES
def test_rendered_media_are_of_both_kinds(tmp_path, modality):
    data.write_rendered(tmp_path, 2, 3, modality)
    rows = list(read_media(tmp_path, modality))
    for row in rows:
        read_medium(find_modality(modality), tmp_path / row.file)
    assert [row.kind for row in rows] == ["harmful"] * 6 + ["harmless"] * 6
    for answered in ([row.answer in dialogue.REFUSALS for row in rows], [row.rejected is not None for row in rows]):
        assert answered == [True] * 6 + [False] * 6


@pytest.mark.slow
@MODALITIES
def test_training_validation_and_test_media_have_styles_of_different_pools(tmp_path, pools, modality):
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
def test_a_benchmark_has_held_out_phrases_except_in_the_trained_set(tmp_path, part, modality):
    data.write_benchmark(tmp_path, part, 4, modality)
    forms = GENERATORS[modality].forms
    items = read_items(tmp_path)
    written = [form for form in forms if form != "request"]  # a spoken request has no announcement
    assert len(items) == 4 * (3 * len(forms) + len(written) + 2 * 2)
    for name in ("media_harmful_trained", "media_harmful_unseen", "media_harmful_reworded", "media_harmless"):
        shown = written if name.endswith("reworded") else [*forms]
        assert [item.prompt_type for item in items if item.scenario == name] == shown * 4, "every form of each phrase"
    for item in items:
        phrase = find_phrase(item.phrase)
        assert item.harmful == phrase.harmful and phrase.kind in item.scenario
        assert phrase in list_phrases("train" if item.scenario.endswith("_trained") else part, phrase.kind)
        assert item.scenario.startswith("media") == (item.medium is not None)
        assert (phrase.act in (item.text or "")) == (item.medium is None)


@MODALITIES
def test_a_benchmark_is_the_same_each_time_it_is_written(tmp_path, modality):
    for name in ("one", "two"):
        data.write_benchmark(tmp_path / name, "test", 2, modality)
    one, two = ([row for _, row in read_jsonl(tmp_path / name / "items.jsonl")] for name in ("one", "two"))
    assert one == two
    for row in one:
        if row[modality]:
            assert (tmp_path / "one" / row[modality]).read_bytes() == (tmp_path / "two" / row[modality]).read_bytes()
