"""The typed contract of `pairs.jsonl`: lines come back as written, and a broken line is named."""

from __future__ import annotations

import json

import pytest

from sample_pairs import make_pair
from seawall.errors import ArtifactError, DataError
from seawall.preparation.config import PrepareConfig
from seawall.store.artifacts import claim, finish
from seawall.store.pair import Pair, read_modality, read_pairs, write_pairs


@pytest.fixture
def folder(tmp_path):
    claim(tmp_path / "pairs", "prepare", PrepareConfig(modality="video"), {"source": "x"})
    write_pairs(tmp_path / "pairs", [make_pair("a"), make_pair("b", rejected="Sure.", extractor="m")])
    finish(tmp_path / "pairs")
    return tmp_path / "pairs"


def test_pairs_are_read_back_as_written(folder):
    assert read_pairs(folder) == [make_pair("a"), make_pair("b", rejected="Sure.", extractor="m")]
    assert read_modality(folder) == "video"


def test_columns_are_written_in_the_documented_order(folder):
    line = json.loads((folder / "pairs.jsonl").read_text().splitlines()[0])
    assert list(line) == [
        "id", "kind", "modality", "instruction", "response", "rejected", "phrase", "category", "detoxified", "content",
        "verification", "style", "extractor",
    ]  # fmt: skip
    assert set(line["content"][0]) == set(line["style"]) == {"question", "answer"}


def test_unknown_columns_are_ignored_and_optional_ones_have_defaults():
    line = {**make_pair().to_json(), "colour": "red"}
    del line["rejected"], line["extractor"]
    assert Pair.from_json(json.loads(json.dumps(line)), "x") == make_pair()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phrase": None}, "lacks phrase, so it is not an alignment pair"),
        ({"phrase": None, "verification": None}, "lacks phrase, verification"),
        ({"kind": "bad"}, "kind is 'bad'; it must be one of harmful, harmless"),
        ({"category": "place"}, "category is 'place'"),
        ({"response": 3}, "response is 3; it must be a text"),
        ({"content": []}, r"content is \[\]; it must be a list with at least one question"),
        ({"content": {"question": "a", "answer": "b"}}, "content is .* must be a list"),
        ({"verification": ["Name it."]}, "verification is 'Name it.'; it must be an object {\"question\": text"),
        ({"style": {"question": "a"}}, "style is"),
    ],
)
def test_a_broken_line_is_named_with_its_fault(folder, change, message):
    with open(folder / "pairs.jsonl", "a") as file:
        file.write(json.dumps({**make_pair("c").to_json(), **change}) + "\n")
    with pytest.raises(DataError, match=rf"pairs.jsonl, line 3.*{message}"):
        read_pairs(folder)


def test_a_line_without_a_style_column_is_not_a_pair_of_this_version(folder):
    line = make_pair("c").to_json()
    del line["style"]
    with open(folder / "pairs.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(DataError, match="line 3 lacks style"):
        read_pairs(folder)


def test_an_unfinished_folder_of_pairs_is_refused(tmp_path):
    claim(tmp_path / "pairs", "prepare", PrepareConfig(), {"source": "x"})
    with pytest.raises(ArtifactError, match="has not finished"):
        read_pairs(tmp_path / "pairs")
