"""Writing embeddings as they are made: collected into shards, timed and counted."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seawall.store.embeddings import EmbeddingStore, Entry

if TYPE_CHECKING:
    from torch import Tensor

SHARD_EMBEDDINGS = 32
"""Embeddings in a shard."""
SHARD_SECONDS = 30
"""A shard with fewer embeddings is written when its oldest is this old, in seconds. A killed run loses no more work."""


class ShardWriter:
    """Collects finished embeddings into shards and counts their outcomes.

    Args:
        store: Where to write.
        finished: Entries made by earlier sessions, which count in `describe`.
    """

    def __init__(self, store: EmbeddingStore, finished: Sequence[Entry]) -> None:
        self.store = store
        self.outcomes = Counter(entry.outcome for entry in finished)
        self._entries: list[Entry] = []
        self._embeddings: dict[str, Tensor] = {}
        self._started = self._written = self._oldest = time.perf_counter()
        self._made = self._steps = 0

    def add(self, entry: Entry, embedding: Tensor | None) -> None:
        """Take one finished embedding, shape = (rows, width), or None if it failed. Call `write_if_due` afterwards."""
        if not self._entries:
            self._oldest = time.perf_counter()
        self._entries.append(entry)
        if embedding is not None:
            self._embeddings[entry.key] = embedding
        self._made += 1
        self._steps += entry.steps
        self.outcomes[entry.outcome] += 1

    def write_if_due(self) -> None:
        """Write a shard if it is full or old.

        Raises:
            ArtifactError: The disk is full.
        """
        if len(self._entries) >= SHARD_EMBEDDINGS or time.perf_counter() - self._oldest > SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """Write everything that was taken. Each embedding gets an equal share of the time since the last shard."""
        if not self._entries:
            return
        now = time.perf_counter()
        seconds = round((now - self._written) / len(self._entries), 4)
        self.store.append(self._embeddings, [dataclasses.replace(entry, seconds=seconds) for entry in self._entries])
        self._entries, self._embeddings, self._written = [], {}, now

    def describe(self) -> str:
        """Return the outcomes of all sessions and the speed of this one as text."""
        outcomes = ", ".join(f"{self.outcomes[name]} {name}" for name in ("verified", "unverified", "failed"))
        seconds = (time.perf_counter() - self._started) / self._made
        return f"{outcomes}, {self._steps / self._made:.1f} steps and {seconds:.2f} s per embedding"
