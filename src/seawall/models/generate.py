"""Generation of answers to questions on text, real media or synthetic embeddings. Decoding is greedy by default."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seawall.models.chat import Example, to_model
from seawall.models.inject import Items, inject
from seawall.models.load import LoadedModel
from seawall.models.steering.hooks import steered

GREEDY: Mapping[str, Any] = {"do_sample": False}
"""Settings of transformers' `generate` for greedy decoding."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """A generated answer."""

    text: str
    """The answer, without special tokens and without the reasoning before it. Empty if the reasoning does not end."""
    reasoning: str
    """The reasoning before the answer; empty if there is none."""
    unfinished: bool
    """Whether the reasoning does not end, so that there is no answer."""
    prompt_tokens: int
    """Number of tokens of the prompt, including those of its medium."""
    tokens: int
    """Number of generated tokens, including the end token."""
    finished: bool
    """Whether the model ended the answer. False if the token limit cut it off."""

    @property
    def unanswered(self) -> bool:
        """Whether the text ended inside the reasoning, or right behind it at the token limit."""
        return self.unfinished or bool(self.reasoning and not self.text and not self.finished)


def generate(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    items: Tensor | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 128,
    with_reasoning: bool = False,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Return the greedy answer to each example, in their order. `complete` also tells how each one ended.

    Args:
        loaded: The model, with or without an adapter.
        examples: As for `complete`.
        items: As for `complete`.
        max_new_tokens: Maximum length of an answer in tokens.
        batch_size: Examples in one forward pass.
        with_reasoning: Put the reasoning of a model that reasons before its answer.
        on_batch: Called after each batch with its number of examples.
    """
    completions = complete(
        loaded, examples, items=items, max_new_tokens=max_new_tokens, batch_size=batch_size, on_batch=on_batch
    )
    if not with_reasoning:
        return [completion.text for completion in completions]
    return [f"{completion.reasoning}\n{completion.text}".strip() for completion in completions]


def complete(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    items: Tensor | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 128,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[Completion]:
    """Return the greedy completion of each example, in their order.

    Args:
        loaded: The model, with or without an adapter.
        examples: Questions on text, a real medium, or `BLANK`.
        items: Synthetic embeddings, shape = (examples, rows, width), if every example has the medium `BLANK`; see `inject`.
        max_new_tokens: Maximum length of an answer in tokens.
        batch_size: Examples in one forward pass.
        on_batch: Called after each batch with its number of examples.
    """
    order = sorted(range(len(examples)), key=lambda index: len(loaded.chat.encode(examples[index]).ids))
    answers: dict[int, Completion] = {}
    for first in range(0, len(examples), batch_size):
        rows = order[first : first + batch_size]
        completions = generate_batch(
            loaded,
            [examples[row] for row in rows],
            items=None if items is None else items[rows],
            max_new_tokens=max_new_tokens,
        )
        answers.update(zip(rows, completions, strict=True))
        on_batch(len(rows))
    return [answers[row] for row in range(len(examples))]


@torch.no_grad()
def generate_batch(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    items: Items | None = None,
    max_new_tokens: int,
    decoding: Mapping[str, Any] = GREEDY,
) -> list[Completion]:
    """Return the answers to examples that fit into one batch.

    Args:
        loaded: The model, with or without an adapter.
        examples: As for `generate`.
        items: Synthetic embeddings, one for each medium; see `inject`. None if every medium is real.
        max_new_tokens: Maximum length of an answer in tokens.
        decoding: Further settings of transformers' `generate`.
    """
    batch = loaded.chat.batch(examples, padding_side="left")
    del batch["labels"]
    injected = contextlib.nullcontext() if items is None else inject(loaded.model, loaded.family, items)
    with injected, steered(loaded.model, loaded.family, loaded.steering):
        settings = {**_pad_settings(loaded), **decoding}
        ids = loaded.model.generate(**to_model(batch, loaded.model), max_new_tokens=max_new_tokens, **settings)
    generated = ids[:, batch["input_ids"].shape[1] :]
    is_end = torch.isin(generated, _get_end_ids(loaded, generated.device))
    finished = is_end.any(1)
    lengths = torch.where(finished, is_end.int().argmax(1) + 1, generated.shape[1])
    replies = loaded.chat.decode(generated)
    prompts = batch["attention_mask"].sum(1).tolist()
    return [
        Completion(reply.answer, reply.reasoning, reply.unfinished, *values)
        for reply, *values in zip(replies, prompts, lengths.tolist(), finished.tolist(), strict=True)
    ]


def _pad_settings(loaded: LoadedModel) -> dict[str, int]:
    """Return the id that fills finished rows, for models that do not set one."""
    return {"pad_token_id": loaded.chat.pad_id} if loaded.model.generation_config.pad_token_id is None else {}


def _get_end_ids(loaded: LoadedModel, device: torch.device) -> Tensor:
    """Return the ids of the tokens that end an answer, shape = (ids,)."""
    ids = loaded.model.generation_config.eos_token_id
    return torch.tensor(ids if isinstance(ids, list) else [] if ids is None else [ids], dtype=torch.long, device=device)
