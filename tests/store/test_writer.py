"""The writer: it writes a shard when it is full or old, and the times of its entries add up."""

from __future__ import annotations

import pytest
import torch

from seawall.store import writer as module
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.writer import SHARD_EMBEDDINGS, SHARD_SECONDS, ShardWriter


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def writer(clock, tmp_path):
    return ShardWriter(EmbeddingStore(tmp_path), finished=[])


def add(writer, number, embedding=None, **fields):
    entry = Entry(**{"key": f"{number}#0", "record": str(number), "verified": True, **fields})
    writer.add(entry, None if entry.failed else torch.zeros(2, 3) if embedding is None else embedding)
    writer.write_if_due()


def test_a_full_shard_is_written(writer):
    for number in range(SHARD_EMBEDDINGS + 1):
        add(writer, number)
    assert len(writer.store.entries) == SHARD_EMBEDDINGS
    writer.write()
    assert len(writer.store.entries) == SHARD_EMBEDDINGS + 1
    assert len(list(writer.store.folder.glob("*.safetensors"))) == 2


def test_nothing_is_written_between_two_calls_of_write_if_due(writer):
    for number in range(SHARD_EMBEDDINGS + 1):
        writer.add(Entry(key=f"{number}#0"), torch.zeros(2, 3))
    assert not writer.store.entries, "the copies of a record must come into one shard"
    writer.write_if_due()
    assert len(writer.store.entries) == SHARD_EMBEDDINGS + 1


def test_a_shard_is_written_when_its_first_embedding_is_old(writer, clock):
    clock[0] += 10 * SHARD_SECONDS  # nothing waits before the first embedding is finished
    add(writer, 0)
    clock[0] += SHARD_SECONDS / 2
    add(writer, 1)
    assert not writer.store.entries
    clock[0] += SHARD_SECONDS
    add(writer, 2)
    assert len(writer.store.entries) == 3


def test_the_seconds_of_the_entries_add_up_to_the_elapsed_time(writer, clock):
    for number in range(5):
        clock[0] += 2
        add(writer, number)
        if number in (1, 4):
            writer.write()
    assert [entry.seconds for entry in writer.store.entries.values()] == [2, 2, 2, 2, 2]


def test_entries_and_embeddings_are_written_as_they_were_given(writer):
    embedding = torch.arange(6.0).view(2, 3)
    add(writer, 7, embedding, kind="harmless", content="c", steps=1, attempts=2, curve=(1.0, 0.5))
    writer.write()
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
    writer.write()
    store = EmbeddingStore(tmp_path)
    assert [entry.outcome for entry in store.entries.values()] == ["verified", "unverified", "failed"]
    again = ShardWriter(store, finished=[*store.entries.values()])
    add(again, 3)
    assert again.describe().startswith("2 verified, 1 unverified, 1 failed"), "earlier sessions count"
