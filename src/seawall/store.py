"""The store of embeddings: safetensors shards and an index. A shard is complete or absent; nothing is rewritten.

An embedding's address is its key, `<record id>#<copy>`, and a hash of all that made it: model, settings, prompts. An index
line of a key supersedes earlier ones; what these point to stays on disk until `prune`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.artifacts import MANIFEST, hash_text, on_disk, read_json, require, write_durably
from seawall.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

PROMPTS = ("kind", "phrase", "category", "content", "style")
"""Columns of `pairs.jsonl` that an embedding depends on."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the index says of one embedding."""

    key: str
    """`<record id>#<copy>`."""
    record: str
    """Id of the record."""
    content: str
    """Hash of the model, the settings and the record's prompts."""
    kind: str
    """`harmful` or `harmless` (a twin)."""
    shard: str
    """File that holds it; empty where it failed."""
    verified: bool
    """Whether the phrase came back under every held-out question."""
    failed: str = ""
    """Why there is no embedding at all; empty where there is one."""
    steps: int
    """Optimiser steps, over all starts."""
    starts: int
    """Starts it took."""
    seconds: float
    """Its share of the time that its shard took, in seconds of wall time."""
    curve: list[float]
    """Loss before each step and at the end, of the last start, in nats a token."""

    @property
    def outcome(self) -> str:
        """`verified`, `unverified` or `failed`."""
        return "failed" if self.failed else "verified" if self.verified else "unverified"


class EmbeddingStore:
    """Embeddings by key, in a folder. Reads are lazy: shards are mapped into memory, not loaded."""

    INDEX = "index.jsonl"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = folder / MANIFEST
        self.identity: str = read_json(manifest).get("identity", "") if manifest.exists() else ""
        index = folder / self.INDEX
        text = index.read_text(encoding="utf-8") if index.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a line cut short was never finished
        self._index_bytes = len(whole.encode())
        self._handles: dict[str, Any] = {}
        self.history = [self._parse(number, line) for number, line in enumerate(whole.split("\n")[:-1], 1)]
        """Every line of the index, those superseded too."""
        self.entries = {entry.key: entry for entry in self.history}
        """What is in force, by key."""
        # a shard that is on disk without index lines is never overwritten
        names = {entry.shard for entry in self.history} | {path.name for path in folder.glob("shard-*")}
        self._next = 1 + max((int(number) for name in names for number in re.findall(r"\d+", name)), default=-1)

    def _parse(self, number: int, line: str) -> Entry:
        try:
            return Entry(**json.loads(line))
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.folder / self.INDEX}, line {number}, is no entry of this version of seawall ({error}). Synthesize again, "
                "with another --out."
            ) from error

    def hash_content(self, pair: dict[str, Any]) -> str:
        """Return the content hash that an embedding of a line of `pairs.jsonl` has in this store."""
        return hash_text(json.dumps([self.identity, {name: pair[name] for name in PROMPTS}], sort_keys=True))

    def is_current(self, entry: Entry, pair: dict[str, Any]) -> bool:
        """Tell whether an embedding was made from the prompts that its record has now."""
        return entry.content == self.hash_content(pair)

    def append(self, embeddings: dict[str, Tensor], facts: Sequence[dict[str, Any]]) -> None:
        """Write one shard, then its index lines.

        Args:
            embeddings: Key -> embedding, shape = (rows, width); those that failed are left out.
            facts: Fields of the `Entry` of each, `shard` excepted.

        Raises:
            ArtifactError: The disk is full. What was appended before is kept.
        """
        from safetensors.torch import save

        shard = f"shard-{self._next:05d}.safetensors"
        if embeddings:
            plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in embeddings.items()}
            write_durably(self.folder / shard, save(plain))
            self._next += 1
        entries = [Entry(shard=shard if fact["key"] in embeddings else "", **fact) for fact in facts]
        lines = "".join(json.dumps(dataclasses.asdict(entry)) + "\n" for entry in entries).encode()
        with on_disk(self.folder / self.INDEX), open(self.folder / self.INDEX, "ab") as index:
            index.truncate(self._index_bytes)
            index.write(lines)
            index.flush()
            os.fsync(index.fileno())
        self._index_bytes += len(lines)
        self.history += entries
        self.entries.update((entry.key, entry) for entry in entries)

    def read(self, key: str) -> Tensor:
        """Return one embedding, shape = (rows, width), fp32.

        Raises:
            ArtifactError: The store does not have it, it failed, or its shard is missing or cut short.
        """
        from safetensors import SafetensorError

        entry = self.entries.get(key)
        if entry and entry.failed:
            raise ArtifactError(f"{self.folder} has no embedding {key!r}: it failed ({entry.failed}). Leave it out.")
        try:
            return self._open(self.entries[key].shard).get_tensor(key).clone()  # not a view of the mapped file
        except (KeyError, OSError, SafetensorError) as error:
            raise ArtifactError(
                f"{self.folder} cannot give the embedding {key!r} ({error}). Synthesize it again: the same `seawall synthesize` "
                "makes what is missing."
            ) from error

    def find_damage(self) -> dict[str, str]:
        """Return what is wrong with each shard in force that is missing, cut short or lacks a tensor; reads headers only."""
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
        """Leave the embeddings of some shards out of `entries`, so that they are made again; return how many."""
        lost = [key for key, entry in self.entries.items() if entry.shard in shards]
        for key in lost:
            del self.entries[key]
        return len(lost)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing while the context lasts; the lock of a dead process is gone.

        Raises:
            ArtifactError: Another process writes.
        """
        import fcntl

        with open(self.folder / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ArtifactError(
                    f"Another `seawall synthesize` is writing to {self.folder}. Wait until it is done, or give another --out."
                ) from error
            except OSError:  # a file system without locks
                pass
            for partial in self.folder.glob("*.safetensors.partial"):  # of a writer that was killed
                partial.unlink()
            yield

    def _open(self, shard: str) -> Any:
        """Return the one open handle of a shard."""
        from safetensors import safe_open

        if shard not in self._handles:
            self._handles[shard] = safe_open(self.folder / shard, framework="pt")
        return self._handles[shard]


def open_store(folder: Path, fingerprint: str) -> EmbeddingStore:
    """Open the store of a finished `synthesize`.

    Raises:
        ArtifactError: It is not finished, or was made for another model.
    """
    manifest = require(folder, "synthesize")
    if manifest["inputs"]["model"] != fingerprint:
        raise ArtifactError(
            f"The embeddings in {folder} were made for another model (fingerprint {manifest['inputs']['model']}, this one "
            f"is {fingerprint}). Embeddings are only good for the model they were made with: synthesize them again."
        )
    return EmbeddingStore(folder)
