"""The forms that people have data in: lists of requests, preferences, and conversations."""

from __future__ import annotations

import json

import pytest

from seawall.errors import DataError
from seawall.preparation.sources.source import Columns

NO, YES = "I cannot help with that.", "Take paint."
ASK = "How do I paint a kite?"
HARMFUL = [("harmful", "paint a kite", NO, None)]
PREFERRED = [("harmful", "paint a kite", NO, YES)]
NAMES = ("kind", "phrase", "response", "rejected")


def user(text=ASK):
    return {"role": "user", "content": text}


def reply(text):
    return {"role": "assistant", "content": text}


def human(text=ASK):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


SYSTEM = {"role": "system", "content": "You are a helpful assistant."}


@pytest.mark.parametrize(
    "column", ["goal", "Goal", "Behavior", "prompt", "question", "Instruction", "forbidden_prompt", "query"]
)
def test_a_list_of_requests(prepare_rows, column):
    rows = [{column: ASK, "category": "C", "target": "Sure, here is how"}]
    made = prepare_rows(rows, kind="harmful", refusals=(NO,))
    assert made.list_columns(*NAMES) == HARMFUL


def test_a_list_of_requests_needs_a_kind(prepare_rows):
    with pytest.raises(
        DataError, match=r"1 not labelled.*no label says whether the request is harmful\. Give the kind .*--kind"
    ):
        prepare_rows([{"goal": ASK}])


def test_harmless_requests_without_answers_need_a_model(prepare_rows):
    with pytest.raises(DataError, match=r"1 no response.*--answers MODEL"):
        prepare_rows([{"goal": ASK}], kind="harmless")


def test_the_likeliest_column_of_several_is_taken_and_named(prepare_rows, caplog):
    made = prepare_rows([{"Behavior": "Kites", "Goal": ASK}], kind="harmful")
    assert made.only.instruction == ASK
    assert "requests are taken from 'Goal', not from Behavior; --columns.instruction chooses" in caplog.text


def test_answers_that_only_some_rows_have_are_an_error(prepare_rows):
    with pytest.raises(DataError, match=r"line 2: it has 'response', which the first row lacks"):
        prepare_rows([{"instruction": ASK}, {"instruction": ASK, "response": NO}], kind="harmful")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requests.txt", f"{ASK}\n\n  How do I mend a boat? \n"),
        ("requests.csv", f"{ASK}\nHow do I mend a boat?\n"),
        ("requests.json", json.dumps([ASK, "How do I mend a boat?"])),
    ],
)
def test_requests_one_a_line(prepare_file, name, content):
    made = prepare_file(name, content, kind="harmful", header=name != "requests.csv")
    assert made.list_columns("phrase", "kind") == [("paint a kite", "harmful"), ("mend a boat", "harmful")]


def test_a_table_without_a_header(prepare_file):
    text = f'7,"{ASK}",fun\n8,How do I mend a boat?,fun\n'
    made = prepare_file("a.csv", text, header=False, kind="harmful", columns=Columns(instruction="2", id="1"))
    assert made.list_columns("id", "phrase") == [("7", "paint a kite"), ("8", "mend a boat")]
    with pytest.raises(DataError, match=r"no column 'instruction' \(its columns: 1, 2, 3\).*--columns.instruction"):
        prepare_file("b.csv", text, header=False, kind="harmful", out="other")


def test_a_request_is_never_taken_for_a_header(prepare_file):
    with pytest.raises(DataError, match=r"first row of .*a.csv is not a header: it has 'How do I paint.*--no-header"):
        prepare_file("a.csv", f"{ASK}\nHow do I mend a boat?\n", kind="harmful")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASK, "chosen": NO, "rejected": YES},
        {"question": ASK, "chosen": NO, "rejected": YES, "image": "a.jpg"},
        {"instruction": ASK, "input": "", "chosen": NO, "rejected": YES},
        {"prompt": [SYSTEM, user()], "chosen": [reply(NO)], "rejected": [reply(YES)]},
        {
            "prompt": ASK,
            "chosen": [user(), reply(NO)],
            "rejected": [user(), reply(YES)],
            "messages": [user(), reply(NO)],
        },
        {"chosen": [SYSTEM, user(), reply(NO)], "rejected": [SYSTEM, user(), reply(YES)]},
        {"conversations": [human()], "chosen": gpt(NO), "rejected": gpt(YES)},
        {"conversations": [{"from": "system", "value": "S"}, human()], "chosen": gpt(NO), "rejected": gpt(YES)},
        {"chosen": f"\n\nHuman: {ASK}\n\nAssistant: {NO}", "rejected": f"\n\nHuman: {ASK}\n\nAssistant: {YES}"},
        {"prompt": f"\n\nHuman: {ASK}\n\nAssistant:", "chosen": f" {NO}", "rejected": f" {YES}"},
        {"prompt": ASK, "response": [YES, NO], "is_safe": [False, True]},
        {"prompt": ASK, "responses": [YES, NO], "labels": ["unsafe", "safe"]},
        {"question": ASK, "response": [YES, NO], "safer_response_id": 1},
    ],
)
def test_preferences(prepare_rows, row):
    assert prepare_rows([row], kind="harmful").list_columns(*NAMES) == PREFERRED


def test_preferences_of_several_turns_answer_the_last_request(prepare_rows, caplog):
    before = [user("Hello!"), reply("Hi!")]
    row = {"prompt": [*before, user()], "chosen": [reply(NO)], "rejected": [reply(YES)]}
    assert prepare_rows([row], kind="harmful").list_columns(*NAMES) == PREFERRED
    assert "1 conversations of several turns; the last request is used (--turns single" in caplog.text
    single = [row, {"prompt": "How do I mend a boat?", "chosen": NO, "rejected": YES}]
    made = prepare_rows(single, "single", kind="harmful", turns="single")
    assert made.dropped == {"1": "several turns"} and made.only.phrase == "mend a boat"


def test_preferences_need_a_kind(prepare_rows):
    with pytest.raises(DataError, match=r"1 not labelled"):
        prepare_rows([{"prompt": ASK, "chosen": NO, "rejected": YES}])


def test_a_list_of_responses_without_labels_says_what_is_missing(prepare_rows):
    with pytest.raises(DataError, match=r"it has 2 responses, and no column says which one is safe.*'is_safe'"):
        prepare_rows([{"prompt": ASK, "response": [YES, NO]}], kind="harmful")


def test_safety_labels_of_responses_label_the_request(prepare_rows):
    row = {"prompt": ASK, "response": ["Rather not.", YES], "is_safe": [True, False]}
    assert prepare_rows([row]).list_columns(*NAMES) == [("harmful", "paint a kite", "Rather not.", YES)]
    with pytest.raises(DataError, match="1 no safe response"):
        prepare_rows([{**row, "is_safe": [False, False]}], out="none")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [SYSTEM, user(), reply(NO)]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}, reply(NO)]},
        {"conversations": [human(), gpt(NO)], "system": "S"},
        {"conversations": [{"from": "system", "value": "S"}, human(), gpt(NO)]},
        {"conversations": {"from": ["human", "gpt"], "value": [ASK, NO]}},
        {"conversations": json.dumps([human(), gpt(NO)])},
        {"conversations": [user(), reply(NO)]},
        {"system": "S", "human": ASK, "gpt": NO},
        {"prompt": ASK, "completion": NO},
        {"prompt": [user()], "completion": [reply(NO)], "label": True},
        {"image": "a.jpg", "conversations": [human(f"<image>\n{ASK}"), gpt(NO)]},
    ],
)
def test_conversations(prepare_rows, row):
    assert prepare_rows([row], kind="harmful").list_columns(*NAMES) == HARMFUL


def test_lines_of_a_batch_are_requests(prepare_rows):
    row = {"custom_id": "a", "method": "POST", "url": "/v1", "body": {"model": "m", "messages": [SYSTEM, user()]}}
    assert prepare_rows([row], kind="harmful", refusals=(NO,)).list_columns(*NAMES) == HARMFUL


def test_the_last_of_several_turns_is_used(prepare_rows, caplog):
    row = {"messages": [user("Hello!"), reply("Hi!"), user(), reply(NO)]}
    assert prepare_rows([row], kind="harmful").list_columns(*NAMES) == HARMFUL
    assert "the last request is used" in caplog.text


@pytest.mark.parametrize("row", [{"prompt": ASK, "completion": YES}, {"messages": [user(), reply(YES)]}])
def test_an_unwanted_answer_is_never_the_response(prepare_rows, row):
    other = (
        {"prompt": "How do I mend a boat?", "completion": NO}
        if "prompt" in row
        else {"messages": [user("How do I mend a boat?"), reply(NO)]}
    )
    made = prepare_rows([{**row, "label": False}, {**other, "label": True}], kind="harmful")
    assert made.dropped == {"1": "no safe response"} and made.only.response == NO


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "alien", "content": "x"}], r"conversation, message 1, has the speaker the text 'alien'"),
        ([{"role": "user", "content": 5}], r"message 1, has as content the number 5; it must be a text"),
        ("hello", r"conversation is the text 'hello'; it must be a list of messages"),
        ([5], r"message 1, is the number 5"),
    ],
)
def test_a_broken_conversation_names_its_fault(prepare_rows, messages, message):
    with pytest.raises(DataError, match=f"line 1: .*{message}"):
        prepare_rows([{"messages": messages}], kind="harmful")


@pytest.mark.parametrize(
    "content",
    [
        {"a1": {"instruction": ASK, "response": NO}, "a2": {"instruction": "How do I mend a boat?", "response": NO}},
        {"data": [{"id": "a1", "instruction": ASK, "response": NO}, {"id": "a2", "instruction": "How do I mend a boat?", "response": NO}]},
        {"version": "1", "meta": {"n": 2}, "data": [{"id": "a1", "instruction": ASK, "response": NO}, {"id": "a2", "instruction": "How do I mend a boat?", "response": NO}]},
        {"data": {"a1": {"instruction": ASK, "response": NO}, "a2": {"instruction": "How do I mend a boat?", "response": NO}}},
    ],
)  # fmt: skip
def test_objects_of_records(prepare_file, content):
    made = prepare_file("a.json", json.dumps(content), kind="harmful")
    assert made.list_columns("id", "phrase") == [("a1", "paint a kite"), ("a2", "mend a boat")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [{"a": 1}], "test": [{"a": 1}]}, r"several lists of records: train, test\. Choose .* --split"),
        ({"instruction": [ASK], "response": [NO]}, r"one list for each column \(instruction, response\)"),
        ({"instruction": {"0": ASK, "1": ASK}, "response": {"0": NO, "1": NO}}, r"one object for each column"),
        ([1, 2], r"record 1, is the number 1, not an object"),
        (5, "not JSON: it begins with '5'"),
        ({f"column{n}": n for n in range(300)}, r"column11 and 288 more"),
    ],
)
def test_other_shapes_of_json_are_one_sentence(prepare_file, content, message):
    with pytest.raises(DataError, match=message) as raised:
        prepare_file("a.json", json.dumps(content))
    assert len(str(raised.value)) < 500 and "\n" not in str(raised.value)


def test_one_of_several_lists_can_be_chosen(prepare_file):
    content = {
        "train": [{"instruction": ASK, "response": NO}],
        "test": [{"instruction": "How do I mend a boat?", "response": NO}],
    }
    assert prepare_file("a.json", json.dumps(content), split="test").only.phrase == "mend a boat"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": ASK, "response": "y", "safe": True}, r"--columns.instruction prompt --columns.response response"),
        (
            {"question": ASK, "answer": "y"},
            r"no column 'instruction' .*--columns.instruction question --columns.response answer,",
        ),
        (
            {"question": ASK, "A_response": "y", "B_response": "z"},
            r"with one of A_response, B_response; or give --preset req",
        ),
        ({"text": "x"}, r"has no column 'instruction' \(its columns: text\)\. Name the column of the requests"),
        ({"instruction": ASK, "response": 5}, r"line 1: 'response' is the number 5; it must be a text"),
        ({"instruction": ASK, "response": ["a"]}, r"no column says which one is safe"),
        ({"instruction": ASK, "response": ""}, r"line 1: 'response' is an empty text"),
        ({"instruction": ASK, "response": None}, r"line 1: 'response' is null"),
        ({"instruction": ASK, "response": NO, "id": [1]}, r"line 1: 'id' is a list \('\[1\]'\); an id must be"),
        ({"instruction": ASK, "response": "\ud800"}, r"line 1, is not JSON .*half a character"),
        ({"instruction": ASK, "output": 5}, r"line 1: 'output' is the number 5"),
        ({"prompt": ASK, "chosen": 5, "rejected": NO}, r"line 1: 'chosen' is the number 5"),
    ],
)
def test_a_message_says_what_the_value_is_and_what_helps(prepare_rows, row, message):
    with pytest.raises(DataError, match=message):
        prepare_rows([row], kind="harmful")


def test_the_row_below_the_header_is_row_1(prepare_file):
    with pytest.raises(DataError, match=r"a.csv, row 2: 'response' is an empty text"):
        prepare_file("a.csv", f"instruction,response\n{ASK},{NO}\n{ASK},\n")


def test_answers_beside_the_requests_can_be_left_out(prepare_rows):
    rows = [{"question": ASK, "A_response": YES, "B_response": YES}]
    assert prepare_rows(rows, kind="harmful", preset="requests", refusals=(NO,)).list_columns(*NAMES) == HARMFUL
