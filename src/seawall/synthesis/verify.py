"""Verification: asked questions that were never optimised, does the model name the phrase from `E` alone?

An embedding is done, and used for training, only if it passes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from seawall import prompts
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel
from seawall.store.pair import Pair
from seawall.synthesis.objective import make_example, score_records

MAX_NEW_TOKENS = 24
"""Maximum tokens of a generated answer, unless the expected answer is long."""
SPARE = 8
"""Tokens by which a long expected answer may be exceeded. The limit is then a multiple of this."""


def verify_embeddings(
    loaded: LoadedModel,
    embeddings: Tensor,
    pairs: Sequence[Pair],
    *,
    share_prefix: bool = False,
    speculative: bool = True,
    batch_size: int = 128,
) -> list[bool]:
    """Return for each embedding whether the model names the pair's phrase in its answer to every verification question.

    Most answers are the expected ones word for word. As in speculative decoding, one forward pass finds these; only the
    other answers are generated.

    Args:
        loaded: The model.
        embeddings: Shape = (embeddings, rows, width).
        pairs: The pair of each embedding.
        share_prefix: See `score_records`.
        speculative: Check for the expected answers first. False generates every answer.
        batch_size: Embeddings per forward pass.
    """
    examples = [[make_example(question) for question in pair.verification] for pair in pairs]
    expected = [[False] * len(record) for record in examples]
    if speculative:
        expected = _find_expected_answers(loaded, embeddings, examples, share_prefix, batch_size)
    verified = [True] * len(pairs)
    for number in range(max(map(len, examples), default=0)):
        rows = [
            row for row, found in enumerate(expected) if verified[row] and number < len(found) and not found[number]
        ]
        for limit, chosen in _group_by_limit(loaded, {row: examples[row][number] for row in rows}).items():
            questions = [dataclasses.replace(examples[row][number], answer=None) for row in chosen]
            with torch.compiler.set_stance("force_eager"):  # each new token would be another shape to compile for
                answers = generate(
                    loaded,
                    questions,
                    items=embeddings[chosen],
                    max_new_tokens=limit,
                    batch_size=batch_size,
                    with_reasoning=True,  # too few tokens for both, and naming the phrase in either shows what E means
                )
            for row, answer in zip(chosen, answers, strict=True):
                verified[row] = prompts.mentions(answer, pairs[row].phrase)
    return verified


def _group_by_limit(loaded: LoadedModel, examples: Mapping[int, Example]) -> dict[int, list[int]]:
    """Return the keys of examples by the maximum tokens of their answers, so that long phrases can be named whole."""
    groups: dict[int, list[int]] = {}
    for row, example in examples.items():
        tokens = sum(label >= 0 for label in loaded.chat.encode(example).labels)
        long = SPARE * math.ceil((tokens + SPARE) / SPARE)
        groups.setdefault(MAX_NEW_TOKENS if tokens <= MAX_NEW_TOKENS else long, []).append(row)
    return groups


@torch.no_grad()
def _find_expected_answers(
    loaded: LoadedModel,
    embeddings: Tensor,
    examples: Sequence[Sequence[Example]],
    share_prefix: bool,
    batch_size: int,
) -> list[list[bool]]:
    """Return for each example of each embedding whether greedy decoding would give exactly the expected answer."""
    found = []
    for first in range(0, len(examples), batch_size):
        part = slice(first, first + batch_size)
        greedy = score_records(loaded, embeddings[part], examples[part], share_prefix).is_greedy().cpu()
        found += [record.tolist() for record in torch.split(greedy, [len(record) for record in examples[part]])]
    return found
