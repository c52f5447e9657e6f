"""How well a model gives wanted answers: their losses, and whether it would give them word for word.

What the synthesis brings down and verifies by, and what organisms are trained on. Logits are made only where there is an
answer, by the model's own head and whatever it does behind it (scaling, capping).
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
    """The wanted answers of some turns, and what the model says in their places."""

    logits: Tensor
    """At each token of the answers, shape = (tokens, vocabulary), fp32."""
    targets: Tensor
    """The token that is wanted there, shape = (tokens,)."""
    turn: Tensor
    """The turn that it belongs to, shape = (tokens,)."""
    turns: int
    """Number of turns."""

    def losses(self) -> Tensor:
        """Return the mean cross-entropy of each answer, shape = (turns,), in nats a token."""
        each = nn.functional.cross_entropy(self.logits, self.targets, reduction="none")
        total = torch.zeros(self.turns, device=each.device).index_add(0, self.turn, each)
        return total / self.turn.bincount(minlength=self.turns)

    def greedy(self) -> Tensor:
        """Tell for each turn whether the model, decoding greedily, says this answer and nothing else, shape = (turns,)."""
        missed = (self.logits.argmax(-1) != self.targets).float()
        return torch.zeros(self.turns, device=missed.device).index_add(0, self.turn, missed) == 0


def score_examples(loaded: LoadedModel, turns: Sequence[Example], items: Items | None = None) -> TargetScores:
    """Return the answers of turns, one row for each turn; differentiable in items and model.

    Args:
        loaded: The model.
        turns: Questions with answers.
        items: Synthetic embeddings, one for each medium of the turns; see `inject`.
    """
    batch = loaded.chat.batch(turns)
    targets = nn.functional.pad(batch.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    with contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items):
        logits = logits_at(loaded.model, to_model(batch, loaded.model), targets != IGNORED)
    turn, _ = (targets != IGNORED).nonzero(as_tuple=True)
    return TargetScores(
        logits=logits,
        targets=targets[targets != IGNORED].to(logits.device),
        turn=turn.to(logits.device),
        turns=len(turns),
    )


def example_losses(loaded: LoadedModel, turns: Sequence[Example], items: Items | None = None) -> Tensor:
    """Return the loss of each turn's answer, shape = (turns,), in nats a token; see `score`."""
    return score_examples(loaded, turns, items).losses()


def logits_at(model: nn.Module, inputs: dict[str, Any], wanted: Tensor) -> Tensor:
    """Return the logits of a forward pass at the wanted places alone.

    Args:
        model: The full model, with its head.
        inputs: What it takes.
        wanted: Shape = (rows, length), bool.

    Returns:
        Tensor, shape = (wanted places, vocabulary), fp32.
    """

    def choose(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0][wanted.to(args[0].device)][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        return model(**inputs, use_cache=False).logits[0].float()
    finally:
        handle.remove()
