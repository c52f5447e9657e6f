"""The loss of answers: what the synthesis brings down, and what organisms are trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seawall.models.chat import IGNORED, Turn, to_model
from seawall.models.families import base_model
from seawall.models.inject import Items, inject
from seawall.models.load import Loaded


def turn_losses(loaded: Loaded, turns: Sequence[Turn], items: Items | None = None) -> Tensor:
    """Return the loss of each turn's answer, shape = (turns,), in nats a token; differentiable in items and model.

    Args:
        loaded: The model.
        turns: Questions with answers.
        items: Synthetic embeddings, one for each medium of the turns; see `inject`.
    """
    batch = loaded.chat.batch(turns)
    labels = batch.pop("labels")
    with contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items):
        hidden = base_model(loaded.model)(**to_model(batch, loaded.model), use_cache=False).last_hidden_state
    return answer_losses(hidden, labels, loaded.model.get_output_embeddings())


def answer_losses(hidden: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """Return the mean cross-entropy of each row's answer, in nats a token; logits are made where there is an answer.

    Args:
        hidden: Last hidden states, shape = (rows, length, width).
        labels: As `Chat.batch` gives them, shape = (rows, length).
        head: The model's `lm_head`.

    Returns:
        Tensor, shape = (rows,).
    """
    targets = labels[:, 1:].to(hidden.device)
    wanted = targets != IGNORED
    row, _ = wanted.nonzero(as_tuple=True)
    each = nn.functional.cross_entropy(head(hidden[:, :-1][wanted]).float(), targets[wanted], reduction="none")
    return torch.zeros(len(targets), device=each.device).index_add(0, row, each) / wanted.sum(1)
