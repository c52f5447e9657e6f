"""What happens to finished tasks: collected into shards, written with their share of the time, counted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seawall.embeddings import SHARD_EMBEDDINGS
from seawall.store import EmbeddingStore, Entry
from seawall.synthesize.optimize import Task

SHARD_SECONDS = 30
"""A shard is written when `SHARD_EMBEDDINGS` are finished, or the first of fewer is so old: a killed run loses no more."""


class Writer:
    """Collects finished tasks into shards, and counts.

    Args:
        store: Where to.
        wanted: Key -> line of `pairs.jsonl`.
        before: What was made in earlier sessions.
    """

    def __init__(self, store: EmbeddingStore, wanted: dict[str, dict[str, Any]], before: Sequence[Entry]) -> None:
        self.store, self.wanted = store, wanted
        self.begun = self.written = self.oldest = time.perf_counter()
        self.done: list[Task] = []
        self.made = self.steps = 0
        self.outcomes = Counter(entry.outcome for entry in before)

    def add(self, task: Task) -> None:
        """Take a task; write a shard where it is time to.

        Raises:
            ArtifactError: The disk is full.
        """
        if not self.done:
            self.oldest = time.perf_counter()
        self.done.append(task)
        self.made += 1
        self.steps += task.steps_before + task.steps
        self.outcomes["failed" if task.failed else "verified" if task.verified else "unverified"] += 1
        if len(self.done) >= SHARD_EMBEDDINGS or time.perf_counter() - self.oldest > SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was taken."""
        if not self.done:
            return
        now = time.perf_counter()
        seconds = round((now - self.written) / len(self.done), 4)
        facts = [self._facts(task) | {"seconds": seconds} for task in self.done]
        self.store.append({task.key: task.embedding for task in self.done if not task.failed}, facts)
        self.done.clear()
        self.written = now

    def describe(self) -> str:
        """Return the outcomes of all sessions and the pace of this one as text."""
        outcomes = ", ".join(f"{self.outcomes[name]} {name}" for name in ("verified", "unverified", "failed"))
        seconds = (time.perf_counter() - self.begun) / self.made
        return f"{outcomes}, {self.steps / self.made:.1f} steps and {seconds:.2f} s an embedding"

    def _facts(self, task: Task) -> dict[str, Any]:
        pair = self.wanted[task.key]
        return {
            "key": task.key,
            "record": pair["id"],
            "content": self.store.hash_content(pair),
            "kind": pair["kind"],
            "verified": task.verified,
            "failed": task.failed,
            "steps": task.steps_before + task.steps,
            "starts": task.starts,
            "curve": [round(value, 4) for value in task.curve if math.isfinite(value)],
        }
