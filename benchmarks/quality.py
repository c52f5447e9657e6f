"""How good embeddings are, beside VSR: under noise, against distractors, and how far from the bank."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seawall.models.load import LoadedModel
from seawall.synthesis.objective import controls, score_records
from seawall.synthesis.verify import verify

NOISE = 0.1
"""Deviation of the noise on `E`, as a share of the bank's."""
DISTRACTORS = 20


def measure_quality(
    loaded: LoadedModel, embeddings: Tensor, pairs: Sequence[dict[str, Any]], bank: Tensor
) -> dict[str, float]:
    """Return the figures of a set of embeddings.

    Args:
        loaded: The model.
        embeddings: Shape = (embeddings, rows, width).
        pairs: The record of each.
        bank: Encoder outputs of real media, shape = (media, rows, width).

    Returns:
        `vsr_noise`: VSR with noise on `E`. `rank_first`: share whose true phrase makes the content answer likelier than
        that of 20 other records does. `mahalanobis`: root mean square deviation of `E`'s rows from the bank's mean in the
        bank's own covariance of channels; the bank itself has 1.
    """
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
    verified = verify(loaded, embeddings + NOISE * bank.std() * noise, pairs)
    return {
        "vsr_noise": sum(verified) / len(pairs),
        "rank_first": _share_ranked_first(loaded, embeddings, pairs),
        "mahalanobis": _mahalanobis(embeddings, bank),
    }


@torch.no_grad()
def _share_ranked_first(loaded: LoadedModel, embeddings: Tensor, pairs: Sequence[dict[str, Any]]) -> float:
    rng, first = random.Random("distractors"), 0
    for embedding, pair in zip(embeddings, pairs, strict=True):
        others = [p for p in pairs if p["phrase"] != pair["phrase"] and p["category"] == pair["category"]]
        tried = [pair, *rng.sample(others, min(DISTRACTORS, len(others)))]
        asked = [controls({**pair, "content": other["content"] | {"question": pair["content"]["question"]}}, 1,
                          loaded.family.modality, "0")[0] for other in tried]  # fmt: skip
        answers = score_records(loaded, embedding[None].expand(len(asked), *embedding.shape), asked)
        first += answers.losses().argmin().item() == 0
    return first / len(pairs)


def _mahalanobis(embeddings: Tensor, bank: Tensor) -> float:
    rows, known = embeddings.flatten(0, 1), bank.flatten(0, 1)
    covariance = known.T.cov() + 1e-4 * known.var() * torch.eye(known.shape[1])
    centred = rows - known.mean(0)
    each = (centred * torch.linalg.solve(covariance, centred.T).T).sum(1)
    return (each.mean() / known.shape[1]).sqrt().item()
