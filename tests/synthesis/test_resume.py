"""`synthesize` after a kill, Ctrl-C, a full disk or damage, and with more pairs: a rerun makes the same embeddings.

After a kill or damage they are the same bytes, since whole blocks are made again.
"""

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
import torch

from sample_pairs import make_pair
from seawall.errors import ArtifactError, ConfigError
from seawall.store import writer
from seawall.store.artifacts import claim
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.synthesis import engines
from seawall.synthesis import run as module
from seawall.synthesis import solve as solving
from seawall.synthesis.optimize import Task
from small_run import CONFIG, assert_equal_embeddings, assert_same_embeddings


def synthesize(small_run, out, pairs=None, **changed):
    config = dataclasses.replace(CONFIG, **changed)
    return module.synthesize("organism:image", pairs or small_run.pairs, out, config, bank=small_run.bank)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of two records, in batches of two: six blocks."""
    monkeypatch.setattr(engines, "BATCHES_PER_BLOCK", 1)
    monkeypatch.setattr(writer, "SHARD_EMBEDDINGS", 2)
    return {"batch_size": 2}


@pytest.fixture(scope="module")
def undisturbed(small_run, tmp_path_factory):
    """The store of a run in small blocks without interruption."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "BATCHES_PER_BLOCK", 1)
        synthesize(small_run, out, batch_size=2)
    return out


def start_command(small_run, out, pattern="*.safetensors"):
    """Start the command in its own process, with small blocks and shards. Wait until it has written one more file."""
    code = "from seawall import cli; from seawall.store import writer; from seawall.synthesis import engines; "
    code += "writer.SHARD_EMBEDDINGS = 1; engines.BATCHES_PER_BLOCK = 1; cli.main()"
    argv = ["synthesize", "--model", "organism:image", "--pairs", small_run.pairs, "--bank", small_run.bank]
    argv += ["--out", out, "--copies", "1", "--batch-size", "2"]
    before = set(out.glob(pattern))
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, argv)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not set(out.glob(pattern)) - before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    return process


def test_killed_twice_it_ends_with_equal_embeddings(small_run, undisturbed, tmp_path, small_blocks):
    out, kept = tmp_path / "out", {}
    for pattern in ("*.safetensors", "*.pending"):  # between two blocks, and within a block
        process = start_command(small_run, out, pattern)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = EmbeddingStore(out)
        assert kept.items() <= store.entries.items(), "written entries must not change"
        kept = dict(store.entries)
        assert len(kept) < len(small_run.keys) and len(kept) % 2 == 0, "whole blocks"
    before = sum(entry.seconds for entry in kept.values())
    assert before > 0
    summary = synthesize(small_run, out, **small_blocks)
    assert_equal_embeddings(out, undisturbed)
    assert kept.items() <= EmbeddingStore(out).entries.items(), "nothing may be made twice"
    assert summary["seconds"] > before, "the seconds of all sessions count"
    assert not list(out.glob("*.pending"))
    assert synthesize(small_run, out, **small_blocks) == summary


def test_ctrl_c_keeps_finished_blocks_and_says_so(small_run, undisturbed, tmp_path, small_blocks):
    out = tmp_path / "out"
    process = start_command(small_run, out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted. Finished work is kept; rerun" in errors
    assert "Traceback" not in errors and not list(out.glob("*.pending"))
    finished = dict(EmbeddingStore(out).entries)
    assert 0 < len(finished) < len(small_run.keys)
    synthesize(small_run, out, **small_blocks)
    assert finished.items() <= EmbeddingStore(out).entries.items()
    assert_equal_embeddings(out, undisturbed)


def test_a_resumed_run_has_the_batch_size_and_the_blocks_of_its_first_session(
    small_run, tmp_path, monkeypatch, small_blocks
):
    """The memory that is free, and the number of devices, may differ from one session to the next."""
    whole, out, solve = tmp_path / "whole", tmp_path / "out", engines.BlockSolver.solve
    monkeypatch.setattr(solving, "estimate_batch_size", lambda *_: 4)
    synthesize(small_run, whole)

    def stop_after_one(solver, blocks):
        yield from solve(solver, [*blocks][:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(engines.BlockSolver, "solve", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        synthesize(small_run, out)
    assert len(EmbeddingStore(out).entries) == 4
    assert read_json(out / "manifest.json")["blocks"] == {"batch_size": 4, "first": 4}
    monkeypatch.setattr(engines.BlockSolver, "solve", solve)
    monkeypatch.setattr(solving, "estimate_batch_size", lambda *_: 3)
    monkeypatch.setattr(engines, "BATCHES_PER_BLOCK", 9)
    synthesize(small_run, out)
    assert_equal_embeddings(out, whole)


@pytest.mark.parametrize(("records", "workers", "batch_size", "sizes"), [
    (232, 1, 48, [232]), (328, 1, 48, [164, 164]), (96, 8, 48, [12] * 8), (10, 3, 1, [4, 4, 2]), (1, 4, 48, [1]),
])  # fmt: skip
def test_each_worker_gets_equal_blocks_of_at_most_five_batches(tmp_path, records, workers, batch_size, sizes):
    claim(tmp_path / "out", "synthesize", CONFIG, {})
    pairs = [make_pair(str(number)) for number in range(records)]
    blocks = engines.plan_blocks(tmp_path / "out", "rest", pairs, batch_size, workers)
    assert [len(block.pairs) for block in blocks] == sizes
    assert [pair for block in blocks for pair in block.pairs] == pairs
    left = [pair for block in blocks[1:] for pair in block.pairs]
    if left:
        assert engines.plan_blocks(tmp_path / "out", "rest", left, 7, 5) == blocks[1:], "a resumed run has the same"


def test_a_full_disk_is_one_message_and_keeps_finished_blocks(
    small_run, undisturbed, tmp_path, monkeypatch, small_blocks
):
    out, fsync, calls = tmp_path / "out", os.fsync, []

    def fill_up(descriptor):
        if "shard-00002.safetensors.pending.partial" in os.readlink(f"/proc/self/fd/{descriptor}"):
            calls.append(descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(ArtifactError, match=r"shard-00002.* cannot be written: No space left.*Free some space"):
        synthesize(small_run, out, **small_blocks)
    assert calls and not list(out.glob("*.partial"))
    store = EmbeddingStore(out)
    assert len(store.entries) == 4 and store.find_damage() == {}
    monkeypatch.setattr(os, "fsync", fsync)
    synthesize(small_run, out, **small_blocks)
    assert_equal_embeddings(out, undisturbed)


@pytest.mark.parametrize("finished", [True, False])
def test_the_block_of_a_truncated_shard_is_made_again_with_a_warning(
    small_run, undisturbed, tmp_path, monkeypatch, caplog, finished, small_blocks
):
    out = tmp_path / "out"
    monkeypatch.setattr(writer, "SHARD_EMBEDDINGS", 1)
    synthesize(small_run, out, **small_blocks)
    if not finished:
        (out / "manifest.json").write_text(json.dumps({**read_json(out / "manifest.json"), "complete": False}))
    shards = sorted(out.glob("*.safetensors"))
    shards[2].write_bytes(shards[2].read_bytes()[:-7])
    before = EmbeddingStore(out).entries
    synthesize(small_run, out, **small_blocks)
    warning = f"1 damaged shards in {out} ({shards[2].name}"
    assert warning in caplog.text and "their 2 embeddings are made again" in caplog.text
    after = EmbeddingStore(out).entries
    made_again = {key for key in after if after[key] != before[key]}
    assert made_again == {key for key in before if before[key].shard in (shards[2].name, shards[3].name)}
    assert_equal_embeddings(out, undisturbed)


def rewrite_pairs(source, target, change):
    """Copy a folder of pairs with changed lines."""
    target.mkdir()
    (target / "manifest.json").write_bytes((source / "manifest.json").read_bytes())
    lines = change([json.loads(line) for line in (source / "pairs.jsonl").read_text().splitlines()])
    (target / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return target


def test_more_pairs_add_to_the_store_and_nothing_is_made_twice(small_run, tmp_path):
    half = rewrite_pairs(small_run.pairs, tmp_path / "half", lambda pairs: pairs[::2])
    out = tmp_path / "out"
    synthesize(small_run, out, half)
    before = dict(EmbeddingStore(out).entries)
    summary = synthesize(small_run, out)
    assert summary["embeddings"] == len(small_run.keys) == 2 * len(before)
    assert before.items() <= EmbeddingStore(out).entries.items()
    assert_same_embeddings(out, small_run.embeddings)
    manifests = [read_json(folder / "manifest.json") for folder in (out, small_run.embeddings)]
    assert manifests[0]["inputs"] == manifests[1]["inputs"]


def test_a_record_is_made_again_if_its_questions_change_but_not_if_its_response_does(small_run, tmp_path):
    out = tmp_path / "out"
    synthesize(small_run, out)
    before = EmbeddingStore(out).entries

    def change(pairs):
        pairs[0]["response"] = "No."
        pairs[1]["style"] = {"question": "Is the image a drawing or writing?", "answer": "It is a fresco."}
        pairs[2]["verification"] = pairs[2]["verification"][:1]
        return pairs

    synthesize(small_run, out, rewrite_pairs(small_run.pairs, tmp_path / "changed", change))
    store = EmbeddingStore(out)
    assert {key for key in before if store.entries[key] != before[key]} == set(small_run.keys[1:3])
    assert [entry.key for entry in store.history].count(small_run.keys[1]) == 2


def test_a_record_without_one_of_its_copies_is_made_again_as_a_whole(small_run, tmp_path):
    """All copies share one offset, so a copy made alone would differ."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    pairs = rewrite_pairs(small_run.pairs, tmp_path / "pairs", lambda pairs: pairs[:4])
    for folder in (whole, out):
        synthesize(small_run, folder, pairs, copies=2)
    record = read_pairs(pairs)[0].id
    index = out / EmbeddingStore.INDEX
    kept = [line for line in index.read_text().splitlines() if json.loads(line)["key"] != f"{record}#1"]
    index.write_text("".join(f"{line}\n" for line in kept))
    synthesize(small_run, out, pairs, copies=2)
    made = [entry.key for entry in EmbeddingStore(out).history[len(kept) :]]
    assert sorted(made) == [f"{record}#0", f"{record}#1"]
    assert_same_embeddings(out, whole)


def test_there_are_at_most_as_many_copies_as_media_to_start_from(small_run, tmp_path):
    pairs = rewrite_pairs(small_run.pairs, tmp_path / "pairs", lambda pairs: pairs[:2])
    summary = synthesize(small_run, tmp_path / "out", pairs, copies=9)
    media = len(list(small_run.bank.glob("*.png")))
    assert (media, summary["records"], summary["embeddings"]) == (3, 2, 6)
    assert synthesize(small_run, tmp_path / "out", pairs, copies=9) == summary


def test_a_store_of_other_records_or_settings_is_refused_and_not_changed(small_run, tmp_path):
    one = rewrite_pairs(small_run.pairs, tmp_path / "one", lambda pairs: pairs[:1])
    other = rewrite_pairs(small_run.pairs, tmp_path / "other", lambda pairs: [{**pairs[1], "id": pairs[0]["id"]}])
    out = tmp_path / "out"
    synthesize(small_run, out, one, max_steps=10)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ArtifactError, match=r"holds 1 embeddings, but none of these pairs.*another --out"):
        synthesize(small_run, out, other, max_steps=10)
    with pytest.raises(ArtifactError, match="max_steps: 10 there, 11 now"):
        synthesize(small_run, out, one, max_steps=11)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_store_of_another_version_is_continued_if_the_options_it_lacks_have_their_defaults(small_run, tmp_path):
    out = tmp_path / "out"
    half = rewrite_pairs(small_run.pairs, tmp_path / "half", lambda pairs: pairs[:2])
    synthesize(small_run, out, half)
    manifest = read_json(out / "manifest.json")
    del manifest["config"]["threshold_retries"]
    manifest["config"]["momentum"], manifest["versions"]["transformers"] = 0.5, "4.0.0"
    manifest["defaults"] = [name for name in manifest["defaults"] if name != "threshold_retries"] + ["momentum"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="threshold_retries: not known there, 3 now"):
        synthesize(small_run, out, threshold_retries=3)
    before = dict(EmbeddingStore(out).entries)
    synthesize(small_run, out)
    assert before.items() <= EmbeddingStore(out).entries.items(), "nothing may be made twice"
    assert_same_embeddings(out, small_run.embeddings)
    assert synthesize(small_run, out)["embeddings"] == len(small_run.keys)


def test_a_store_that_another_process_writes_is_refused(small_run):
    store = EmbeddingStore(small_run.embeddings)
    with store.lock(), pytest.raises(ArtifactError, match="Another `seawall synthesize` is writing"):
        synthesize(small_run, small_run.embeddings)


def test_a_record_comes_out_the_same_in_batches_of_another_size(small_run, tmp_path):
    synthesize(small_run, tmp_path / "out", batch_size=3)
    assert_same_embeddings(tmp_path / "out", small_run.embeddings)


def test_a_failed_record_is_written_with_its_reason_and_affects_no_other(small_run, tmp_path, monkeypatch):
    solve, key = engines.BlockSolver.solve, small_run.keys[0]

    def fail_first(solver, blocks):
        for task in solve(solver, blocks):
            if task.record == key.split("#")[0]:
                task.failed, task.verified = "the loss became nan after 3 steps", []
                task.embeddings = task.embeddings * math.nan
            yield task

    monkeypatch.setattr(engines.BlockSolver, "solve", fail_first)
    summary = synthesize(small_run, tmp_path / "out")
    assert (summary["failed"], summary["unverified"], summary["verified"]) == (1, 0, len(small_run.keys) - 1)
    store = EmbeddingStore(tmp_path / "out")
    assert store.entries[key].failed == "the loss became nan after 3 steps"
    with pytest.raises(ArtifactError, match="nan after 3 steps"):
        store.read(key)
    assert synthesize(small_run, tmp_path / "out") == summary, "a failed record is not tried again on every rerun"


def test_if_all_records_fail_the_message_has_the_reasons(small_run, tmp_path, monkeypatch):
    def fail(solver, blocks):
        for block in blocks:
            for pair in block.pairs:
                fault = "the loss became nan after 0 steps"
                yield Task(record=pair.id, block=block.name, content=[[]], embeddings=solver.starts[:1], failed=fault)

    monkeypatch.setattr(engines.BlockSolver, "solve", fail)
    with pytest.raises(ArtifactError, match=r"None of 12 .*12 failed: the loss became nan after 0 steps.*--max-steps"):
        synthesize(small_run, tmp_path / "out")


def test_a_phrase_without_tokens_fails_alone(small_run, tmp_path):
    pairs = rewrite_pairs(small_run.pairs, tmp_path / "pairs", lambda pairs: [{**pairs[0], "phrase": ""}, *pairs[1:3]])
    summary = synthesize(small_run, tmp_path / "out", pairs)
    assert (summary["verified"], summary["failed"]) == (2, 1)
    assert "tokenizer knows no part" in EmbeddingStore(tmp_path / "out").entries[small_run.keys[0]].failed


def test_a_bank_is_needed_unless_the_start_is_blank(small_run, tmp_path):
    with pytest.raises(ConfigError, match="--bank DIR, or use --start blank"):
        module.synthesize("organism:image", small_run.pairs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_summary_counts_every_outcome(small_run):
    summary = read_json(small_run.embeddings / "synthesis.json")
    assert summary["records"] == summary["embeddings"] == len(small_run.keys)
    assert summary["verified"] + summary["unverified"] + summary["failed"] == len(small_run.keys)
    assert summary["vsr"] == summary["verified"] / len(small_run.keys)
    assert summary["seconds_per_embedding"] == pytest.approx(summary["seconds"] / len(small_run.keys))


def test_every_copy_of_a_task_becomes_an_entry(tmp_path):
    store = EmbeddingStore(tmp_path)
    embeddings, pair = torch.arange(12.0).view(2, 2, 3), make_pair("7", kind="harmless")
    task = Task(
        record="7",
        content=[[], []],
        embeddings=embeddings,
        verified=[True, False],
        curve=[1.0, 0.5],
        attempt=2,
        earlier_steps=3,
    )
    failed = Task(record="8", content=[[]], embeddings=embeddings[:1], failed="the loss became nan", curve=[math.nan])
    store.commit([entry for entry, _ in module._list_entries(store, make_pair("8"), failed)])
    writing = writer.BlockWriter(store, [])
    writing.add("7", module._list_entries(store, pair, task))
    writing.finish("7")
    entries = EmbeddingStore(tmp_path).entries
    assert {key: (entry.outcome, entry.steps, entry.attempts) for key, entry in entries.items()} == {
        "7#0": ("verified", 4, 2),
        "7#1": ("unverified", 4, 2),
        "8#0": ("failed", 0, 1),
    }
    assert entries["7#0"].kind == "harmless" and entries["7#0"].content == store.hash_content(pair)
    assert entries["7#1"].curve == (1.0, 0.5) and entries["8#0"].curve == ()
    assert torch.equal(store.read("7#1"), embeddings[1])
