"""Losses of expected answers, and whether greedy decoding would give them.

Synthesis minimises these losses and verifies embeddings with them. Logits are computed only at answer tokens, by the model's own
head, including what the model does after it, such as scaling or capping.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall.models.chat import IGNORED, Example, to_model
from seawall.models.inject import Items, inject
from seawall.models.load import LoadedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetScores:
    """The model's logits at each token of the expected answers."""

    logits: Tensor
    """Logits at each answer token, shape = (tokens, vocabulary), fp32."""
    targets: Tensor
    """Expected token ids, shape = (tokens,)."""
    example_of: Tensor
    """Index of the example that each token belongs to, shape = (tokens,)."""
    num_examples: int
    """Number of examples."""

    def losses(self) -> Tensor:
        """Return the mean cross-entropy of each answer in nats per token, shape = (examples,)."""
        losses = nn.functional.cross_entropy(self.logits, self.targets, reduction="none")
        return self._sum_by_example(losses) / self.example_of.bincount(minlength=self.num_examples)

    def is_greedy(self) -> Tensor:
        """Return for each example whether greedy decoding gives exactly its answer, shape = (examples,), bool."""
        wrong = (self.logits.argmax(-1) != self.targets).float()
        return self._sum_by_example(wrong) == 0

    def _sum_by_example(self, values: Tensor) -> Tensor:
        return torch.zeros(self.num_examples, device=values.device).index_add(0, self.example_of, values)


def score_examples(loaded: LoadedModel, examples: Sequence[Example], items: Items | None = None) -> TargetScores:
    """Return the scores of the examples' answers. They are differentiable with respect to items and model.

    Args:
        loaded: The model.
        examples: Questions with answers. Each is one row of the batch.
        items: Synthetic embeddings, one for each medium; see `inject`. None if every medium is real.
    """
    batch = loaded.chat.batch(examples)
    targets = nn.functional.pad(batch.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    positions = targets != IGNORED
    with contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items):
        logits = compute_logits_at(loaded.model, to_model(batch, loaded.model), positions)
    example_of, _ = positions.nonzero(as_tuple=True)
    return TargetScores(
        logits=logits,
        targets=targets[positions].to(logits.device),
        example_of=example_of.to(logits.device),
        num_examples=len(examples),
    )


def example_losses(loaded: LoadedModel, examples: Sequence[Example], items: Items | None = None) -> Tensor:
    """Return the loss of each example's answer in nats per token, shape = (examples,); see `score_examples`."""
    return score_examples(loaded, examples, items).losses()


def compute_logits_at(model: nn.Module, inputs: dict[str, Any], positions: Tensor) -> Tensor:
    """Run a forward pass and return its logits at some positions only.

    Args:
        model: The full model, with its head.
        inputs: Its keyword arguments.
        positions: Where to compute logits, shape = (rows, length), bool.

    Returns:
        Tensor, shape = (chosen positions, vocabulary), fp32.
    """

    def select(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0][positions.to(args[0].device)][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(select)  # type: ignore[operator]
    try:
        return model(**inputs, use_cache=False).logits[0].float()
    finally:
        handle.remove()
