"""Rows -> a batch that mixes text, real media and synthetic embeddings."""

from __future__ import annotations

from typing import Any

import torch

from seawall.align.mixture import Row
from seawall.models.chat import Chat
from seawall.models.inject import ITEMS
from seawall.store import EmbeddingStore


class Collator:
    """Collates dataset lines `{"row": index}` into model inputs; synthetic embeddings travel under `ITEMS`."""

    def __init__(self, chat: Chat, rows: list[Row], store: EmbeddingStore | None) -> None:
        self.chat, self.rows = chat, rows
        self.store = store

    def __call__(self, lines: list[dict[str, int]]) -> dict[str, Any]:
        """Return `Chat.batch` of the lines' rows, with `ITEMS` where any is synthetic."""
        rows = [self.rows[line["row"]] for line in lines]
        batch = self.chat.batch([row.turn for row in rows])
        items = [self.store.read(row.key) if row.key else None for row in rows if row.turn.medium is not None]
        if items and all(item is not None for item in items):
            batch[ITEMS] = torch.stack(items)
        elif any(item is not None for item in items):
            batch[ITEMS] = items
        return batch
