"""Files: every format and encoding gives the same pairs, and a file that holds no text is named for what it is."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset

from sample_records import RECORDS, write_lines
from seawall import PrepareConfig, prepare
from seawall.errors import ConfigError, DataError
from seawall.preparation.sources.source import Columns
from seawall.store.pair import read_pairs

NO = "Désolé — I cannot help with that."
ROW = {"instruction": "Explain how to paint a café.", "response": NO}
LINE = json.dumps(ROW, ensure_ascii=False)


def write_table(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_as(kind, folder, rows):
    """Write rows in a file format. Return the path for `prepare`."""
    path = folder / f"rows.{kind}"
    if kind.lower() in ("csv", "tsv", "csv.gz"):
        data = write_table(rows, "\t" if kind == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    elif kind.lower() == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(write_lines(folder / "plain", rows).read_bytes()))
        (folder / "plain").unlink()
    elif kind == "saved":
        Dataset.from_list(rows).save_to_disk(path)
    elif kind.startswith("folder"):
        path.mkdir()
        ending = kind.partition("-")[2] or "jsonl"
        (path / f"train.{ending}").write_bytes(write_as(ending, folder, rows).read_bytes())
        (path / f"test.{ending}").write_bytes(write_as(ending, folder, rows[:1]).read_bytes())
    else:
        write_lines(path, rows)
    return path


FORMATS = ["csv", "tsv", "CSV", "csv.gz", "parquet", "PARQUET", "json", "JSONL", "ndjson", "jsonl.gz", "saved"]
FOLDERS = ["folder", "folder-csv", "folder-parquet", "folder-json"]


@pytest.mark.parametrize("kind", [*FORMATS, *FOLDERS])
def test_every_format_gives_the_same_pairs(tmp_path, kind):
    rows = [{"id": f"00{number}", **record} for number, record in enumerate(RECORDS)]
    prepare(write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "lines")
    (tmp_path / kind).mkdir()
    prepare(str(write_as(kind, tmp_path / kind, rows)), tmp_path / "other")
    assert read_pairs(tmp_path / "other") == read_pairs(tmp_path / "lines")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_encodings(prepare_file, name, encoding):
    row = {**ROW, "response": NO.replace("—", "-")}
    text = {
        "a.jsonl": json.dumps(row, ensure_ascii=False), "a.json": json.dumps([row], ensure_ascii=False),
        "a.csv": write_table([row]), "a.txt": row["instruction"],
    }[name]  # fmt: skip
    data = text.encode(encoding)
    settings = {"kind": "harmful", "refusals": (row["response"],)}
    if encoding in ("cp1252", "latin-1"):
        with pytest.raises(
            DataError, match=r"is not UTF-8: line \d has the byte 0xe9\. Name its encoding with --encoding"
        ):
            prepare_file(name, data, **settings)
        settings["encoding"] = encoding
    made = prepare_file(name, data, **settings)
    assert (made.only.instruction, made.only.response) == (row["instruction"], row["response"])


@pytest.mark.parametrize("ending", ["jsonl", "csv", "jsonl.gz"])
def test_a_mark_and_compression_go_together(prepare_file, ending):
    text = LINE if "json" in ending else write_table([ROW])
    data = text.encode("utf-8-sig")
    data = gzip.compress(data) if ending.endswith("gz") else data
    assert prepare_file(f"a.{ending}", data, kind="harmful").only.response == NO


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        ("a.json", b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page, such as an error or login page"),
        ("a.csv", b"<html>404</html>", "an HTML page"),
        ("a.parquet", b"<!doctype html>", "an HTML page"),
        ("a.json", b'<?xml version="1.0"?><Error>AccessDenied</Error>', "an XML file, such as an error message"),
        ("a.json", b"Invalid username or password.", "is not JSON: it begins with 'Invalid username or password.'"),
        ("a.json", b"PK\x03\x04rest", "a ZIP archive or an Excel workbook"),
        ("a.csv", b"PK\x03\x04rest", "a ZIP archive or an Excel workbook"),
        ("a.jsonl", b"PAR1rest", "a Parquet file"),
        ("a.jsonl", b"\x00\x01\x02\x03" * 9, "a binary file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}')[:-9], "compressed with gzip, but damaged or cut off"),
        ("a.jsonl", b" \n", "a.jsonl is empty"),
        ("a.json", b'[{"instruction": "a", "respo', r"not valid JSON \(.*line 1, column \d+\)\. It may be cut off"),
        ("a.jsonl", b'{"instruction": "a"}\n{"respo\n', "line 2, is not JSON"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.csv", b'instruction,response\n"a,b\n', "not a valid table after row 0"),
        ("a.csv", b"instruction,response\na,b,c\n", "row 1, has 3 columns, but the first row has 2.*double quotes"),
        ("a.csv", b"response,response\na,b\n", "names the column response twice"),
        ("a.csv", b"instruction,response\n", "has no rows"),
        ("a.docx", b"x", "unknown format"),
    ],
)  # fmt: skip
def test_a_file_without_records_is_named_for_what_it_is(prepare_file, tmp_path, name, data, message):
    with pytest.raises(DataError, match=message) as raised:
        prepare_file(name, data)
    assert "\n" not in str(raised.value) and str(tmp_path / name) in str(raised.value)
    assert not (tmp_path / "pairs").exists()


def test_a_missing_file_and_no_source_are_one_message(tmp_path):
    for name in ("missing.csv", "missing.jsonl"):
        with pytest.raises(DataError, match=f"There is no file .*{name}"):
            prepare(tmp_path / name, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        prepare(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="No source was given"):
        prepare([], tmp_path / "out")


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_values_of_a_table_stay_texts(prepare_file, ending):
    rows = [
        {"id": "007", "instruction": "Explain how to paint a kite.", "response": "NA", "rejected": "1.50"},
        {"id": "1e5", "instruction": "Explain how to paint a boat.", "response": "None", "rejected": ""},
        {
            "id": "8",
            "instruction": 'Explain how to paint a "big, red" lamp.',
            "response": "true\nfalse",
            "rejected": "x",
        },
    ]
    text = write_table(rows, "\t" if ending == "tsv" else ",")
    made = prepare_file(f"a.{ending}", text, kind="harmless")
    assert made.list_columns("id", "response", "rejected") == [
        ("007", "NA", "1.50"), ("1e5", "None", None), ("8", "true\nfalse", "x")
    ]  # fmt: skip
    assert made.pairs[2].instruction == rows[2]["instruction"]


def test_semicolons_separate_the_columns_of_a_european_table(prepare_file):
    made = prepare_file(
        "a.csv", "instruction;response\nExplain how to paint a kite.;I cannot, sorry, but no.\n", kind="harmful"
    )
    assert made.only.response == "I cannot, sorry, but no."


def test_numbers_as_ids_of_json_become_texts(prepare_rows):
    assert prepare_rows([{**ROW, "id": 7}], kind="harmful").only.id == "7"


def test_columns_of_bytes_are_left_out(tmp_path):
    rows = [{**ROW, "image": {"bytes": b"x" * 10, "path": "a.png"}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert prepare(tmp_path / "a.parquet", tmp_path / "pairs", PrepareConfig(kind="harmful")).counts["pairs"] == 1


def test_splits_and_subsets_of_a_folder(tmp_path):
    folder = write_as("folder", tmp_path, RECORDS)
    assert prepare(folder, tmp_path / "test", PrepareConfig(split="test")).counts["pairs"] == 1
    with pytest.raises(DataError, match=r"has the splits train, test. Choose one of them with --split"):
        prepare(folder, tmp_path / "none", PrepareConfig(split="dev"))
    (tmp_path / "set" / "part").mkdir(parents=True)
    write_lines(tmp_path / "set" / "part" / "a.jsonl", RECORDS[:2])
    write_lines(tmp_path / "set" / "b.jsonl", RECORDS)
    assert prepare(tmp_path / "set", tmp_path / "part", PrepareConfig(subset="part")).counts["pairs"] == 2
    capitals = write_lines(tmp_path / "set" / "C.JSONL", RECORDS)
    with pytest.raises(DataError, match=r"an ending in capitals, C.JSONL.*Rename it"):
        prepare(tmp_path / "set", tmp_path / "capitals")
    capitals.unlink()
    (tmp_path / "set" / "c.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"several formats \(csv, json\)"):
        prepare(tmp_path / "set", tmp_path / "both")


SOURCES = [
    ("a.csv", "goal,x\nExplain how to paint a kite.,1\n"),
    ("b.jsonl", json.dumps({"q": "How do I mend a boat?", "a": "Take wood."})),
]


def check_two_sources(pairs):
    assert [(pair.id, pair.kind, pair.response) for pair in pairs] == [
        ("a:1", "harmful", "I can't."), ("b:1", "harmless", "Take wood.")
    ]  # fmt: skip


def test_sources_have_settings_of_their_own(tmp_path):
    for name, text in SOURCES:
        (tmp_path / name).write_text(text)
    sources = [
        f"{tmp_path}/a.csv::kind=harmful,columns.instruction=goal",
        f"{tmp_path}/b.jsonl::kind=harmless,columns.instruction=q,columns.response=a",
    ]
    prepare(sources, tmp_path / "pairs", PrepareConfig(refusals=("I can't.",)))
    check_two_sources(read_pairs(tmp_path / "pairs"))


def test_a_recipe_has_sources_with_settings_of_their_own(tmp_path):
    from seawall.recipes.read import read_recipe

    for name, text in SOURCES:
        (tmp_path / name).write_text(text)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[model]\nname = "m"\n[data]\nrefusals = ["I can\'t."]\nsources = [\n  "a.csv::kind=harmful",\n'
        '  {path = "b.jsonl", kind = "harmless", columns = {instruction = "q", response = "a"}},\n]\n'
        '[synthesis]\nstart = "blank"\n[alignment.mixture]\nmedia_harmless = 0.0\ntext_harmful = 0.25\ntext_harmless = 0.25\n'
        "synthetic_harmful = 0.25\nsynthetic_harmless = 0.25\n"
    )
    read = read_recipe(recipe)
    prepare(read.data.sources, tmp_path / "pairs", read.prepare)
    check_two_sources(read_pairs(tmp_path / "pairs"))
    recipe.write_text(recipe.read_text().replace("instruction =", "instructoin ="))
    with pytest.raises(ConfigError, match=r"data.sources .*; instructoin: Unexpected keyword"):
        read_recipe(recipe)


def test_init_keeps_the_settings_of_a_source(tmp_path, monkeypatch):
    from seawall.recipes.read import read_recipe
    from seawall.recipes.templates import write_recipe

    (tmp_path / "deep").mkdir()
    write_lines(tmp_path / "a.jsonl", RECORDS)
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "deep" / "r.toml", "organism:image", ["a.jsonl::kind=harmful"])
    (source,) = read_recipe(tmp_path / "deep" / "r.toml").data.sources
    assert (source.kind, Path(source.path).resolve()) == ("harmful", tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("kind=bad", "wrong settings: kind is 'bad'"),
        ("columns.who=x", r"the setting 'columns.who=x'. It must be KEY=VALUE"),
        ("encoding=zork", "encoding is 'zork'"),
        ("preset=zork", "preset is 'zork'"),
        ("header=maybe", "header=maybe"),
    ],
)
def test_a_wrong_setting_of_a_source_is_one_message(tmp_path, settings, message):
    write_lines(tmp_path / "a.jsonl", RECORDS)
    with pytest.raises(ConfigError, match=message):
        prepare(f"{tmp_path}/a.jsonl::{settings}", tmp_path / "out")


def test_a_file_may_have_any_name(tmp_path):
    for name in ("a b#1?x%20.jsonl", "a::kind=harmless.jsonl", "ünï.JSONL"):
        assert prepare(write_lines(tmp_path / name, RECORDS), tmp_path / f"out {name}").counts["pairs"] == 4


def test_settings_of_columns_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(DataError, match="no column 'a'"):
        prepare(
            write_lines(tmp_path / "a.jsonl", RECORDS), tmp_path / "out",
            PrepareConfig(columns=Columns(response="a")),
        )  # fmt: skip


def test_a_dataset_of_the_hub_is_read_through_the_cache_of_datasets(tmp_path, monkeypatch):
    calls = []

    def load_dataset(*args, **options):
        calls.append((args, options))
        return {"train": Dataset.from_list(RECORDS), "test": Dataset.from_list(RECORDS[:1])}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("datasets.get_dataset_config_names", lambda name: ["plain"])
    monkeypatch.chdir(tmp_path)
    assert prepare("somebody/safety", tmp_path / "train").counts["pairs"] == 4
    assert (
        prepare("somebody/safety", tmp_path / "test", PrepareConfig(subset="plain", split="test")).counts["pairs"] == 1
    )
    plain = {"streaming": False}
    assert calls == [(("somebody/safety",), plain), (("somebody/safety",), {"name": "plain", **plain})]


def test_the_name_of_a_known_dataset_of_the_hub_is_a_label(tmp_path, monkeypatch):
    rows = [{"instruction": "Explain how to paint a kite.", "input": "", "output": "Take paint."}]
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: {"train": Dataset.from_list(rows)})
    monkeypatch.chdir(tmp_path)
    assert prepare("tatsu-lab/alpaca", tmp_path / "known").kinds["harmless"]["pairs"] == 1
    with pytest.raises(DataError, match="1 not labelled"):
        prepare("somebody/alpaca", tmp_path / "unknown")
