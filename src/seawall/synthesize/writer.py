"""What happens to finished tasks: collected into shards, written with their share of the time, counted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seawall.embeddings import SHARD_EMBEDDINGS
from seawall.store import EmbeddingStore, Entry
from seawall.synthesize.optimize import Task

if TYPE_CHECKING:
    from torch import Tensor

SHARD_SECONDS = 30
"""A shard is written when `SHARD_EMBEDDINGS` are finished, or the first of fewer is so old: a killed run loses no more."""


class Writer:
    """Collects finished tasks into shards, and counts.

    Args:
        store: Where to.
        wanted: Id of a record -> its line of `pairs.jsonl`.
        before: What was made in earlier sessions.
    """

    def __init__(self, store: EmbeddingStore, wanted: dict[str, dict[str, Any]], before: Sequence[Entry]) -> None:
        self.store, self.wanted = store, wanted
        self.begun = self.written = self.oldest = time.perf_counter()
        self.done: list[dict[str, Any]] = []
        self.embeddings: dict[str, Tensor] = {}
        self.made = self.steps = 0
        self.outcomes = Counter(entry.outcome for entry in before)

    def add(self, task: Task) -> None:
        """Take a task; write a shard where it is time to.

        Raises:
            ArtifactError: The disk is full.
        """
        if not self.done:
            self.oldest = time.perf_counter()
        for copy in range(len(task.turns)):
            facts = self._describe(task, copy)
            self.done.append(facts)
            self.made += 1
            self.steps += facts["steps"]
            self.outcomes["failed" if task.failed else "verified" if facts["verified"] else "unverified"] += 1
            if not task.failed:
                self.embeddings[facts["key"]] = task.embeddings[copy]
        if len(self.done) >= SHARD_EMBEDDINGS or time.perf_counter() - self.oldest > SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was taken."""
        if not self.done:
            return
        now = time.perf_counter()
        seconds = round((now - self.written) / len(self.done), 4)
        self.store.append(self.embeddings, [facts | {"seconds": seconds} for facts in self.done])
        self.done, self.embeddings, self.written = [], {}, now

    def describe(self) -> str:
        """Return the outcomes of all sessions and the pace of this one as text."""
        outcomes = ", ".join(f"{self.outcomes[name]} {name}" for name in ("verified", "unverified", "failed"))
        seconds = (time.perf_counter() - self.begun) / self.made
        return f"{outcomes}, {self.steps / self.made:.1f} steps and {seconds:.2f} s an embedding"

    def _describe(self, task: Task, copy: int) -> dict[str, Any]:
        pair = self.wanted[task.record]
        return {
            "key": f"{task.record}#{copy}",
            "record": task.record,
            "content": self.store.hash_content(pair),
            "kind": pair["kind"],
            "verified": not task.failed and task.verified[copy],
            "failed": task.failed,
            "steps": task.steps_before + task.steps,
            "starts": task.starts,
            "curve": [round(value, 4) for value in task.curve if math.isfinite(value)],
        }
