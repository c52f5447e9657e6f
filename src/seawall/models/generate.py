"""Answers of a model to turns, greedy by default, on real or synthetic media."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from seawall.models.chat import Example, to_model
from seawall.models.inject import Items, inject
from seawall.models.load import LoadedModel

GREEDY: Mapping[str, Any] = {"do_sample": False}


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a model said."""

    text: str
    prompt_tokens: int
    tokens: int
    finished: bool
    """False where the limit cut it."""


def generate(
    loaded: LoadedModel,
    turns: Sequence[Example],
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
        chosen = None if items is None else items[rows]
        made = generate_batch(loaded, [turns[row] for row in rows], items=chosen, max_new_tokens=max_new_tokens)
        answers.update(zip(rows, (one.text for one in made), strict=True))
        on_batch(len(rows))
    return [answers[row] for row in range(len(turns))]


@torch.no_grad()
def generate_batch(
    loaded: LoadedModel,
    turns: Sequence[Example],
    *,
    items: Items | None = None,
    max_new_tokens: int,
    decoding: Mapping[str, Any] = GREEDY,
) -> list[Completion]:
    """Return the answers to turns that fit into one batch.

    Args:
        loaded: The model, with or without an adapter.
        turns: As for `generate`.
        items: As for `generate`.
        max_new_tokens: Longest answer.
        decoding: Further settings of transformers' `generate`.
    """
    batch = loaded.chat.batch(turns, side="left")
    del batch["labels"]
    injected = contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items)
    with injected:
        ids = loaded.model.generate(**to_model(batch, loaded.model), max_new_tokens=max_new_tokens, **decoding)
    made = ids[:, batch["input_ids"].shape[1] :]
    ends = torch.isin(made, _end_ids(loaded, made.device))
    finished = ends.any(1)
    lengths = torch.where(finished, ends.int().argmax(1) + 1, made.shape[1])
    texts = loaded.chat.decode(made)
    prompts = batch["attention_mask"].sum(1)
    return [
        Completion(text, *numbers)
        for text, *numbers in zip(texts, prompts.tolist(), lengths.tolist(), finished.tolist(), strict=True)
    ]


def _end_ids(loaded: LoadedModel, device: torch.device) -> torch.Tensor:
    """Return the ids that end an answer."""
    ids = loaded.model.generation_config.eos_token_id
    return torch.tensor(ids if isinstance(ids, list) else [] if ids is None else [ids], dtype=torch.long, device=device)
