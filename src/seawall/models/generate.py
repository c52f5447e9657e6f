"""Greedy answers of a model to turns, on real or synthetic media."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch

from seawall.models.chat import Turn, to_model
from seawall.models.inject import Items, inject
from seawall.models.load import Loaded


@torch.no_grad()
def generate(
    loaded: Loaded,
    turns: Sequence[Turn],
    *,
    items: Items | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 128,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Return the greedy answer to each turn.

    Args:
        loaded: The model, with or without an adapter.
        turns: Questions, each on text, a real medium or `BLANK`.
        items: Synthetic embeddings, one for each turn, where every turn has a medium; see `inject`.
        max_new_tokens: Longest answer.
        batch_size: Turns in one forward pass.
        on_batch: Called with the number of turns answered after each pass.
    """
    order = sorted(range(len(turns)), key=lambda i: len(loaded.chat.encode(turns[i])[0]))
    answers: dict[int, str] = {}
    for first in range(0, len(turns), batch_size):
        rows = order[first : first + batch_size]
        batch = loaded.chat.batch([turns[row] for row in rows], side="left")
        del batch["labels"]
        injected = contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items[rows])
        with injected:
            ids = loaded.model.generate(**to_model(batch, loaded.model), max_new_tokens=max_new_tokens, do_sample=False)
        answers.update(zip(rows, loaded.chat.decode(ids[:, batch["input_ids"].shape[1] :]), strict=True))
        on_batch(len(rows))
    return [answers[row] for row in range(len(turns))]
