"""Public datasets: which rows become records, which are dropped, and what their labels decide."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sample_records import write_lines
from seawall import PrepareConfig, prepare
from seawall.errors import DataError
from seawall.preparation.sources.source import Columns
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
        "chosen": "\n\nHuman: How do I paint a kite?\n\nAssistant: I cannot do it. Human: and machine alike.",
        "rejected": "\n\nHuman: How do I paint a kite?\n\nAssistant: Like so.",
    },
    {
        "chosen": "\n\nHuman: Hi.\n\nAssistant: Hi!\n\nHuman: How do I mend a boat?\n\nAssistant: I'm sorry, but no.",
        "rejected": "\n\nHuman: Hi.\n\nAssistant: Hi!\n\nHuman: How do I mend a boat?\n\nAssistant: So.",
    },
]
HH_MESSAGES = [
    {
        side: [{"role": "user", "content": "How do I paint a kite?"}, {"role": "assistant", "content": text}]
        for side, text in (("chosen", "I cannot do it. Human: and machine alike."), ("rejected", "Like so."))
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


def test_pku_saferlhf(prepare_rows):
    made = prepare_rows(PKU)
    assert made.list_columns() == [
        ("1", "harmful", "paint a kite", "A", "B"),
        ("2", "harmful", "mend a boat", "B", "A"),
    ]
    assert made.dropped == {"3": "not labelled", "4": "no safe response"}
    assert made.counts == {"pairs": 2, "rejected": 0, "not labelled": 1, "no safe response": 1}


def test_kind_labels_the_rows_that_a_dataset_does_not_label(prepare_rows):
    made = prepare_rows(PKU, kind="harmful")
    assert made.list_columns()[2] == ("3", "harmful", "fold a chair", "B", None), "the better one of two safe responses"


def test_labels_may_be_texts_or_missing(prepare_rows):
    rows = [
        {**PKU[0], "is_response_0_safe": "False", "is_response_1_safe": "True"},
        {**PKU[1], "is_response_0_safe": None},
    ]
    made = prepare_rows(rows)
    assert made.list_columns() == [("1", "harmful", "paint a kite", "B", "A")] and made.dropped == {"2": "no label"}


def test_beavertails_joins_the_responses_of_a_prompt(prepare_rows):
    made = prepare_rows(BEAVERTAILS)
    assert made.list_columns() == [("1", "harmful", "paint a kite", "good", "bad")]
    assert made.dropped == {"2": "not labelled", "3": "joined", "5": "joined", "4": "no safe response"}


@pytest.mark.parametrize("rows", [HH, HH_MESSAGES])
def test_hh_rlhf(prepare_rows, rows):
    made = prepare_rows(rows, kind="harmful", turns="single")
    assert made.list_columns() == [
        ("1", "harmful", "paint a kite", "I cannot do it. Human: and machine alike.", "Like so.")
    ]
    assert made.dropped == ({"2": "several turns"} if rows is HH else {})


def test_hh_rlhf_uses_the_last_of_several_turns(prepare_rows):
    made = prepare_rows(HH, kind="harmful")
    assert made.list_columns()[1] == ("2", "harmful", "mend a boat", "I'm sorry, but no.", "So.")


def test_hh_rlhf_needs_a_kind(prepare_rows):
    with pytest.raises(
        DataError, match=r"No record of .* is left \(2 not labelled\)\. .*no label.*Give the kind .*--kind"
    ):
        prepare_rows(HH)


def test_salad_bench_gets_refusals(prepare_rows):
    made = prepare_rows(SALAD, refusals=("No.", "Never."))
    assert [pair.id for pair in made.pairs] == ["40", "41", "42", "43", "44", "45"]
    assert {pair.response for pair in made.pairs} == {"No.", "Never."}
    assert all(pair.kind == "harmful" and pair.rejected is None for pair in made.pairs)


@pytest.mark.parametrize("settings", [{"kind": "harmless"}, {"preset": "alpaca"}])
def test_alpaca(prepare_rows, settings):
    made = prepare_rows(ALPACA, **settings)
    assert made.list_records("instruction", "kind", "response") == [
        ("Explain how to paint a kite.", "harmless", "Take paint."),
        ("Give tips to mend a boat.\nIt is old.", "harmless", "Take wood."),
    ]
    assert made.dropped == {"3": "empty"}


def test_alpaca_without_inputs(prepare_rows):
    rows = [{name: row[name] for name in ("instruction", "output")} for row in ALPACA[:1]]
    assert prepare_rows(rows, kind="harmless").only.response == "Take paint."


@pytest.mark.parametrize("settings", [{"kind": "harmless"}, {"preset": "dolly"}])
def test_dolly(prepare_rows, settings):
    made = prepare_rows(DOLLY, **settings)
    assert made.list_records("kind", "response") == [("harmless", "Take paint."), ("harmless", "Take wood.")]


def test_any_column_names_can_be_given(prepare_rows):
    rows = [{"q": "How do I paint a kite?", "a": "Paint.", "bad": "No.", "what": "Harmless", "key": 7}]
    columns = Columns(instruction="q", response="a", rejected="bad", kind="what", id="key")
    assert prepare_rows(rows, columns=columns).list_columns() == [("7", "harmless", "paint a kite", "Paint.", "No.")]


def test_the_preset_with_the_most_telling_columns_is_used(prepare_rows):
    assert prepare_rows([PKU[0] | {"is_safe": 1}]).only.response == "A"


def test_a_preset_that_does_not_match_the_columns_is_an_error(prepare_rows):
    with pytest.raises(DataError, match=r"has no columns \['output'\], so it does not match the preset 'alpaca'"):
        prepare_rows(DOLLY, preset="alpaca")


def test_the_ids_of_several_sources_begin_with_their_names(tmp_path):
    sources = [write_lines(tmp_path / "pku.jsonl", PKU), write_lines(tmp_path / "alpaca.jsonl", ALPACA[:1])]
    given = [sources[0], f"{sources[1]}::kind=harmless"]
    prepare(given, tmp_path / "pairs", PrepareConfig(duplicates="keep"))
    pairs = read_pairs(tmp_path / "pairs")
    assert [(pair.id, pair.kind) for pair in pairs] == [
        ("pku:1", "harmful"), ("pku:2", "harmful"), ("alpaca:1", "harmless")
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"the id 'pku:1' occurs twice"):
        prepare(sources[:1] * 2, tmp_path / "twice")


def test_an_unknown_dataset_is_one_message_on_the_command_line(tmp_path):
    argv = [sys.executable, "-m", "seawall", "prepare", "nobody/nothing", "--out", tmp_path / "out"]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("seawall: nobody/nothing cannot be read") and done.stderr.count("\n") == 1
