"""Verification: does the model, asked what it never was in the optimisation, recover the phrase from `E`?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seawall import prompts
from seawall.models.chat import BLANK, Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel
from seawall.synthesis.objective import score_records


def verify(
    loaded: LoadedModel,
    embeddings: Tensor,
    pairs: Sequence[dict[str, Any]],
    *,
    packed: bool = False,
    foresee: bool = True,
    batch_size: int = 128,
) -> list[bool]:
    """Tell for each embedding whether every held-out question brings back the record's phrase.

    The answer of the content control is nearly always what the model says. Whether it is takes one forward pass, as
    in speculative decoding; only where it is not is an answer generated.

    Args:
        loaded: The model.
        embeddings: Shape = (embeddings, rows, width).
        pairs: The line of `pairs.jsonl` of each.
        packed: See `score_records`.
        foresee: Whether to look for the expected answers before generating any.
        batch_size: Embeddings in one forward pass.
    """
    recovered = torch.ones(len(pairs), dtype=torch.bool)
    asked = [_questions(pair, loaded.family.modality) for pair in pairs]
    said = prompts.get_sentences(loaded.family.modality)
    foreseen = torch.zeros(len(pairs), len(said.verification_questions), dtype=torch.bool)
    for first in range(0, len(pairs) if foresee else 0, batch_size):
        part = slice(first, first + batch_size)
        with torch.no_grad():
            foreseen[part] = (
                score_records(loaded, embeddings[part], asked[part], packed).greedy().view(foreseen[part].shape).cpu()
            )
    for number in range(foreseen.shape[1]):
        left = (recovered & ~foreseen[:, number]).nonzero().flatten().tolist()
        turns = [dataclasses.replace(asked[row][number], answer=None) for row in left]
        with torch.compiler.set_stance("force_eager"):  # each token would be another shape to compile for
            answers = generate(loaded, turns, items=embeddings[left], max_new_tokens=24, batch_size=batch_size)
        for row, answer in zip(left, answers, strict=True):
            recovered[row] = prompts.mentions(answer, pairs[row]["phrase"])
    return recovered.tolist()


def _questions(pair: dict[str, Any], modality: str) -> list[Example]:
    """Return the held-out questions, each with the answer that content questions have."""
    answer = prompts.format_content_answer(pair["phrase"], modality, pair["category"])
    return [
        Example(question=prompts.format_question(question, modality, pair["category"]), answer=answer, medium=BLANK)
        for question in prompts.get_sentences(modality).verification_questions
    ]
