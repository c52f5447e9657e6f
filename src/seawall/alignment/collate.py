"""Rows -> a batch that mixes text, real media and synthetic embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from seawall.alignment.mixture import Row
from seawall.models.chat import IGNORED, Chat
from seawall.models.encode import Encoded
from seawall.models.inject import ITEMS
from seawall.store.embeddings import EmbeddingStore


class Collator:
    """Collates dataset lines `{"row": index}` into model inputs; synthetic embeddings travel under `ITEMS`.

    With them travel those of real media that were `encoded` before: without any other medium, a step skips the encoder.
    """

    def __init__(
        self,
        chat: Chat,
        store: EmbeddingStore | None,
        encoded: Mapping[Path | str, Encoded],
        rows: Sequence[Row],
    ) -> None:
        self.chat, self.rows = chat, rows
        self.store = store
        self.embeddings = {medium: one.embedding for medium, one in encoded.items()}
        self.inputs = {medium: one.inputs for medium, one in encoded.items()}

    def __call__(self, lines: list[dict[str, int]]) -> dict[str, Any]:
        """Return `Chat.batch` of the lines' rows, with `ITEMS` where any is synthetic or encoded."""
        return self.batch([self.rows[line["row"]] for line in lines])

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return what a training batch of these rows is."""
        batch = self.chat.batch([row.turn for row in rows], known=self.inputs)
        items = [
            self.store.read(row.key) if row.key else self.embeddings.get(row.turn.medium)
            for row in rows
            if row.turn.medium is not None
        ]
        if items and all(item is not None for item in items):
            batch[ITEMS] = torch.stack(items)
        elif any(item is not None for item in items):
            batch[ITEMS] = items
        return batch


class PreferenceCollator(Collator):
    """The same for DPO: all rows with their answers, then all with what is rejected, and `completion_mask` for `labels`."""

    def __call__(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch, with the reference's log-probabilities where the lines bring them."""
        rows = [self.rows[line["row"]] for line in lines]
        rejected = [dataclasses.replace(row, turn=dataclasses.replace(row.turn, answer=row.rejected)) for row in rows]
        batch = self.batch(rows + rejected)
        batch["completion_mask"] = (batch.pop("labels") != IGNORED).long()
        known = [name for name in ("ref_chosen_logps", "ref_rejected_logps") if name in lines[0]]
        return batch | {name: torch.tensor([line[name] for line in lines]) for name in known}
