"""The objective of the synthesis: `E` is right when the model, shown `E`, says what the controls say.

Source: SEA, section 3.2: `L(E) = -1/|D| * sum over (x, y) in D of log p(y | x, P(E))`, here with the mean over the
tokens of each y, in nats a token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seawall import prompts
from seawall.models.chat import BLANK, Example
from seawall.models.load import LoadedModel
from seawall.models.losses import TargetScores, score_examples
from seawall.models.packing import score_packed


def controls(pair: dict[str, Any], content_questions: int, modality: str, seed: str) -> tuple[list[Example], Example]:
    """Return the auxiliary turns of a record: its content controls, its own question first; and its style control.

    Args:
        pair: A line of `pairs.jsonl`.
        content_questions: How many content questions; those beyond the pair's own are drawn.
        modality: `image`, `video` or `audio`.
        seed: Seed of the draw.
    """
    rng = random.Random(seed)
    own = pair["content"]["question"]
    others = [prompts.format_question(q, modality, pair["category"]) for q in prompts.get_sentences(modality).content_questions]
    others = [question for question in others if question != own]
    drawn = rng.sample(others, min(content_questions - 1, len(others)))
    answer = prompts.format_content_answer(pair["phrase"], modality, pair["category"])
    content = [Example(**pair["content"], medium=BLANK), *(Example(question=q, answer=answer, medium=BLANK) for q in drawn)]
    return content, Example(**pair["style"], medium=BLANK)


def score_records(loaded: LoadedModel, embeddings: Tensor, turns: Sequence[Sequence[Example]], packed: bool = False) -> TargetScores:
    """Return what the model says to the auxiliary turns of each record, record by record; differentiable in `embeddings`.

    Args:
        loaded: The frozen model.
        embeddings: `E` of each record, shape = (records, rows, width).
        turns: The auxiliary turns of each record.
        packed: Whether a record's turns share one row. The numbers are the same; see `models.packing`.
    """
    if packed:
        return score_packed(loaded, turns, embeddings)
    each = torch.tensor([len(record) for record in turns], device=embeddings.device)
    return score_examples(loaded, [turn for record in turns for turn in record], embeddings.repeat_interleave(each, 0))


def losses(loaded: LoadedModel, embeddings: Tensor, turns: Sequence[Sequence[Example]], packed: bool = False) -> Tensor:
    """Return the loss of each auxiliary turn of each record; a record's loss is their mean. See `score_records`.

    Returns:
        Tensor, shape = (records, turns), in nats a token; every record must have as many.
    """
    return score_records(loaded, embeddings, turns, packed).losses().view(len(turns), -1)
