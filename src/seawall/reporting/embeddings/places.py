"""Where embeddings lie: the medium that each started from, the nearest media of the bank, and a map of the store.

All distances are at the projector's input, where synthetic and real embeddings are comparable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seawall.models.chat import BLANK, Medium
from seawall.models.encode import encode_media
from seawall.models.load import LoadedModel
from seawall.reporting.embeddings.answers import get_copy
from seawall.reporting.embeddings.sample import spread
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.pair import Pair
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.solve import new_task

MAP_BYTES = 2**30
"""Memory for the embeddings of the map. A larger store is sampled."""
MAX_SYNTHETIC, MAX_BANK = 1_200, 600
"""Maximum points of each sort on the map."""
NEIGHBOURS = 4
"""Nearest media that the page shows for an embedding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedBank:
    """Media with their encoder outputs."""

    media: Sequence[Medium]
    """Files of the bank, and the blank."""
    vectors: Tensor
    """What the projector receives for each, flattened, shape = (media, rows * width), fp32, in main memory."""
    total: int
    """Files of the bank. Some are left out of `media` if the bank is too large for the map."""

    def find_nearest(self, embedding: Tensor) -> list[tuple[Medium, float]]:
        """Return the nearest files with their cosine distances to an embedding, shape = (rows, width)."""
        files = [pair for pair in self.measure_distances(embedding).items() if pair[0] is not BLANK]
        return sorted(files, key=lambda pair: pair[1])[:NEIGHBOURS]

    def measure_distances(self, embedding: Tensor) -> dict[Medium, float]:
        """Return the cosine distance of each medium to an embedding, shape = (rows, width)."""
        distances = 1 - torch.cosine_similarity(self.vectors, embedding.flatten()[None], dim=1)
        return dict(zip(self.media, distances.clamp_min(0).tolist(), strict=True))  # rounding can make it -1e-7


def find_starts(
    loaded: LoadedModel, chosen: Sequence[tuple[Entry, Pair]], media: Sequence[Medium], config: SynthesizeConfig
) -> dict[str, Medium]:
    """Return key -> medium from which the last attempt at an embedding started.

    Args:
        loaded: The model.
        chosen: Entries, each with its pair.
        media: All media that the synthesis could start from, in its order.
        config: Settings of the synthesis.
    """
    starts = {}
    for entry, pair in chosen:
        drawn = new_task(pair, loaded, torch.arange(len(media)), config, entry.attempts).embeddings
        starts[entry.key] = media[int(drawn[get_copy(entry)])]
    return starts


def encode_bank(loaded: LoadedModel, files: Sequence[Medium], needed: Sequence[Medium], values: int) -> EncodedBank:
    """Return media with their encoder outputs: the blank, needed files, and as many other files as the map can take.

    Args:
        loaded: The model.
        files: The files of the bank.
        needed: Media that must be among them.
        values: Numbers in one embedding.

    Raises:
        DataError: A file cannot be read.
    """
    limit = min(MAX_BANK, _count_points(values) // 3)
    shown = dict.fromkeys((BLANK, *needed))
    others = [file for file in files if file not in shown]
    some = [*shown, *spread(others, max(0, limit - len(shown)))]
    vectors = encode_media(loaded, some).flatten(1).cpu()
    return EncodedBank(media=some, vectors=vectors, total=len(files))


def read_vectors(store: EmbeddingStore, needed: Sequence[Entry], values: int) -> tuple[list[Entry], Tensor]:
    """Return entries of a store with their embeddings: the needed ones, and as many others as the map can take.

    Args:
        store: The store.
        needed: Entries that must be among them, if they have an embedding.
        values: Numbers in one embedding.

    Returns:
        Entries, and their embeddings, shape = (entries, rows * width).
    """
    shown = {entry.key: entry for entry in needed if entry.shard}
    others = [entry for entry in store.entries.values() if entry.shard and entry.key not in shown]
    limit = min(MAX_SYNTHETIC, 2 * _count_points(values) // 3)
    entries = [*shown.values(), *spread(others, max(0, limit - len(shown)))]
    return entries, torch.stack([store.read(entry.key).flatten() for entry in entries])


def project(vectors: Tensor) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the first two principal components of vectors.

    Args:
        vectors: Shape = (points, values). At least one.

    Returns:
        Coordinates, shape = (points, 2), and the share of the variance along each of the two axes.
    """
    centred = (vectors - vectors.mean(0)).numpy()
    # the singular vectors of the Gram matrix are those of `centred`, whose second axis may have a million values
    left, squares, _ = np.linalg.svd((centred @ centred.T).astype(np.float64), hermitian=True)
    coordinates = left[:, :2] * np.sqrt(squares[:2])
    coordinates = np.pad(coordinates, ((0, 0), (0, 2 - coordinates.shape[1])))
    coordinates *= np.where(coordinates[np.abs(coordinates).argmax(0), [0, 1]] < 0, -1, 1)  # fixes the sign
    shares = [float(square / max(squares.sum(), 1e-30)) for square in (*squares[:2], 0.0)]
    return coordinates, (shares[0], shares[1])


def _count_points(values: int) -> int:
    """Return how many embeddings fit into the memory of the map, at least 60."""
    return max(60, MAP_BYTES // (4 * values))
