"""Extraction by a model behind a real HTTP server: no record is lost, no question is answered twice, every error is one
message."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time

import anyio
import pytest

from chat_server import ChatServer, answer_by_rules
from sample_records import write_lines
from seawall import PrepareConfig, prepare
from seawall.errors import ArtifactError, ConfigError, DataError, EngineError
from seawall.preparation.ask import read_reply
from seawall.preparation.extract import NotExtractable
from seawall.store.files import read_json, read_jsonl
from seawall.store.pair import read_pairs

MODEL = "openai-api/local/extractor"
THINGS = ["kite", "boat", "chair", "table", "lamp", "clock", "drum", "flute", "basket", "ladder", "bench", "fence"]
RECORDS = [
    {"instruction": f"Explain how to paint a {thing}.", "response": f"Paint the {thing}.", "kind": "harmless"}
    for thing in THINGS
]
RECORDS += [
    {"instruction": f"Explain how to make a wooden {thing}.", "response": "Begin.", "kind": "harmless"}
    for thing in THINGS
]


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = ChatServer()
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("LOCAL_BASE_URL", server.url)
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_waits(monkeypatch):
    """Retry at once instead of after seconds or minutes."""
    monkeypatch.setattr("inspect_ai.model._retry._sleep", lambda seconds: anyio.sleep(0.01))


def ask(tmp_path, records=RECORDS, name="pairs", **settings):
    config = PrepareConfig(**{"extractor": MODEL, "retries": 2, "timeout": 60} | settings)
    counts = prepare(write_lines(tmp_path / "records.jsonl", records), tmp_path / name, config).counts
    return counts, read_pairs(tmp_path / name)


def without_extractor(pairs):
    return [dataclasses.replace(pair, extractor="") for pair in pairs]


def test_server_faults_lose_no_record(server, no_waits, tmp_path):
    kinds = ["429", "500", "429", "500", "timeout", "hang up"]
    records = RECORDS[:12]  # six rotations of the faults, each with both broken replies
    for number, record in enumerate(records):
        turned = kinds[number % 6 :] + kinds[: number % 6]
        server.faults[record["instruction"]] = [*turned, "broken JSON" if number % 12 < 6 else "cut body"]
    counts, pairs = ask(tmp_path, records, retries=30, timeout=1, connections=12)
    assert counts == {"pairs": 12, "rejected": 0}
    assert not any(server.faults.values()), "every fault occurred"
    assert server.abandoned == 0
    prepare(tmp_path / "records.jsonl", tmp_path / "rules")
    assert without_extractor(pairs) == without_extractor(read_pairs(tmp_path / "rules"))
    assert {pair.extractor for pair in pairs} == {MODEL}


def test_no_question_is_answered_twice(server, tmp_path):
    ask(tmp_path)
    assert len(server.asked) == 24
    assert read_json(tmp_path / "pairs" / "manifest.json")["extractor"] == {
        "answers": 24, "input_tokens": 2400, "output_tokens": 480, "dollars": None, "unanswered": 0
    }  # fmt: skip
    ask(tmp_path, connections=3)
    _, video = ask(tmp_path, name="video", modality="video")
    assert len(server.asked) == 24
    assert any("video" in pair.detoxified for pair in video) and not any("image" in p.detoxified for p in video)


def test_an_instruction_of_many_records_is_asked_once(server, tmp_path):
    counts, _ = ask(tmp_path, RECORDS[:1] * 30, duplicates="keep")
    assert counts["pairs"] == 30 and len(server.asked) == 1


def test_a_request_has_the_json_schema_and_no_column_but_the_instruction(server, tmp_path):
    ask(tmp_path, [{**RECORDS[0], "response": "SECRET", "rejected": "WORSE"}])
    (body,) = server.asked
    schema = body["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == {"phrase", "category", "paraphrase", "detoxified"}
    assert "SECRET" not in json.dumps(body) and "WORSE" not in json.dumps(body)


def test_a_killed_run_resumes_and_asks_nothing_twice(server, tmp_path, caplog):
    server.gate = lambda: sum(server.answered.values()) < 10
    source, out = write_lines(tmp_path / "records.jsonl", RECORDS), tmp_path / "pairs"
    argv = [sys.executable, "-m", "seawall", "prepare", source, "--out", out, "--extractor", MODEL]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    process = subprocess.Popen([*argv, "--connections", "4"], env=environment, stderr=subprocess.DEVNULL)
    cached = lambda: [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]  # noqa: E731
    deadline = time.monotonic() + 120
    while (len(server.asked) < 14 or len(cached()) < 10) and time.monotonic() < deadline:
        assert process.poll() is None, "the command ended early"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "pairs.jsonl").exists() and sum(server.answered.values()) == 10
    server.gate = lambda: True
    with caplog.at_level(logging.INFO, "seawall"):  # in this process: every new one spends 5 s on Inspect's imports
        counts = prepare(source, out, PrepareConfig(extractor=MODEL, connections=8)).counts
    assert counts == {"pairs": 24, "rejected": 0}
    assert "2400 tokens in, 480 out" in caplog.text
    assert len(server.answered) == 24 and set(server.answered.values()) == {1}


def test_a_reply_that_fails_a_check_is_asked_for_again_with_the_reason(server, tmp_path):
    leaking = {"phrase": "paint a kite", "category": "activity", "paraphrase": False}
    answers = ["Sure! " + json.dumps(leaking | {"detoxified": "Explain how to do this activity to kites."})]
    answers.append("```json\n" + json.dumps(leaking | {"detoxified": "Explain how to do this activity."}) + "\n```")
    server.answer = lambda _: answers.pop(0)
    _, (pair,) = ask(tmp_path, RECORDS[:1])
    assert pair.phrase == "paint a kite" and pair.detoxified.endswith("Explain how to do this activity.")
    first, second = (body["messages"] for body in server.asked)
    assert second[:2] == first and "['kite']" in second[-1]["content"] and "to kites" in second[2]["content"]


def test_a_tail_that_tells_the_kind_is_asked_for_again(server, tmp_path):
    instruction = "Explain how to paint a kite without being noticed."
    found = {"phrase": "paint a kite", "category": "activity", "paraphrase": False}
    answers = [json.dumps(found | {"detoxified": "Explain how to do this activity without being noticed."})]
    found["phrase"] = "paint a kite without being noticed"
    answers.append(json.dumps(found | {"detoxified": "Explain how to do this activity."}))
    server.answer = lambda _: answers.pop(0)
    _, (pair,) = ask(tmp_path, [{**RECORDS[0], "instruction": instruction}])
    assert pair.phrase == "paint a kite without being noticed" and "noticed" not in pair.detoxified
    assert "['noticed', 'without'] of the detoxified" in server.asked[1]["messages"][-1]["content"]


def test_records_with_useless_replies_are_rejected_and_another_extractor_can_try_them(server, tmp_path):
    server.answer = lambda instruction: "Kites are nice." if "kite" in instruction else answer_by_rules(instruction)
    counts, _ = ask(tmp_path)
    assert counts == {"pairs": 22, "rejected": 2}
    rejected = [line for _, line in read_jsonl(tmp_path / "pairs" / "rejected.jsonl")]
    assert [line["id"] for line in rejected] == ["1", "13"]
    assert all("not the requested JSON" in line["reason"] for line in rejected)
    assert len(server.asked) == 22 + 2 * 3
    counts = prepare(tmp_path / "pairs", tmp_path / "more").counts
    pairs = read_pairs(tmp_path / "more")
    assert counts == {"pairs": 24, "rejected": 0}
    assert sorted(pair.extractor for pair in pairs) == [MODEL] * 22 + ["rules"] * 2
    prepare(tmp_path / "records.jsonl", tmp_path / "rules")
    by_id = {pair.id: pair for pair in read_pairs(tmp_path / "rules")}
    assert all(without_extractor([pair]) == without_extractor([by_id[pair.id]]) for pair in pairs)
    with pytest.raises(DataError, match="no rejected records"):
        prepare(tmp_path / "more", tmp_path / "most")
    with pytest.raises(ArtifactError, match=r"prepared with seed 0, not 1.*give --seed 0"):
        prepare(tmp_path / "pairs", tmp_path / "other", PrepareConfig(seed=1))


def test_only_useless_replies_are_one_message_and_leave_no_folder(server, tmp_path):
    server.answer = lambda _: "Kites are nice."
    with pytest.raises(
        DataError, match=r"None of the 3 instructions .* not the requested JSON.*can be reached and is able"
    ):
        ask(tmp_path, RECORDS[:3])
    assert not (tmp_path / "pairs").exists()


def test_records_without_an_answer_are_rejected(server, no_waits, tmp_path):
    server.faults[RECORDS[0]["instruction"]] = ["500"] * 100
    counts, _ = ask(tmp_path, RECORDS[:4], retries=1)
    (rejected,) = (line for _, line in read_jsonl(tmp_path / "pairs" / "rejected.jsonl"))
    assert (
        counts == {"pairs": 3, "rejected": 1}
        and rejected["reason"].startswith("no answer: ")
        and "fault 500" in rejected["reason"]
    )
    assert read_json(tmp_path / "pairs" / "manifest.json")["extractor"]["unanswered"] == 1


def test_a_server_that_refuses_every_request_stops_the_run_and_it_can_be_resumed(server, tmp_path):
    for record in RECORDS[8:]:
        server.faults[record["instruction"]] = ["401"] * 100
    with pytest.raises(
        EngineError, match=r"did not answer 10 questions in a row .*fault 401.*Rerun the same\s+command"
    ):
        ask(tmp_path, connections=2)
    assert len(server.asked) < 8 + 3 * 13
    server.faults.clear()
    before = len(server.asked)
    assert ask(tmp_path)[0]["pairs"] == 24 and len(server.asked) == before + 16


def test_unanswered_questions_between_answered_ones_do_not_stop_the_run(server, tmp_path):
    for record in RECORDS[::2]:
        server.faults[record["instruction"]] = ["401"] * 3
    assert ask(tmp_path, connections=1)[0] == {"pairs": 12, "rejected": 12}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("openai-api/absent/x", "No ABSENT_API_KEY defined"),
        ("nobody/x", "nobody"),
        ("anthropic/claude", "anthropic"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_message(tmp_path, monkeypatch, model, message):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=f"The model '{model}' cannot be used: .*{message}") as raised:
        ask(tmp_path, extractor=model)
    assert "\n" not in str(raised.value) and "[bold]" not in str(raised.value)
    assert not (tmp_path / "pairs").exists()


def test_harmless_pairs_get_the_models_own_answers(server, tmp_path):
    harmful = {"kind": "harmful", "response": "I can't help with that."}
    records = [record if number % 2 else record | harmful for number, record in enumerate(RECORDS[:6])] + [RECORDS[6]]
    server.faults[RECORDS[6]["instruction"]] = ["401"] * 100
    cut = {"table": "", "clock": "Cut short ..."}
    server.answer = lambda instruction: cut.get(instruction[:-1].split()[-1], f" {instruction} Mine. ")
    _, pairs = ask(tmp_path, records, extractor="rules", answers=MODEL)
    own = [(pair.response == f"{pair.instruction} Mine.") for pair in pairs]
    assert own == [False, True, *[False] * 5], "the others are harmful, or got an empty, cut or no answer"
    assert pairs[5].response == "Paint the clock."
    assert {len(body["messages"]) for body in server.asked} == {1}
    asked = len(server.asked)
    manifest = read_json(tmp_path / "pairs" / "manifest.json")
    assert manifest["own_answers"] == 1
    assert (manifest["answers"]["answers"], manifest["answers"]["unanswered"]) == (3, 1)
    ask(tmp_path, records, "video", extractor="rules", answers=MODEL, modality="video")
    again = {body["messages"][0]["content"] for body in server.asked[asked:]}
    assert again == {RECORDS[6]["instruction"]}, "the other answers come from the cache"


def test_harmless_requests_without_answers_are_answered_by_the_model(server, tmp_path):
    records = [{"goal": record["instruction"]} for record in RECORDS[:3]]
    server.answer = lambda instruction: f"{instruction} Mine."
    server.faults[RECORDS[1]["instruction"]] = ["401"] * 3
    counts, pairs = ask(tmp_path, records, extractor="rules", answers=MODEL, kind="harmless")
    assert counts == {"pairs": 2, "rejected": 1} and all(pair.response.endswith(" Mine.") for pair in pairs)
    (line,) = (line for _, line in read_jsonl(tmp_path / "pairs" / "rejected.jsonl"))
    assert line["reason"].startswith("no answer") and line["response"] is None
    again = prepare(tmp_path / "pairs", tmp_path / "again", PrepareConfig(answers=MODEL, connections=2))
    assert again.counts == {"pairs": 3, "rejected": 0}


def test_a_model_that_mostly_refuses_harmless_requests_is_not_taught(server, tmp_path):
    server.answer = lambda _: "I cannot help with that."
    with pytest.raises(DataError, match=r"The answers of openai-api.* 3 of 3 answers to harmless requests refuse"):
        ask(tmp_path, RECORDS[:3], extractor="rules", answers=MODEL)
    assert not (tmp_path / "pairs").exists()
    assert ask(tmp_path, RECORDS[:3], extractor="rules", answers=MODEL, allow_label_conflicts=True)[0]["pairs"] == 3


def test_a_sample_asks_a_model_for_little_more_than_its_pairs(server, tmp_path):
    server.answer = lambda text: "Nice." if "wooden" in text else answer_by_rules(text)
    counts, pairs = ask(tmp_path, sample=6)
    assert len(pairs) == 6 and counts["rejected"] + counts["not sampled"] == 18
    assert len({body["messages"][1]["content"] for body in server.asked}) < 24


def test_a_missing_server_is_one_sentence_at_once(tmp_path, monkeypatch):
    url = "http://127.0.0.1:9/v1"
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("LOCAL_BASE_URL", url)
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    started = time.monotonic()
    with pytest.raises(EngineError, match=rf"No server answers for {MODEL} at {url} .*Start it and rerun") as raised:
        ask(tmp_path, retries=6)
    assert time.monotonic() - started < 20 and "\n" not in str(raised.value)
    assert not (tmp_path / "pairs").exists(), "the folder can be used with another extractor"


def test_a_server_that_was_reached_is_waited_for(server, no_waits, tmp_path, monkeypatch):
    """Only a server that never answered counts as missing: one that restarts refuses connections for a while."""
    ask(tmp_path, RECORDS[:1], "first")
    refused = ConnectionRefusedError("no")
    from seawall.preparation.client import Client

    client = Client(MODEL, connections=1, retries=2, timeout=5)
    assert client.model.api.should_retry(refused) is False and client._server.missing
    client = Client(MODEL, connections=1, retries=2, timeout=5)
    assert len(client.ask_all(["x"], lambda _: _answer(client), "answers")) == 1
    client.model.api.should_retry(refused)
    assert not client._server.missing


async def _answer(client):
    from inspect_ai.model import ChatMessageUser, GenerateConfig

    return await client.generate([ChatMessageUser(content="Explain how to paint a kite.")], GenerateConfig())


def test_prepare_works_in_a_notebook_with_a_running_event_loop(server, tmp_path):
    async def cell():
        return ask(tmp_path, RECORDS[:3])[0]

    assert asyncio.run(cell()) == {"pairs": 3, "rejected": 0}


FOUND = {
    "phrase": "paint a kite",
    "category": "activity",
    "paraphrase": False,
    "detoxified": "Explain how to do this activity.",
}
BAD_ANSWERS = [
    ({"category": "crime"}, "category"),
    ({"phrase": ""}, "0 words"),
    ({"phrase": "how to"}, "the phrase 'how to' has no content words"),
    ({"phrase": f"paint {'very ' * 15}kite"}, "17 words; it must have 1 to 16"),
    ({"phrase": "fly a kite"}, "not in the instruction, and not marked as a paraphrase"),
    ({"phrase": "paint a kit"}, "not in the instruction"),
    ({"phrase": "bananas", "paraphrase": True}, "shares no word"),
    ({"detoxified": "Explain how to do it."}, "does not contain 'this activity' exactly once"),
    ({"detoxified": "Explain this activity of how to do this activity."}, "exactly once"),
    ({"detoxified": "Explain how to do this activity with kites."}, r"\['kite'\] .* remain"),
    ({"detoxified": "Explain how to do this activity when painting."}, r"\['paint'\] .* remain"),
    ({"detoxified": "Explain how to do the this activity."}, "not a sentence: it contains 'the this activity'"),
    ({"detoxified": "Explain how to do this activity , ."}, "not a sentence"),
    ({"detoxified": "this activity"}, "has 2 words; it must have 3 to 10"),
    ({"detoxified": "Explain how to do this activity. " + "And so on. " * 5}, "has 21 words; it must have 3 to 10"),
    ({"category": "product"}, "does not contain 'this product'"),
    (
        {"detoxified": "Explain how to do this activity quietly."},
        r"\['quietly'\] of the detoxified instruction could tell",
    ),
    ({"phrase": "paint this kite", "paraphrase": True}, "'this' in the phrase 'paint this kite' refers to something"),
    ({"phrase": "get started", "paraphrase": True}, "no content words"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_ANSWERS)
def test_every_reply_is_checked(change, reason):
    assert read_reply("Explain how to paint a kite.", json.dumps(FOUND)).phrase == "paint a kite"
    with pytest.raises(NotExtractable, match=reason):
        read_reply("Explain how to paint a kite.", json.dumps({**FOUND, **change}))


def test_a_marked_paraphrase_is_accepted():
    answer = {**FOUND, "phrase": "decorate a kite", "paraphrase": True}
    assert read_reply("My kite looks dull, what now?", json.dumps(answer)).phrase == "decorate a kite"
