"""Training examples -> a batch that mixes text, real media and synthetic embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from seawall.alignment.mixture import TrainingExample
from seawall.models.chat import IGNORED, Chat, Medium
from seawall.models.encode import EncodedMedium
from seawall.models.inject import ITEMS
from seawall.store.embeddings import EmbeddingStore

INDEX = "index"
"""Column of the data sets that TRL is given: the number of the training example."""
REFERENCE_COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
"""Columns that TRL adds for the log-probabilities of the reference model."""


class Collator:
    """Collates data set rows `{"index": number}` into model inputs.

    Synthetic embeddings are passed under the key `ITEMS`, and so are the embeddings of real media that were encoded
    beforehand. If a batch has no other media, the step does not run the encoder.

    Args:
        chat: Encodes examples for the model.
        store: The synthetic embeddings. None if no example has one.
        encoded: Real media that were encoded beforehand.
        examples: The training examples that the rows point to.
    """

    def __init__(
        self,
        chat: Chat,
        store: EmbeddingStore | None,
        encoded: Mapping[Medium, EncodedMedium],
        examples: Sequence[TrainingExample],
    ) -> None:
        self.chat, self.store, self.examples = chat, store, examples
        self.embeddings = {medium: one.embedding for medium, one in encoded.items()}
        self.inputs = {medium: one.inputs for medium, one in encoded.items()}

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch of some data set rows."""
        return self.collate([self.examples[row[INDEX]] for row in rows])

    def collate(self, examples: Sequence[TrainingExample]) -> dict[str, Any]:
        """Return `Chat.batch` of some examples, with `ITEMS` if any is synthetic or was encoded beforehand."""
        batch: dict[str, Any] = {**self.chat.batch([one.example for one in examples], cached_inputs=self.inputs)}
        items = [self._find_item(one) for one in examples if one.example.medium is not None]
        given = [item for item in items if item is not None]
        if given:
            batch[ITEMS] = torch.stack(given) if len(given) == len(items) else items
        return batch

    def _find_item(self, example: TrainingExample) -> torch.Tensor | None:
        """Return the embedding that replaces the encoder's output for an example; None if the encoder has to run."""
        if example.key and self.store:
            return self.store.read(example.key)
        medium = example.example.medium
        return None if medium is None else self.embeddings.get(medium)


class PreferenceCollator(Collator):
    """The collator for DPO: all examples with their responses, then all with their rejected responses."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch, with `completion_mask` instead of labels.

        It has the reference log-probabilities if the rows have them.
        """
        chosen = [self.examples[row[INDEX]] for row in rows]
        rejected = [
            dataclasses.replace(one, example=dataclasses.replace(one.example, answer=one.rejected)) for one in chosen
        ]
        batch = self.collate(chosen + rejected)
        batch["completion_mask"] = (batch.pop("labels") != IGNORED).long()
        columns = [name for name in REFERENCE_COLUMNS if name in rows[0]]
        return batch | {name: torch.tensor([row[name] for row in rows]) for name in columns}
