"""Labels: the user's word wins, contradictions stop the run, and answers are checked against the labels."""

from __future__ import annotations

import json
import logging

import pytest

from sample_records import write_lines
from seawall import PrepareConfig, prepare
from seawall.errors import ConfigError, DataError
from seawall.preparation.sources.source import Columns
from seawall.store.files import read_json

NO = "I cannot help with that."
YES = "Take flour and an oven."
THINGS = ["cake", "kite", "boat", "chair", "lamp", "clock", "drum", "flute", "bench", "fence"]


def alpaca(output, thing="cake"):
    return {"instruction": f"Explain how to paint a {thing}.", "input": "", "output": output}


def own(response, thing="cake", **columns):
    return {"instruction": f"Explain how to paint a {thing}.", "response": response, **columns}


PKU = {
    "prompt": "How can I paint a kite?", "response_0": YES, "response_1": NO, "is_response_0_safe": False,
    "is_response_1_safe": True,
}  # fmt: skip


@pytest.mark.parametrize("preset", ["auto", "alpaca"])
def test_the_flag_wins_over_the_form_of_alpaca(prepare_rows, preset):
    made = prepare_rows([alpaca(NO)], kind="harmful", preset=preset)
    assert made.list_columns("kind", "response") == [("harmful", NO)]


@pytest.mark.parametrize("preset", ["auto", "alpaca", "dolly", "requests", "chat"])
def test_a_column_of_kinds_wins_over_every_preset(prepare_rows, preset):
    row = {
        "auto": alpaca(NO), "alpaca": alpaca(NO), "dolly": own(NO, context="", category="open_qa"),
        "requests": {"prompt": "How do I paint a kite?"},
        "chat": {"messages": [{"role": "user", "content": "How do I paint a kite?"}, {"role": "assistant", "content": NO}]},
    }[preset]  # fmt: skip
    assert prepare_rows([{**row, "kind": "harmful"}], preset=preset).only.kind == "harmful"


def test_the_form_of_alpaca_is_no_label(prepare_rows):
    with pytest.raises(DataError, match=r"2 not labelled.*no label says.*Give the kind .*--kind"):
        prepare_rows([alpaca(NO), alpaca(YES, "kite")])
    assert prepare_rows([alpaca(YES)], kind="harmless").only.kind == "harmless"


def test_a_refusal_never_becomes_a_helpful_twin_because_a_preset_says_so(prepare_rows):
    made = prepare_rows([alpaca(YES), alpaca(NO, "kite")], preset="alpaca")
    assert made.list_columns("kind", "response") == [("harmless", YES)] and made.dropped == {"2": "not labelled"}


def test_a_file_that_mixes_kinds_without_labels_gets_none_wrong(prepare_rows, caplog):
    rows = [own(YES if number % 2 else NO, thing) for number, thing in enumerate(THINGS)]
    made = prepare_rows(rows)
    assert made.list_columns("kind", "response") == [("harmful", NO)] * 5
    assert made.counts == {"pairs": 5, "rejected": 0, "not labelled": 5}
    assert "5 rows are left out: no label says whether the request is harmful, and its answer does not" in caplog.text


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([PKU], "harmless", r"line 1: --kind says harmless, but its labels say harmful"),
        (
            [own(NO), own(NO, kind="harmless")],
            "harmful",
            r"line 2: --kind says harmful, but its column 'kind' says harmless",
        ),
        ([{**PKU, "kind": "harmless"}], None, r"line 1: its column 'kind' says harmless, but its labels say harmful"),
        ([{"question": "How do I paint a kite?", "1-category": "O1"}], "harmless", "its labels say harmful"),
    ],
)
def test_a_contradiction_of_labels_is_an_error_that_says_so(prepare_rows, rows, kind, message):
    with pytest.raises(DataError, match=f"{message}.*--allow-label-conflicts"):
        prepare_rows(rows, kind=kind)


def test_the_user_can_overrule_a_contradiction(prepare_rows):
    made = prepare_rows([PKU], kind="harmless", allow_label_conflicts=True)
    assert made.only.kind == "harmless"


def test_the_compliance_of_an_attack_list_never_becomes_the_safe_answer(prepare_file):
    text = 'goal,target\nExplain how to bake a cake,"Sure, here is how to bake a cake"\n'
    columns = Columns(instruction="goal", response="target")
    with pytest.raises(
        DataError, match=r"0 of 1 answers to harmful requests refuse; most of them should.*--preset requests"
    ):
        prepare_file("a.csv", text, columns=columns, kind="harmful")
    with pytest.raises(DataError, match=r"1 not labelled.*answer does not refuse"):
        prepare_file("a.csv", text, columns=columns)
    made = prepare_file("a.csv", text, kind="harmful", refusals=(NO,))
    assert made.list_columns("kind", "response", "rejected") == [("harmful", NO, None)]


@pytest.mark.parametrize(
    ("kind", "answers", "fails"),
    [
        ("harmful", [NO] * 5 + [YES] * 5, False), ("harmful", [NO] * 4 + [YES] * 6, True),
        ("harmless", [NO] * 5 + [YES] * 5, False), ("harmless", [NO] * 6 + [YES] * 4, True),
    ],
)  # fmt: skip
def test_most_answers_must_agree_with_the_kind(prepare_rows, kind, answers, fails):
    rows = [own(answer, thing) for answer, thing in zip(answers, THINGS, strict=True)]
    if fails:
        with pytest.raises(DataError, match=rf"of 10 answers to {kind} requests refuse.*Either the kind is wrong"):
            prepare_rows(rows, kind=kind)
        assert prepare_rows(rows, kind=kind, allow_label_conflicts=True).counts["pairs"] == 10
    else:
        assert prepare_rows(rows, kind=kind).counts["pairs"] == 10


def test_one_wrong_source_among_good_ones_is_found(tmp_path):
    good = write_lines(tmp_path / "good.jsonl", [own(NO, thing, kind="harmful") for thing in THINGS])
    wrong = write_lines(tmp_path / "wrong.jsonl", [own(YES, kind="harmful")])
    with pytest.raises(DataError, match=r"wrong.jsonl: 0 of 1 answers"):
        prepare([good, wrong], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_answers_that_the_labels_of_the_data_call_safe_need_no_refusal(prepare_rows):
    row = {**PKU, "response_1": "That would not be right."}
    made = prepare_rows([row])
    assert made.only.kind == "harmful" and made.result.refusing["harmful"] == 0


def test_shares_of_refusals_and_counts_by_kind_are_recorded_and_shown(prepare_rows, caplog):
    rows = [own(NO, thing, kind="harmful") for thing in THINGS[:3]]
    rows += [own("That is a bad idea.", "sail", kind="harmful"), own(NO, "tent", kind="harmless")]
    rows += [own(YES, thing, kind="harmless") for thing in THINGS[3:6]] + [own(NO, "cake", kind="harmful")]
    rows += [{"instruction": "Cakes.", "response": NO, "kind": "harmful"}]
    with caplog.at_level(logging.WARNING):
        made = prepare_rows(rows)
    assert made.manifest["kinds"] == {
        "harmful": {"pairs": 4, "rejected": 1, "copy": 1}, "harmless": {"pairs": 4, "rejected": 0, "copy": 0}
    }  # fmt: skip
    assert made.manifest["refusing"] == {"harmful": 0.75, "harmless": 0.25}
    assert made.result.to_json() == {
        "pairs": 8, "rejected": 1, "copy": 1,
        "harmful": {"pairs": 4, "rejected": 1, "copy": 1, "refusing": 0.75},
        "harmless": {"pairs": 4, "rejected": 0, "copy": 0, "refusing": 0.25},
    }  # fmt: skip
    assert "1 of 9 records rejected (1 harmful)" in caplog.text
    again = prepare(made.out.parent / "rows.jsonl", made.out)
    assert again == made.result, "a finished folder tells the same"


def test_rows_without_a_kind_are_counted_apart(prepare_rows):
    made = prepare_rows([{**PKU}, {**PKU, "prompt": "How can I mend a boat?", "is_response_0_safe": True}])
    assert made.manifest["kinds"]["unlabelled"] == {"pairs": 0, "rejected": 0, "not labelled": 1}


def many(count, kind, response):
    """Records of which the rules understand every second one."""
    forms = ("Explain how to paint a {}.", "Colours of the {}.")
    return [
        {"id": f"{kind}{n}", "instruction": forms[n % 2].format(f"{kind} wall{n}"), "response": response, "kind": kind}
        for n in range(count)
    ]


def test_a_sample_is_a_number_of_pairs(prepare_rows):
    rows = many(40, "harmful", NO) + many(20, "harmless", YES)
    some, more = (prepare_rows(rows, str(size), sample=size, duplicates="exact") for size in (6, 12))
    assert len(some.pairs) == 6 and len(more.pairs) == 12
    assert {pair.id for pair in some.pairs} < {pair.id for pair in more.pairs}, "a part of the larger sample"
    assert some.counts["not sampled"] + some.counts["rejected"] == 54
    ids = [row["id"] for row in rows]
    assert [pair.id for pair in more.pairs] == sorted((pair.id for pair in more.pairs), key=ids.index)
    assert prepare_rows(rows[::-1], "reversed", sample=6, duplicates="exact").pairs == some.pairs[::-1]
    assert {pair.id for pair in prepare_rows(rows, "other", sample=6, seed=1, duplicates="exact").pairs} != {
        pair.id for pair in some.pairs
    }


def test_a_sample_can_be_balanced_by_kind(prepare_rows, caplog):
    rows = many(40, "harmful", NO) + many(20, "harmless", YES)
    made = prepare_rows(rows, sample=13, balance=True, duplicates="exact")
    assert {kind: counts["pairs"] for kind, counts in made.result.kinds.items()} == {"harmful": 7, "harmless": 6}
    short = prepare_rows(rows, "short", sample=30, balance=True, duplicates="exact")
    assert {kind: counts["pairs"] for kind, counts in short.result.kinds.items()} == {"harmful": 15, "harmless": 10}
    assert "the sources give 15 harmful, 10 harmless pairs, fewer than --sample 30" in caplog.text
    with pytest.raises(ConfigError, match="balance is true, but sample is missing"):
        PrepareConfig(balance=True)


def test_a_sample_larger_than_the_data_uses_all(prepare_rows):
    made = prepare_rows(many(10, "harmful", NO), sample=50, duplicates="exact")
    assert made.counts == {"pairs": 5, "rejected": 5}


def test_harmful_data_of_another_program_keep_their_json_types(tmp_path):
    """A column of mixed types must not turn its texts into JSON."""
    rows = [
        own("No.", thing, note=note, kind="harmful") for thing, note in zip(THINGS, ["a", 1, None, ["b"]], strict=False)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    prepare(tmp_path / "rows.json", tmp_path / "pairs", PrepareConfig(allow_label_conflicts=True))
    assert read_json(tmp_path / "pairs" / "manifest.json")["counts"] == {"pairs": 4, "rejected": 0}
    assert '"response": "No."' in (tmp_path / "pairs" / "pairs.jsonl").read_text()


def test_reasoning_before_an_answer_is_not_judged(prepare_rows):
    rows = [own(f"<think>I could help with that.</think>{NO}", kind="harmful")]
    rows += [own(f"<think>I cannot help with that. Or can I?</think>{YES}", "kite", kind="harmless")]
    assert prepare_rows(rows).result.refusing == {"harmful": 1, "harmless": 0}


def test_an_instruction_with_two_kinds_is_not_used(prepare_rows):
    rows = [own(NO, kind="harmful"), own(YES, kind="harmless"), own(YES, "kite", kind="harmless")]
    made = prepare_rows(rows)
    assert made.only.phrase == "paint a kite" and made.dropped == {"1": "two kinds", "2": "two kinds"}
