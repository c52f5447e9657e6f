"""The writer: a block is stored as a whole or not at all, and the times of its entries add up."""

from __future__ import annotations

import pytest
import torch

from seawall.store import writer as module
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.writer import SHARD_EMBEDDINGS, BlockWriter


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def writer(clock, tmp_path):
    return BlockWriter(EmbeddingStore(tmp_path), finished=[])


def add(writer, number, embedding=None, block="a", **fields):
    entry = Entry(**{"key": f"{number}#0", "record": str(number), "verified": True, **fields})
    embedding = torch.zeros(2, 3) if embedding is None else embedding
    writer.add(block, [(entry, None if entry.failed else embedding)])


def list_files(writer, pattern="*"):
    return sorted(path.name for path in writer.store.folder.glob(pattern))


def test_nothing_of_a_block_counts_before_it_is_finished(writer):
    for number in range(SHARD_EMBEDDINGS + 1):
        add(writer, number)
    assert list_files(writer) == ["shard-00000.safetensors.pending"], "memory holds one shard at most"
    assert not writer.store.entries and not EmbeddingStore(writer.store.folder).entries
    writer.finish("a")
    assert list_files(writer) == ["index.jsonl", "shard-00000.safetensors", "shard-00001.safetensors"]
    again = EmbeddingStore(writer.store.folder)
    assert len(again.entries) == SHARD_EMBEDDINGS + 1 and {entry.block for entry in again.history} == {"a"}
    assert [entry.left for entry in again.history] == [*range(SHARD_EMBEDDINGS, -1, -1)]
    assert all(torch.equal(again.read(key), torch.zeros(2, 3)) for key in again.entries)


def test_the_copies_of_a_record_come_into_one_shard(writer):
    copies = [(Entry(key=f"r#{copy}"), torch.zeros(2, 3)) for copy in range(SHARD_EMBEDDINGS + 1)]
    writer.add("a", copies)
    writer.finish("a")
    assert list_files(writer, "shard-*") == ["shard-00000.safetensors"]


def test_blocks_of_several_workers_come_into_shards_of_their_own(writer):
    for number in range(4):
        add(writer, number, block="ab"[number % 2], embedding=torch.full((2, 3), float(number)))
    writer.finish("b")
    store = EmbeddingStore(writer.store.folder)
    assert list(store.entries) == ["1#0", "3#0"] and torch.equal(store.read("3#0"), torch.full((2, 3), 3.0))
    writer.close()
    assert list_files(writer) == ["index.jsonl", "shard-00000.safetensors"]


def test_a_lost_block_leaves_nothing_and_can_be_made_again(writer):
    for number in range(SHARD_EMBEDDINGS):
        add(writer, number)
    assert writer.drop("a") == SHARD_EMBEDDINGS and not list_files(writer)
    assert writer.drop("a") == 0 and writer.describe().startswith("0 verified")
    add(writer, 0)
    writer.finish("a")
    assert list(writer.store.entries) == ["0#0"]


def test_the_next_writer_removes_what_a_killed_one_left(writer):
    for number in range(SHARD_EMBEDDINGS):
        add(writer, number)
    with EmbeddingStore(writer.store.folder).lock():
        assert not list_files(writer, "shard-*")


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_block_whose_index_lines_are_truncated_is_not_in_the_store(writer, cut):
    add(writer, 0, block="whole")
    writer.finish("whole")
    for number in (1, 2, 3):
        add(writer, number)
    writer.finish("a")
    index = writer.store.folder / EmbeddingStore.INDEX
    index.write_bytes(index.read_bytes()[:-cut])
    store = EmbeddingStore(writer.store.folder)
    assert list(store.entries) == ["0#0"]
    again = BlockWriter(store, finished=[])
    add(again, 9, block="b")
    again.finish("b")
    assert list(EmbeddingStore(writer.store.folder).entries) == ["0#0", "9#0"]


def test_only_the_owner_can_read_embeddings(writer):
    add(writer, 0)
    writer.finish("a")
    for name in list_files(writer):
        assert (writer.store.folder / name).stat().st_mode & 0o777 == 0o600, name


def test_the_seconds_of_the_entries_add_up_to_the_elapsed_time(writer, clock):
    for number in range(5):
        clock[0] += 2
        add(writer, number, block="first" if number < 2 else "second")
        if number in (1, 4):
            writer.finish("first" if number == 1 else "second")
    assert [entry.seconds for entry in writer.store.entries.values()] == [2, 2, 2, 2, 2]


def test_entries_and_embeddings_are_written_as_they_were_given(writer):
    embedding = torch.arange(6.0).view(2, 3)
    add(writer, 7, embedding, kind="harmless", content="c", steps=1, attempts=2, curve=(1.0, 0.5))
    writer.finish("a")
    entry = EmbeddingStore(writer.store.folder).entries["7#0"]
    assert (entry.record, entry.kind, entry.content) == ("7", "harmless", "c")
    assert (entry.steps, entry.attempts, entry.curve) == (1, 2, (1.0, 0.5))
    assert torch.equal(writer.store.read("7#0"), embedding)


def test_outcomes_and_speed_are_described(writer, clock, tmp_path):
    add(writer, 0, steps=4)
    add(writer, 1, verified=False)
    add(writer, 2, verified=False, failed="the loss became nan")
    clock[0] += 6
    assert writer.describe() == "1 verified, 1 unverified, 1 failed, 1.3 steps and 2.00 s per embedding"
    writer.finish("a")
    store = EmbeddingStore(tmp_path)
    assert [entry.outcome for entry in store.entries.values()] == ["verified", "unverified", "failed"]
    again = BlockWriter(store, finished=[*store.entries.values()])
    add(again, 3)
    assert again.describe().startswith("2 verified, 1 unverified, 1 failed"), "earlier sessions count"
