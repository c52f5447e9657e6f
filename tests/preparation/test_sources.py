"""Sources in every file format, and public datasets: which rows become records, and which are dropped."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys

import pyarrow.parquet
import pytest
from datasets import Dataset

from sample_records import RECORDS, write_lines
from seawall import PrepareConfig, prepare
from seawall.errors import DataError
from seawall.preparation.presets import Columns
from seawall.store.files import read_json, read_jsonl
from seawall.store.pair import read_pairs

HARM = {"Privacy Violation": False, "Violence": False}
PKU = [
    {
        "prompt": f"How can I {act}?", "response_0": "A", "response_1": "B", "prompt_source": "p", "response_0_source": "s",
        "response_1_source": "s", "is_response_0_safe": safe[0], "is_response_1_safe": safe[1], "response_0_harm_category": HARM,
        "response_1_harm_category": HARM, "response_0_severity_level": 0, "response_1_severity_level": 1,
        "better_response_id": better, "safer_response_id": 0, "response_0_sha256": "x", "response_1_sha256": "y",
    }
    for act, safe, better in [
        ("paint a kite", (True, False), 1), ("mend a boat", (False, True), 0), ("fold a chair", (True, True), 1),
        ("sell a lamp", (False, False), 0),
    ]
]  # fmt: skip
BEAVERTAILS = [
    {"prompt": f"How do I {act}?", "response": response, "category": HARM, "is_safe": safe}
    for act, response, safe in [
        ("paint a kite", "bad", False),
        ("mend a boat", "fine", True),
        ("paint a kite", "good", True),
        ("sell a lamp", "bad", False),
        ("paint a kite", "good too", True),
    ]
]
HH = [
    {
        "chosen": "\n\nHuman: How do I paint a kite?\n\nAssistant: Human: and machine alike.",
        "rejected": "\n\nHuman: How do I paint a kite?\n\nAssistant: Like so.",
    },
    {
        "chosen": "\n\nHuman: Hi.\n\nAssistant: Hi!\n\nHuman: How do I mend a boat?\n\nAssistant: No.",
        "rejected": "\n\nHuman: Hi.\n\nAssistant: Hi!\n\nHuman: How do I mend a boat?\n\nAssistant: So.",
    },
]
HH_MESSAGES = [
    {
        side: [{"role": "user", "content": "How do I paint a kite?"}, {"role": "assistant", "content": text}]
        for side, text in (("chosen", "Human: and machine alike."), ("rejected", "Like so."))
    }
]
SALAD = [
    {
        "qid": f"{number + 40}", "question": f"How to paint a {thing}?", "source": "GPT-Gen", "1-category": "O1", "2-category": "O2",
        "3-category": "O3",
    }
    for number, thing in enumerate(["kite", "boat", "chair", "lamp", "bench", "drum"])
]  # fmt: skip
ALPACA = [
    {"instruction": "Explain how to paint a kite.", "input": "", "output": "Take paint."},
    {"instruction": "Give tips to mend a boat.", "input": "It is old.", "output": "Take wood."},
    {"instruction": "Give tips to sell a lamp.", "input": "", "output": ""},
]
DOLLY = [
    {"instruction": "How do I paint a kite?", "context": "", "response": "Take paint.", "category": "open_qa"},
    {
        "instruction": "How do I mend a boat?",
        "context": "It is old.",
        "response": "Take wood.",
        "category": "closed_qa",
    },
]


def prepare_rows(tmp_path, rows, **settings):
    """Prepare rows from a JSON Lines file. Return the pairs, id -> step of the dropped rows, and the counts."""
    source = write_lines(tmp_path / "rows.jsonl", rows)
    counts = prepare(source, tmp_path / "pairs", PrepareConfig(**settings))
    out = tmp_path / "pairs"
    dropped = [line for _, line in read_jsonl(out / "dropped.jsonl")] if counts.keys() - {"pairs", "rejected"} else []
    manifest = read_json(out / "manifest.json")
    assert manifest["read"] == sum(counts.values()) and manifest["counts"] == counts
    return read_pairs(out), {line["id"]: line["step"] for line in dropped}, counts


def columns_of(pairs, *names):
    return [
        tuple(getattr(pair, name) for name in names or ("id", "kind", "phrase", "response", "rejected"))
        for pair in pairs
    ]


def test_pku_saferlhf(tmp_path):
    pairs, dropped, counts = prepare_rows(tmp_path, PKU)
    assert columns_of(pairs) == [
        ("1", "harmful", "paint a kite", "A", "B"),
        ("2", "harmful", "mend a boat", "B", "A"),
    ]
    assert dropped == {"3": "not labelled", "4": "no safe response"}
    assert counts == {"pairs": 2, "rejected": 0, "not labelled": 1, "no safe response": 1}


def test_kind_labels_the_rows_that_a_dataset_does_not_label(tmp_path):
    pairs, _, _ = prepare_rows(tmp_path, PKU, kind="harmful")
    assert columns_of(pairs)[2] == ("3", "harmful", "fold a chair", "B", None), "the better one of two safe responses"


def test_labels_may_be_texts_or_missing(tmp_path):
    rows = [
        {**PKU[0], "is_response_0_safe": "False", "is_response_1_safe": "True"},
        {**PKU[1], "is_response_0_safe": None},
    ]
    pairs, dropped, _ = prepare_rows(tmp_path, rows)
    assert columns_of(pairs) == [("1", "harmful", "paint a kite", "B", "A")] and dropped == {"2": "no label"}


def test_beavertails_joins_the_responses_of_a_prompt(tmp_path):
    pairs, dropped, _ = prepare_rows(tmp_path, BEAVERTAILS)
    assert columns_of(pairs) == [("1", "harmful", "paint a kite", "good", "bad")]
    assert dropped == {"2": "not labelled", "3": "joined", "5": "joined", "4": "no safe response"}


@pytest.mark.parametrize("rows", [HH, HH_MESSAGES])
def test_hh_rlhf(tmp_path, rows):
    pairs, dropped, _ = prepare_rows(tmp_path, rows, kind="harmful")
    assert columns_of(pairs) == [("1", "harmful", "paint a kite", "Human: and machine alike.", "Like so.")]
    assert dropped == ({"2": "several turns"} if rows is HH else {})


def test_hh_rlhf_needs_a_kind(tmp_path):
    with pytest.raises(
        DataError, match=r"No record of .* is left \(1 not labelled, 1 several turns\)\. Set the kind .* --kind"
    ):
        prepare_rows(tmp_path, HH)


def test_salad_bench_gets_refusals(tmp_path):
    pairs, _, _ = prepare_rows(tmp_path, SALAD, refusals=("No.", "Never."))
    assert [pair.id for pair in pairs] == ["40", "41", "42", "43", "44", "45"]
    assert {pair.response for pair in pairs} == {"No.", "Never."}
    assert all(pair.kind == "harmful" and pair.rejected is None for pair in pairs)


def test_alpaca_is_harmless(tmp_path):
    pairs, dropped, _ = prepare_rows(tmp_path, ALPACA)
    assert columns_of(pairs, "kind", "phrase", "response") == [
        ("harmless", "paint a kite", "Take paint."),
        ("harmless", "mend a boat", "Take wood."),
    ]
    assert pairs[1].instruction == "Give tips to mend a boat.\nIt is old." and dropped == {"3": "empty"}


def test_dolly_is_harmless(tmp_path):
    pairs, _, _ = prepare_rows(tmp_path, DOLLY)
    assert columns_of(pairs, "kind", "response") == [("harmless", "Take paint."), ("harmless", "Take wood.")]


def test_a_source_with_a_kind_never_matches_a_preset(tmp_path):
    pairs, _, _ = prepare_rows(tmp_path, [{**DOLLY[0], "kind": "harmful"}])
    assert pairs[0].kind == "harmful"


def test_any_column_names_can_be_given(tmp_path):
    rows = [{"q": "How do I paint a kite?", "a": "Paint.", "bad": "No.", "what": "harmless", "key": 7}]
    columns = Columns(instruction="q", response="a", rejected="bad", kind="what", id="key")
    pairs, _, _ = prepare_rows(tmp_path, rows, columns=columns)
    assert columns_of(pairs) == [("7", "harmless", "paint a kite", "Paint.", "No.")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (PKU[0] | {"is_safe": 1}, None),
        ({"prompt": "x", "response": "y", "safe": True}, r"nearest preset is 'beavertails', but 'is_safe' is missing"),
        (
            {"question": "x", "answer": "y"},
            r"nearest preset is 'salad-bench', but '1-category' is missing.*--columns.instruction",
        ),
        ({"text": "x"}, r"has no text in 'instruction' \(its columns: text\).*complete the line\.$"),
    ],
)
def test_unknown_columns_give_an_error_that_names_the_nearest_preset(tmp_path, row, message):
    if message is None:
        assert prepare_rows(tmp_path, [row])[2]["pairs"] == 1
        return
    with pytest.raises(DataError, match=message):
        prepare_rows(tmp_path, [row])


def test_a_preset_that_does_not_match_the_columns_is_an_error(tmp_path):
    with pytest.raises(
        DataError,
        match=r"has no columns \['input', 'output'\].*not match the preset 'alpaca'.*nearest preset is 'dolly', which matches",
    ):
        prepare_rows(tmp_path, DOLLY, preset="alpaca")


def write_as(kind, folder, rows):
    """Write rows in a file format. Return the path for `prepare`."""
    path = folder / f"rows.{kind}"
    if kind in ("csv", "tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(write_lines(folder / "plain", rows).read_bytes()))
        (folder / "plain").unlink()
    elif kind == "saved":
        Dataset.from_list(rows).save_to_disk(path)
    elif kind == "folder":
        path.mkdir()
        write_lines(path / "train.jsonl", rows)
        write_lines(path / "test.jsonl", rows[:1])
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "json", "jsonl.gz", "saved", "folder"])
def test_every_format_gives_the_same_pairs(tmp_path, kind, monkeypatch):
    rows = [{"id": f"r{number}", **record} for number, record in enumerate(RECORDS)]
    prepare(write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "lines")
    (tmp_path / kind).mkdir()
    prepare(str(write_as(kind, tmp_path / kind, rows)), tmp_path / "other")
    assert read_pairs(tmp_path / "other") == read_pairs(tmp_path / "lines")


def test_splits_and_subsets_of_a_folder(tmp_path):
    folder = write_as("folder", tmp_path, RECORDS)
    assert prepare(folder, tmp_path / "test", PrepareConfig(split="test"))["pairs"] == 1
    with pytest.raises(DataError, match=r"has the splits train, test. Choose one of them with --split"):
        prepare(folder, tmp_path / "none", PrepareConfig(split="dev"))
    (tmp_path / "set" / "part").mkdir(parents=True)
    write_lines(tmp_path / "set" / "part" / "a.jsonl", RECORDS[:2])
    write_lines(tmp_path / "set" / "b.jsonl", RECORDS)
    assert prepare(tmp_path / "set", tmp_path / "part", PrepareConfig(subset="part"))["pairs"] == 2
    (tmp_path / "set" / "c.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"several formats \(csv, json\)"):
        prepare(tmp_path / "set", tmp_path / "both")


def test_the_ids_of_several_sources_begin_with_their_names(tmp_path):
    sources = [write_lines(tmp_path / "pku.jsonl", PKU), write_lines(tmp_path / "alpaca.jsonl", ALPACA[:1])]
    prepare(sources, tmp_path / "pairs", PrepareConfig(duplicates="keep"))
    pairs = read_pairs(tmp_path / "pairs")
    assert columns_of(pairs, "id", "kind") == [("pku:1", "harmful"), ("pku:2", "harmful"), ("alpaca:1", "harmless")]
    with pytest.raises(DataError, match=r"the id 'pku:1' occurs twice"):
        prepare(sources[:1] * 2, tmp_path / "twice")


def test_a_source_that_cannot_be_read_is_one_message(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "no.json").write_text("{{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.csv").write_text("instruction,response\n")
    for name, message in {
        "cut.parquet": "cannot be read", "notes.txt": "unknown format", "no.json": "cannot be read", "empty": "cannot be read",
        "none.csv": "has no rows", "missing.csv": "There is no file",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=f"{name} ?.*{message}|{message}.*{name}") as raised:
            prepare(tmp_path / name, tmp_path / "out")
        assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="No source was given"):
        prepare([], tmp_path / "out")


def test_a_dataset_of_the_hub_is_read_through_the_cache_of_datasets(tmp_path, monkeypatch):
    calls = []

    def load_dataset(*args, **options):
        calls.append((args, options))
        return {"train": Dataset.from_list(RECORDS), "test": Dataset.from_list(RECORDS[:1])}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("datasets.get_dataset_config_names", lambda name: ["plain"])
    monkeypatch.chdir(tmp_path)
    assert prepare("somebody/safety", tmp_path / "train")["pairs"] == 4
    assert prepare("somebody/safety", tmp_path / "test", PrepareConfig(subset="plain", split="test"))["pairs"] == 1
    plain = {"streaming": False}
    assert calls == [(("somebody/safety",), plain), (("somebody/safety",), {"name": "plain", **plain})]


def test_an_unknown_dataset_is_one_message_on_the_command_line(tmp_path):
    argv = [sys.executable, "-m", "seawall", "prepare", "nobody/nothing", "--out", tmp_path / "out"]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("seawall: nobody/nothing cannot be read") and done.stderr.count("\n") == 1
