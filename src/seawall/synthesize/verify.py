"""Verification: does the model, asked what it never was in the optimisation, recover the phrase from `E`?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seawall import phrasing
from seawall.models.chat import BLANK, Turn
from seawall.models.generate import generate
from seawall.models.load import Loaded


def verify(loaded: Loaded, embeddings: Tensor, pairs: Sequence[dict[str, Any]]) -> list[bool]:
    """Tell for each embedding whether every held-out question brings back the record's phrase.

    Args:
        loaded: The model.
        embeddings: Shape = (records, rows, width).
        pairs: The records' lines of `pairs.jsonl`.
    """
    recovered = torch.ones(len(pairs), dtype=torch.bool)
    for template in phrasing.HELD_OUT_QUESTIONS:
        turns = [
            Turn(question=phrasing.ask(template, loaded.family.modality, pair["category"]), medium=BLANK)
            for pair in pairs
        ]
        answers = generate(loaded, turns, items=embeddings, max_new_tokens=24)
        recovered &= torch.tensor([names(answer, pair["phrase"]) for answer, pair in zip(answers, pairs, strict=True)])
    return recovered.tolist()


def names(answer: str, phrase: str) -> bool:
    """Tell whether an answer holds the phrase, whatever the case and punctuation."""
    plain = lambda text: f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "  # noqa: E731
    return plain(phrase) in plain(answer)
