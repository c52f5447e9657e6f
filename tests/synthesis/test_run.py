"""The run: killed, interrupted, out of disk, damaged or grown, it goes on and ends with the same set."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

import seawall
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.errors import ArtifactError
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis import engines
from seawall.store import writer
from seawall.synthesis.optimize import Task
from synthesize.conftest import CONFIG, assert_same_set


def synthesize(work, out, pairs=None, **changed):
    return seawall.synthesis.config(
        "organism:image", pairs or work.pairs, out, dataclasses.replace(CONFIG, **changed), bank=work.bank
    )


def begin(work, out):
    """Start the command in a process of its own, with small batches and shards; wait until it has written one more."""
    code = "from seawall import cli; from seawall.synthesis.config import writer; writer.SHARD_EMBEDDINGS = 2; cli.main()"
    argv = ["synthesize", "--model", "organism:image", "--pairs", work.pairs, "--bank", work.bank, "--out", out]
    argv += ["--copies", "1", "--batch-size", "2"]
    heeded = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    before = len(list(out.glob("*.safetensors")))
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, argv)], stderr=subprocess.PIPE, text=True, preexec_fn=heeded
    )
    while len(list(out.glob("*.safetensors"))) == before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


def test_killed_twice_it_ends_with_the_same_set_as_undisturbed(work, tmp_path):
    out, kept = tmp_path / "out", {}
    for _ in range(2):
        process = begin(work, out)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = EmbeddingStore(out)
        assert kept.items() <= store.entries.items(), "what was written stays as it was"
        kept = dict(store.entries)
        assert len(kept) < len(work.keys)
    before = sum(entry.seconds for entry in kept.values())
    assert before > 0
    summary = synthesize(work, out)
    assert_same_set(out, work.whole)
    assert kept.items() <= EmbeddingStore(out).entries.items(), "nothing is made twice"
    assert summary["seconds"] > before, "seconds add up over the sessions"
    assert synthesize(work, out) == summary


def test_ctrl_c_keeps_what_is_finished_and_says_so(work, tmp_path):
    out = tmp_path / "out"
    process = begin(work, out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted. What was finished is kept" in errors and "Traceback" not in errors
    finished = dict(EmbeddingStore(out).entries)
    assert 0 < len(finished) < len(work.keys)
    synthesize(work, out)
    assert finished.items() <= EmbeddingStore(out).entries.items()
    assert_same_set(out, work.whole)


def test_a_full_disk_is_one_message_and_what_was_written_stays(work, tmp_path, monkeypatch):
    out, fsync, calls = tmp_path / "out", os.fsync, []
    monkeypatch.setattr(writer, "SHARD_EMBEDDINGS", 4)

    def fill_up(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("shard-00002.safetensors.partial"):
            calls.append(descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(ArtifactError, match=r"shard-00002.* cannot be written: No space left.*Free some space"):
        synthesize(work, out)
    assert calls and not list(out.glob("*.partial"))
    store = EmbeddingStore(out)
    assert len(store.entries) == 8 and store.find_damage() == {}
    monkeypatch.setattr(os, "fsync", fsync)
    synthesize(work, out)
    assert_same_set(out, work.whole)


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_cut_shard_held_is_made_again_with_a_warning(work, tmp_path, monkeypatch, caplog, finished):
    out = tmp_path / "out"
    monkeypatch.setattr(writer, "SHARD_EMBEDDINGS", 4)
    synthesize(work, out)
    if not finished:
        (out / "manifest.json").write_text(json.dumps({**read_json(out / "manifest.json"), "complete": False}))
    shards = sorted(out.glob("*.safetensors"))
    shards[1].write_bytes(shards[1].read_bytes()[:-7])
    before = EmbeddingStore(out).entries
    synthesize(work, out)
    assert (
        f"1 damaged shards in {out} ({shards[1].name}" in caplog.text and "their 4 embeddings are made" in caplog.text
    )
    after = EmbeddingStore(out).entries
    assert {key for key in after if after[key] != before[key]} == {
        k for k in before if before[k].shard == shards[1].name
    }
    assert_same_set(out, work.whole)


def rewrite_pairs(source, target, change):
    """Copy a folder of pairs with its lines changed."""
    target.mkdir()
    (target / "manifest.json").write_bytes((source / "manifest.json").read_bytes())
    lines = change([json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()])
    (target / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return target


def test_a_grown_list_of_pairs_adds_to_the_store_and_makes_nothing_twice(work, tmp_path):
    half = rewrite_pairs(work.pairs, tmp_path / "half", lambda pairs: pairs[::2])
    synthesize(work, tmp_path / "out", half)
    before = dict(EmbeddingStore(tmp_path / "out").entries)
    summary = synthesize(work, tmp_path / "out")
    assert summary["embeddings"] == len(work.keys) == 2 * len(before)
    assert before.items() <= EmbeddingStore(tmp_path / "out").entries.items()
    assert_same_set(tmp_path / "out", work.whole)
    assert read_json(tmp_path / "out" / "manifest.json")["inputs"] == read_json(work.whole / "manifest.json")["inputs"]


def test_a_record_with_other_prompts_is_made_anew_and_one_with_another_response_is_not(work, tmp_path):
    synthesize(work, tmp_path / "out")
    before = EmbeddingStore(tmp_path / "out").entries

    def change(pairs):
        pairs[0]["response"] = "No."
        pairs[1]["style"] = {"question": "Is the image a drawing or writing?", "answer": "It is a fresco."}
        return pairs

    changed = rewrite_pairs(work.pairs, tmp_path / "changed", change)
    synthesize(work, tmp_path / "out", changed)
    store = EmbeddingStore(tmp_path / "out")
    key = f"{read_pairs(work.pairs)[1]['id']}#0"
    assert {k for k in before if store.entries[k] != before[k]} == {key}
    assert [entry.key for entry in store.history].count(key) == 2


def test_a_record_that_lost_a_copy_is_made_anew_as_a_whole(work, tmp_path):
    """One change fits all its copies: a copy made alone would be another."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        synthesize(work, folder, copies=2)
    record = read_pairs(work.pairs)[0]["id"]
    index = out / EmbeddingStore.INDEX
    kept = [line for line in index.read_text().splitlines() if json.loads(line)["key"] != f"{record}#1"]
    index.write_text("".join(f"{line}\n" for line in kept))
    synthesize(work, out, copies=2)
    made = [entry.key for entry in EmbeddingStore(out).history[len(kept) :]]
    assert sorted(made) == [f"{record}#0", f"{record}#1"]
    assert_same_set(out, whole)


def test_there_are_no_more_copies_than_media_to_start_from(work, tmp_path):
    summary = synthesize(work, tmp_path / "out", copies=9)
    media, records = len(list(work.bank.glob("*.png"))), len(read_pairs(work.pairs))
    assert (media, summary["embeddings"]) == (3, 3 * records)
    assert synthesize(work, tmp_path / "out", copies=9) == summary


def test_a_store_of_other_records_or_settings_is_refused_and_left_alone(work, tmp_path):
    one = rewrite_pairs(work.pairs, tmp_path / "one", lambda pairs: pairs[:1])
    other = rewrite_pairs(work.pairs, tmp_path / "other", lambda pairs: [{**pairs[1], "id": pairs[0]["id"]}])
    synthesize(work, tmp_path / "out", one, max_steps=10)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(
        ArtifactError, match=r"holds 1 embeddings, and not one of them is of these pairs.*another --out"
    ):
        synthesize(work, tmp_path / "out", other, max_steps=10)
    with pytest.raises(ArtifactError, match="max_steps: 10 there, 11 now"):
        synthesize(work, tmp_path / "out", one, max_steps=11)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_store_that_is_being_written_is_refused(work, tmp_path):
    with (
        EmbeddingStore(work.whole).lock(),
        pytest.raises(ArtifactError, match="Another `seawall synthesize` is writing"),
    ):
        synthesize(work, work.whole)


def test_a_record_comes_out_the_same_whatever_batch_it_was_in(work, tmp_path):
    synthesize(work, tmp_path / "out", batch_size=3)
    assert_same_set(tmp_path / "out", work.whole)


def test_a_failed_record_is_written_with_its_reason_and_harms_no_other(work, tmp_path, monkeypatch):
    solve = engines.solve

    def fail_first(loaded, todo, *rest):
        for task in solve(loaded, todo, *rest):
            if task.record == work.keys[0].split("#")[0]:
                task.failed, task.verified = "the loss became nan after 3 steps", []
                task.embeddings = task.embeddings * math.nan
            yield task

    monkeypatch.setattr(engines, "solve", fail_first)
    summary = synthesize(work, tmp_path / "out")
    assert (summary["failed"], summary["unverified"], summary["verified"]) == (1, 0, len(work.keys) - 1)
    store = EmbeddingStore(tmp_path / "out")
    assert store.entries[work.keys[0]].failed == "the loss became nan after 3 steps"
    with pytest.raises(ArtifactError, match="nan after 3 steps"):
        store.read(work.keys[0])
    assert synthesize(work, tmp_path / "out") == summary, "a failed record is not tried again and again"


def test_where_all_fail_the_reasons_are_in_the_message(work, tmp_path, monkeypatch):
    def fail(loaded, todo, starts, *_):
        for record, _ in todo:
            yield Task(record=record, turns=[[]], embeddings=starts[:1], failed="the loss became nan after 0 steps")

    monkeypatch.setattr(engines, "solve", fail)
    with pytest.raises(
        ArtifactError, match=r"Not one of 12 .*12 failed: the loss became nan after 0 steps.*--max-steps"
    ):
        synthesize(work, tmp_path / "out")


def test_a_phrase_without_tokens_fails_alone(work, tmp_path):
    pairs = rewrite_pairs(work.pairs, tmp_path / "pairs", lambda pairs: [{**pairs[0], "phrase": ""}, *pairs[1:3]])
    summary = synthesize(work, tmp_path / "out", pairs)
    assert (summary["verified"], summary["failed"]) == (2, 1)
    assert "tokenizer knows no part" in EmbeddingStore(tmp_path / "out").entries[work.keys[0]].failed


def test_the_summary_counts_every_outcome(work):
    summary = read_json(work.whole / "synthesis.json")
    assert summary["records"] == summary["embeddings"] == len(work.keys)
    assert summary["verified"] + summary["unverified"] + summary["failed"] == len(work.keys)
    assert summary["vsr"] == summary["verified"] / len(work.keys)
    assert summary["seconds_per_embedding"] == pytest.approx(summary["seconds"] / len(work.keys))
