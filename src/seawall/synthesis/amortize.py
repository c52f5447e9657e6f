"""Where an embedding starts: the encoder's output for a blank, or for real, harmless, unlabelled media (the bank).

A warm start moves that by what ridge regression foresees: from a phrase's token embeddings to solved embeddings, fitted on a
first block of records.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seawall.errors import DataError
from seawall.models.load import LoadedModel
from seawall.media.modality import find_modality


def find_media(folder: Path, modality: str = "image") -> list[Path]:
    """Return the media files of a folder, sorted.

    Raises:
        DataError: There is none.
    """
    endings = find_modality(modality).endings
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)
    if not files:
        raise DataError(
            f"{folder} holds no {modality} ({', '.join(endings)}). Give a folder of harmless {modality}s as the bank."
        )
    return files


def choose_starts(starts: Tensor, number: int, seed: str) -> Tensor:
    """Return different starts, all where there are no more, shape = (starts, rows, width), drawn by a seed of its own."""
    return starts[random.Random(seed).sample(range(len(starts)), min(number, len(starts)))]


RIDGE = 0.1
"""Penalty of the regression, as a share of the mean squared length of the phrases' features."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A ridge regression from phrases to solved embeddings, kept in its dual form: no matrix of `E`'s size squared."""

    centre: Tensor
    """Mean of the features of the block's phrases, shape = (features,)."""
    features: Tensor
    """Those features, centred, shape = (block, features)."""
    duals: Tensor
    """What each phrase of the block gives to an embedding, shape = (block, ..., rows, width)."""
    shift: Tensor
    """Mean of the solved embeddings minus mean of the starts, shape = (..., rows, width)."""

    def move(self, loaded: LoadedModel, starts: Tensor, phrase: str) -> Tensor:
        """Return starts moved towards what the phrase's embeddings should be, shape = (..., rows, width)."""
        alike = self.features @ (phrase_features(loaded, phrase) - self.centre)
        return starts + (self.shift + torch.tensordot(alike, self.duals, 1)).to(starts)


def fit_warm_start(loaded: LoadedModel, phrases: Sequence[str], embeddings: Tensor, starts: Tensor) -> WarmStart:
    """Fit a warm start.

    Args:
        loaded: The model.
        phrases: Of solved embeddings.
        embeddings: Shape = (embeddings, rows, width).
        starts: Where embeddings may start, shape = (starts, rows, width).
    """
    features = torch.stack([phrase_features(loaded, phrase) for phrase in phrases])
    centre, mean = features.mean(0), embeddings.mean(0)
    features = features - centre
    kernel = features @ features.T
    ridge = RIDGE * kernel.diagonal().mean().clamp_min(1e-9) * torch.eye(len(kernel))
    duals = torch.linalg.solve(kernel + ridge, (embeddings - mean).flatten(1)).view(embeddings.shape)
    return WarmStart(centre=centre, features=features, duals=duals, shift=mean - starts.mean(0).cpu())


@torch.no_grad()
def phrase_features(loaded: LoadedModel, phrase: str) -> Tensor:
    """Return the language model's embeddings of the first and last token of a phrase and their mean, shape = (3 * hidden,)."""
    ids = loaded.chat.tokenizer(f" {phrase}", add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    tokens = loaded.model.get_input_embeddings()(ids.to(loaded.model.device)).float().cpu()
    return torch.cat([tokens[0], tokens[-1], tokens.mean(0)])
