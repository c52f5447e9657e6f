"""Quality of embeddings besides VSR: under noise, against distractors, and by their distance from the bank."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from seawall.models.load import LoadedModel
from seawall.store.pair import Pair
from seawall.synthesis.objective import make_example, score_records
from seawall.synthesis.verify import verify_embeddings

NOISE = 0.1
"""Standard deviation of the noise on `E`, relative to the bank's."""
DISTRACTORS = 20
"""Maximum phrases of other records that the true one is compared with."""


def measure_quality(loaded: LoadedModel, embeddings: Tensor, pairs: Sequence[Pair], bank: Tensor) -> dict[str, float]:
    """Return the quality of a set of embeddings.

    Args:
        loaded: The model.
        embeddings: Shape = (embeddings, rows, width).
        pairs: The pair of each embedding.
        bank: Encoder outputs of real media, shape = (media, rows, width).

    Returns:
        `vsr_noise`: VSR with noise on `E`. `rank_first`: share of embeddings for which the content answer with the true
        phrase is likelier than those with the phrases of 20 other records. `mahalanobis`: root mean square deviation of
        the rows of `E` from the bank's mean, in units of the bank's covariance of channels. The bank itself has 1.
    """
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
    verified = verify_embeddings(loaded, embeddings + NOISE * bank.std() * noise, pairs)
    return {
        "vsr_noise": sum(verified) / len(pairs),
        "rank_first": _share_ranked_first(loaded, embeddings, pairs),
        "mahalanobis": _mahalanobis(embeddings, bank),
    }


@torch.no_grad()
def _share_ranked_first(loaded: LoadedModel, embeddings: Tensor, pairs: Sequence[Pair]) -> float:
    rng, first = random.Random("distractors"), 0
    for embedding, pair in zip(embeddings, pairs, strict=True):
        others = [p for p in pairs if p.phrase != pair.phrase and p.category == pair.category]
        tried = [pair, *rng.sample(others, min(DISTRACTORS, len(others)))]
        question = pair.content[0].question
        asked = [[make_example(dataclasses.replace(p.content[0], question=question))] for p in tried]
        scores = score_records(loaded, embedding[None].expand(len(asked), *embedding.shape), asked)
        first += scores.losses().argmin().item() == 0
    return first / len(pairs)


def _mahalanobis(embeddings: Tensor, bank: Tensor) -> float:
    rows, known = embeddings.flatten(0, 1), bank.flatten(0, 1)
    covariance = known.T.cov() + 1e-4 * known.var() * torch.eye(known.shape[1])
    centred = rows - known.mean(0)
    each = (centred * torch.linalg.solve(covariance, centred.T).T).sum(1)
    return (each.mean() / known.shape[1]).sqrt().item()
