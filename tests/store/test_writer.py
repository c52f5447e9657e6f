"""The writer: a shard when there are enough or when one is old enough; time that adds up."""

from __future__ import annotations

import math

import pytest
import torch

from seawall.store.writer import SHARD_EMBEDDINGS
from seawall.store.embeddings import EmbeddingStore
from seawall.store import writer as module
from seawall.synthesis.optimize import Task
from seawall.store.writer import SHARD_SECONDS, Writer

PAIR = {"id": "a", "kind": "harmful", "phrase": "x", "category": "activity", "content": {}, "style": {}}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def writer(clock, tmp_path):
    return Writer(EmbeddingStore(tmp_path), {f"{n}": PAIR for n in range(100)}, before=[])


def task(number, **changed):
    given = {"turns": [[]], "embeddings": torch.zeros(1, 2, 3), "verified": [True], **changed}
    return Task(record=str(number), **given)


def test_a_shard_is_written_when_there_are_enough(writer):
    for number in range(SHARD_EMBEDDINGS + 1):
        writer.add(task(number))
    assert len(writer.store.entries) == SHARD_EMBEDDINGS
    writer.write()
    assert len(writer.store.entries) == SHARD_EMBEDDINGS + 1
    assert len(list(writer.store.folder.glob("*.safetensors"))) == 2


def test_a_shard_is_written_when_the_first_that_waits_is_old(writer, clock):
    clock[0] += 10 * SHARD_SECONDS  # until the first is finished nothing waits
    writer.add(task(0))
    clock[0] += SHARD_SECONDS / 2
    writer.add(task(1))
    assert not writer.store.entries
    clock[0] += SHARD_SECONDS
    writer.add(task(2))
    assert len(writer.store.entries) == 3


def test_the_seconds_of_the_entries_add_up_to_the_time_that_passed(writer, clock):
    for number in range(5):
        clock[0] += 2
        writer.add(task(number))
        if number in (1, 4):
            writer.write()
    assert [entry.seconds for entry in writer.store.entries.values()] == [2, 2, 2, 2, 2]


def test_the_copies_of_a_record_are_entries_of_their_own(writer):
    embeddings = torch.arange(12.0).view(2, 2, 3)
    writer.add(task(7, turns=[[], []], embeddings=embeddings, verified=[True, False], curve=[1.0, 0.5]))
    writer.write()
    entries = writer.store.entries
    assert {key: (e.record, e.verified, e.steps) for key, e in entries.items()} == {
        "7#0": ("7", True, 1),
        "7#1": ("7", False, 1),
    }
    assert torch.equal(writer.store.read("7#1"), embeddings[1])


def test_outcomes_and_pace_are_described(writer, clock, tmp_path):
    writer.add(task(0, steps_before=3, curve=[1.0, 0.5]))
    writer.add(task(1, verified=[False]))
    writer.add(task(2, verified=[False], failed="the loss became nan", curve=[math.nan]))
    clock[0] += 6
    assert writer.describe() == "1 verified, 1 unverified, 1 failed, 1.3 steps and 2.00 s an embedding"
    writer.write()
    store = EmbeddingStore(tmp_path)
    assert [entry.outcome for entry in store.entries.values()] == ["verified", "unverified", "failed"]
    assert store.entries["0#0"].steps == 4 and store.entries["2#0"].curve == []
    again = Writer(store, {"3": PAIR}, before=[*store.entries.values()])
    again.add(task(3))
    assert again.describe().startswith("2 verified, 1 unverified, 1 failed"), "with those of earlier sessions"
