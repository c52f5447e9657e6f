"""Writing embeddings as they are made: collected into shards and blocks, timed and counted."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seawall.store.embeddings import PENDING, EmbeddingStore, Entry

if TYPE_CHECKING:
    from torch import Tensor

SHARD_EMBEDDINGS = 32
"""Embeddings in a shard."""


@dataclasses.dataclass
class _Block:
    """What was taken of a block that is not complete."""

    entries: list[Entry] = dataclasses.field(default_factory=list)
    """All entries. Those whose embedding is written name its shard."""
    waiting: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Key -> embedding, of those that are not written."""


class BlockWriter:
    """Collects finished embeddings into shards and blocks, and counts their outcomes. A block is stored as a whole.

    Args:
        store: Where to write.
        finished: Entries made by earlier sessions, which count in `describe`.
    """

    def __init__(self, store: EmbeddingStore, finished: Sequence[Entry]) -> None:
        self.store = store
        self.outcomes = Counter(entry.outcome for entry in finished)
        self._blocks: dict[str, _Block] = {}
        self._started = self._stored = time.perf_counter()
        self._made = self._steps = 0

    def add(self, block: str, record: Sequence[tuple[Entry, Tensor | None]]) -> None:
        """Take all embeddings of a record. A full shard is written, but does not count before `finish`.

        Args:
            block: Name of the record's block.
            record: The entry of each copy with its embedding, shape = (rows, width), or None if it failed.

        Raises:
            ArtifactError: The disk is full.
        """
        some = self._blocks.setdefault(block, _Block())
        for entry, embedding in record:
            some.entries.append(dataclasses.replace(entry, block=block))
            if embedding is not None:
                some.waiting[entry.key] = embedding
            self._count(entry, 1)
        if len(some.waiting) >= SHARD_EMBEDDINGS:
            self._write_shard(some)

    def finish(self, block: str) -> None:
        """Store a complete block. Each entry gets an equal share of the time since the last block.

        Raises:
            ArtifactError: The disk is full.
        """
        some = self._blocks[block]
        self._write_shard(some)
        now = time.perf_counter()
        seconds = round((now - self._stored) / len(some.entries), 4)
        self.store.commit([dataclasses.replace(entry, seconds=seconds) for entry in some.entries])
        del self._blocks[block]
        self._stored = now

    def drop(self, block: str) -> int:
        """Forget what was taken of a block, which will be made again. Return the number of its embeddings."""
        some = self._blocks.pop(block, _Block())
        for shard in {entry.shard for entry in some.entries} - {""}:
            (self.store.folder / f"{shard}{PENDING}").unlink(missing_ok=True)
        for entry in some.entries:
            self._count(entry, -1)
        return len(some.entries)

    def close(self) -> None:
        """Drop every block that is not complete."""
        for block in [*self._blocks]:
            self.drop(block)

    def describe(self) -> str:
        """Return the outcomes of all sessions and the speed of this one as text."""
        outcomes = ", ".join(f"{self.outcomes[name]} {name}" for name in ("verified", "unverified", "failed"))
        made = max(1, self._made)
        seconds = (time.perf_counter() - self._started) / made
        return f"{outcomes}, {self._steps / made:.1f} steps and {seconds:.2f} s per embedding"

    def _count(self, entry: Entry, sign: int) -> None:
        self.outcomes[entry.outcome] += sign
        self._made += sign
        self._steps += sign * entry.steps

    def _write_shard(self, some: _Block) -> None:
        if not some.waiting:
            return
        shard = self.store.write_pending(some.waiting)
        some.entries = [
            dataclasses.replace(entry, shard=shard) if entry.key in some.waiting else entry for entry in some.entries
        ]
        some.waiting = {}
