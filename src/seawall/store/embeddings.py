"""The embedding store: safetensors shards and an index. A shard is complete or absent, and nothing is rewritten.

An embedding is found by its key, `<record id>#<copy>`. Its index line also holds a hash of all that made it: model,
settings and questions. A later line for the same key replaces an earlier one; the earlier embedding stays on disk until
`prune`.

Embeddings come in blocks of records that were made together. Shards of a block are pending until the whole block is in
the index, so that an interruption leaves whole blocks only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import ArtifactError
from seawall.store.artifacts import LOCK, MANIFEST, read_manifest
from seawall.store.files import explain_failed_write, open_private, write_durably
from seawall.store.pair import Pair

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

MADE_FROM = "made_from"
"""Fact in the manifest of a store: `model`, `pairs` and `bank` as the user named them, folders by absolute path."""
BLANK_SIZE = "blank"
"""Fact in the manifest of a store: the size of the blank medium, in the modality's unit."""
PENDING = ".pending"
"""Ending of a shard whose block is not complete."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the index: one embedding, or why there is none."""

    key: str
    """`<record id>#<copy>`."""
    record: str = ""
    """Id of the record."""
    content: str = ""
    """Hash of the model, the settings and the record's questions; see `Pair.hash_questions`."""
    kind: str = "harmful"
    """`harmful` or `harmless` (a twin)."""
    shard: str = ""
    """File that holds the embedding. Empty if it failed."""
    verified: bool = False
    """Whether the model names the phrase under every verification question."""
    failed: str = ""
    """Why there is no embedding. Empty if there is one."""
    steps: int = 0
    """Optimiser steps, over all attempts."""
    attempts: int = 1
    """Attempts, each from different starting media."""
    seconds: float = 0.0
    """Its share of the wall time of its shard, in seconds."""
    curve: tuple[float, ...] = ()
    """Loss before each step and at the end, of the last attempt, in nats per token."""
    block: str = ""
    """Id of the first record of its block. Records of a block were made together. Empty in stores of earlier versions."""
    left: int = 0
    """Number of index lines of the same block that follow. A reader ignores a block whose last line is missing."""

    @property
    def outcome(self) -> str:
        """`verified`, `unverified` or `failed`."""
        return "failed" if self.failed else "verified" if self.verified else "unverified"

    @classmethod
    def from_json(cls, line: Any, where: str) -> Entry:
        """Return the entry of an index line. Unknown fields are ignored, missing ones have their defaults.

        Raises:
            ArtifactError: The line has no key.
        """
        if not isinstance(line, dict) or not isinstance(line.get("key"), str):
            raise ArtifactError(f"{where} is not an index entry: it has no key. Synthesize again with another --out.")
        names = {field.name for field in dataclasses.fields(cls)}
        given = {name: value for name, value in line.items() if name in names}
        given["curve"] = tuple(given.get("curve") or ())
        return cls(**{"record": line["key"].rpartition("#")[0], **given})

    def to_json(self) -> dict[str, Any]:
        """Return the index line."""
        return dataclasses.asdict(self)


class EmbeddingStore:
    """Embeddings by key, in a folder. Shards are mapped into memory and read on demand."""

    INDEX = "index.jsonl"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = read_manifest(folder).identity if (folder / MANIFEST).exists() else ""
        index = folder / self.INDEX
        text = index.read_text(encoding="utf-8") if index.exists() else ""
        lines = text.split("\n")[:-1]  # a truncated last line was never finished
        self._handles: dict[str, Any] = {}
        self.history = [self._parse(number, line) for number, line in enumerate(lines, 1)]
        """Every line of the index, replaced ones included."""
        while self.history and self.history[-1].left:  # nor was a truncated block
            self.history.pop()
        self._index_bytes = sum(len(line.encode()) + 1 for line in lines[: len(self.history)])
        self.entries = {entry.key: entry for entry in self.history}
        """The last entry of each key."""
        # a shard without index lines is never overwritten
        names = {entry.shard for entry in self.history} | {path.name for path in folder.glob("shard-*")}
        self._next = 1 + max((int(number) for name in names for number in re.findall(r"\d+", name)), default=-1)

    def _parse(self, number: int, line: str) -> Entry:
        where = f"{self.folder / self.INDEX}, line {number},"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ArtifactError(f"{where} is not JSON ({error}). Synthesize again with another --out.") from error
        return Entry.from_json(value, where)

    def hash_content(self, pair: Pair) -> str:
        """Return the content hash that an embedding of a pair has in this store."""
        return pair.hash_questions(self.identity)

    def is_current(self, entry: Entry, pair: Pair) -> bool:
        """Return whether an embedding was made from the questions that its pair has now."""
        return entry.content == self.hash_content(pair)

    def append(self, embeddings: Mapping[str, Tensor], entries: Sequence[Entry]) -> None:
        """Write one shard, then its index lines.

        Args:
            embeddings: Key -> embedding, shape = (rows, width). Failed ones are left out.
            entries: What the index says of each. Their `shard` is filled in here.

        Raises:
            ArtifactError: The disk is full. Everything appended before is kept.
        """
        shard = self.write_pending(embeddings) if embeddings else ""
        self.commit([dataclasses.replace(entry, shard=shard if entry.key in embeddings else "") for entry in entries])

    def write_pending(self, embeddings: Mapping[str, Tensor]) -> str:
        """Write one shard, which does not count before `commit`, and return its name.

        Args:
            embeddings: Key -> embedding, shape = (rows, width).

        Raises:
            ArtifactError: The disk is full.
        """
        from safetensors.torch import save

        shard = f"shard-{self._next:05d}.safetensors"
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in embeddings.items()}
        write_durably(self.folder / f"{shard}{PENDING}", save(plain), private=True)
        self._next += 1
        return shard

    def commit(self, entries: Sequence[Entry]) -> None:
        """Add entries, whose pending shards become shards. After an interruption either all entries count or none.

        Args:
            entries: What the index says of each embedding. `shard` is the name that `write_pending` returned. `left` is
                filled in here.

        Raises:
            ArtifactError: The disk is full. Everything committed before is kept.
        """
        placed = [dataclasses.replace(entry, left=len(entries) - number) for number, entry in enumerate(entries, 1)]
        for shard in dict.fromkeys(entry.shard for entry in placed if entry.shard):
            os.replace(self.folder / f"{shard}{PENDING}", self.folder / shard)
        lines = "".join(json.dumps(entry.to_json()) + "\n" for entry in placed).encode()
        path = self.folder / self.INDEX
        with explain_failed_write(path), open(path, "ab", opener=open_private) as index:
            index.truncate(self._index_bytes)
            index.write(lines)
            index.flush()
            os.fsync(index.fileno())
        self._index_bytes += len(lines)
        self.history += placed
        self.entries.update((entry.key, entry) for entry in placed)

    def read(self, key: str) -> Tensor:
        """Return one embedding, shape = (rows, width), fp32.

        Raises:
            ArtifactError: The store does not have it, it failed, or its shard is missing or truncated.
        """
        from safetensors import SafetensorError

        entry = self.entries.get(key)
        if entry and entry.failed:
            raise ArtifactError(f"{self.folder} has no embedding {key!r}: it failed ({entry.failed}). Leave it out.")
        try:
            tensor: Tensor = self._open(self.entries[key].shard).get_tensor(key)
            return tensor.clone()  # not a view of the mapped file
        except (KeyError, OSError, SafetensorError) as error:
            raise ArtifactError(
                f"{self.folder} has no readable embedding {key!r} ({error}). Rerun the same `seawall synthesize`: it "
                "makes what is missing."
            ) from error

    def find_damage(self) -> dict[str, str]:
        """Return shard -> fault for each shard in use that is missing, truncated or incomplete. Reads headers only."""
        from safetensors import SafetensorError

        keys_of: dict[str, set[str]] = defaultdict(set)
        for entry in self.entries.values():
            if entry.shard:
                keys_of[entry.shard].add(entry.key)
        damage = {}
        for shard, keys in keys_of.items():
            try:
                if lost := keys - set(self._open(shard).keys()):
                    damage[shard] = f"lacks {', '.join(sorted(lost)[:3])}"
            except (OSError, SafetensorError) as error:
                damage[shard] = str(error)
        return damage

    def forget(self, shards: Iterable[str]) -> int:
        """Remove blocks that use some shards from `entries`, so that they are made again. Return their embeddings' number."""
        blocks = {entry.block for entry in self.entries.values() if entry.shard in shards} - {""}
        lost = [key for key, entry in self.entries.items() if entry.shard in shards or entry.block in blocks]
        for key in lost:
            del self.entries[key]
        return len(lost)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing until the context ends. A dead process leaves no lock behind.

        Raises:
            ArtifactError: Another process is writing.
        """
        import filelock

        lock = filelock.FileLock(self.folder / LOCK, blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise ArtifactError(
                f"Another `seawall synthesize` is writing to {self.folder}. Wait until it is done, or give another "
                "--out."
            ) from error
        except OSError as error:
            log.warning("%s is not locked, because its file system has no locks (%s)", self.folder, error.strerror)
        try:
            for path in (*self.folder.glob("shard-*.partial"), *self.folder.glob(f"shard-*{PENDING}")):
                path.unlink()  # left by a writer that was killed
            yield
        finally:
            lock.release()

    def _open(self, shard: str) -> Any:
        """Return the open handle of a shard."""
        from safetensors import safe_open

        if shard not in self._handles:
            self._handles[shard] = safe_open(self.folder / shard, framework="pt")
        return self._handles[shard]
