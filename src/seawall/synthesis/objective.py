"""The objective: an embedding `E` is right if the model, given `E`, gives the expected answers to the controls.

Source: SEA, section 3.2: `L(E) = -1/|D| * sum over (x, y) in D of log p(y | x, P(E))`. Here the log-probability of each
answer y is the mean over its tokens, so losses are in nats per token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from seawall.models.chat import BLANK, Example
from seawall.models.load import LoadedModel
from seawall.models.losses import TargetScores, score_examples
from seawall.models.packing import score_packed
from seawall.store.pair import Pair, QuestionAnswer


def make_example(control: QuestionAnswer) -> Example:
    """Return a question about a synthetic embedding with its expected answer."""
    return Example(question=control.question, answer=control.answer, medium=BLANK)


def draw_controls(pair: Pair, number: int, seed: str) -> tuple[list[Example], Example | None]:
    """Return the content controls and the style control, if the pair has one, of one embedding.

    Args:
        pair: The alignment pair.
        number: Maximum number of content controls: the pair's first one, and others drawn from the rest.
        seed: Seed of the draw.
    """
    first, *rest = pair.content
    drawn = random.Random(seed).sample(rest, min(number - 1, len(rest)))
    return [make_example(control) for control in (first, *drawn)], make_example(pair.style) if pair.style else None


def score_records(
    loaded: LoadedModel, embeddings: Tensor, examples: Sequence[Sequence[Example]], share_prefix: bool = False
) -> TargetScores:
    """Score the expected answers of each record's examples, record by record. Differentiable in `embeddings`.

    Args:
        loaded: The model, frozen.
        embeddings: `E` of each record, shape = (records, rows, width).
        examples: The examples of each record.
        share_prefix: Put the examples of a record into one row, which computes their shared tokens only once. The
            scores are the same; see `models.packing`.
    """
    if share_prefix:
        return score_packed(loaded, examples, embeddings)
    counts = torch.tensor([len(record) for record in examples], device=embeddings.device)
    flat = [example for record in examples for example in record]
    return score_examples(loaded, flat, embeddings.repeat_interleave(counts, 0))


def compute_losses(
    loaded: LoadedModel, embeddings: Tensor, examples: Sequence[Sequence[Example]], share_prefix: bool = False
) -> list[Tensor]:
    """Return the losses of each record's examples, shape = (examples,), in nats per token.

    The loss of a record is their mean. See `score_records` for the arguments.
    """
    losses = score_records(loaded, embeddings, examples, share_prefix).losses()
    return [*torch.split(losses, [len(record) for record in examples])]
