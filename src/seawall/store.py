"""The store of embeddings: safetensors shards and an index. A shard is complete or absent; nothing is rewritten."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seawall.artifacts import require
from seawall.errors import ArtifactError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What the index says of one embedding."""

    key: str
    """`<record id>#<copy>`."""
    record: str
    """Id of the record."""
    kind: str
    """`harmful` or `harmless` (a twin)."""
    shard: str
    """File that holds it."""
    verified: bool
    """Whether the phrase came back under every held-out question."""
    steps: int
    """Optimiser steps, over all starts."""
    starts: int
    """Starts it took."""
    curve: list[float]
    """Loss before each step and at the end, of the last start, in nats a token."""


class EmbeddingStore:
    """Embeddings by key, in a folder."""

    INDEX = "index.jsonl"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / self.INDEX
        text = index.read_text(encoding="utf-8") if index.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # a line cut short was never finished
        self._index_bytes = len(whole.encode())
        self.entries = {entry.key: entry for entry in (Entry(**json.loads(line)) for line in whole.splitlines())}

    def append(self, embeddings: dict[str, Tensor], facts: Sequence[dict[str, Any]]) -> None:
        """Write one shard, then its index lines."""
        from safetensors.torch import save_file

        shard = f"shard-{len({entry.shard for entry in self.entries.values()}):05d}.safetensors"
        partial = self.folder / f"{shard}.partial"
        save_file({key: tensor.contiguous().clone() for key, tensor in embeddings.items()}, partial)
        os.replace(partial, self.folder / shard)
        entries = [Entry(shard=shard, **fact) for fact in facts]
        lines = "".join(json.dumps(dataclasses.asdict(entry)) + "\n" for entry in entries).encode()
        with open(self.folder / self.INDEX, "ab") as index:
            index.truncate(self._index_bytes)
            index.write(lines)
        self._index_bytes += len(lines)
        self.entries.update((entry.key, entry) for entry in entries)

    def read(self, key: str) -> Tensor:
        """Return one embedding, shape = (rows, width), fp32.

        Raises:
            ArtifactError: The store does not have it, or its shard is missing or cut short.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / self.entries[key].shard, framework="pt") as shard:
                return shard.get_tensor(key)
        except (KeyError, OSError, SafetensorError) as error:
            raise ArtifactError(
                f"{self.folder} cannot give the embedding {key!r} ({error}). Synthesize it again."
            ) from error


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
