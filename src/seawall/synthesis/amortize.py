"""Starting points: the encoder's output for real, harmless, unlabelled media (the bank) or for a blank medium.

A warm start shifts them towards where the optimisation is expected to end: a ridge regression from a phrase's token
embeddings to solved embeddings, fitted on the records that are solved first.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seawall.errors import DataError
from seawall.media.modality import find_modality
from seawall.models.chat import Blank, Example
from seawall.models.encode import find_unusable
from seawall.models.load import LoadedModel
from seawall.store.artifacts import record

log = logging.getLogger(__name__)

LEFT_OUT = "left_out"
"""Fact in the manifest of a store: files of the bank that could not be used, by path below the bank."""
RIDGE = 0.1
"""Penalty of the regression, relative to the mean squared length of the phrases' features."""


def find_media(folder: Path, modality: str = "image") -> list[Path]:
    """Return the media files of a folder and its subfolders, sorted.

    Raises:
        DataError: The folder contains no media of the modality.
    """
    endings = find_modality(modality).endings
    if folder.is_file():
        raise DataError(f"{folder} is a file. Give a folder of harmless {modality} files as the bank.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)
    if not files:
        raise DataError(
            f"{folder} contains no {modality} files ({', '.join(endings)}). "
            f"Give a folder of harmless {modality} files as the bank."
        )
    return files


def leave_out_unusable(
    loaded: LoadedModel, out: Path, bank: Path, files: Sequence[Path], copies: int
) -> list[Path | Blank]:
    """Return the files of the bank that the model can use. The log and the manifest name the others.

    Args:
        loaded: The model.
        out: Folder of the embeddings, with its manifest.
        bank: Folder of the bank.
        files: Its files.
        copies: Embeddings for each record, each of which starts from another file.

    Raises:
        DataError: Fewer than `copies` files can be used.
    """
    faults = find_unusable(loaded.chat, [Example(question="", medium=file) for file in files], fit=True)
    for fault in faults.values():
        log.warning("left out of the bank: %s", fault)
    usable: list[Path | Blank] = [file for file in files if file not in faults]
    if len(usable) < copies:
        raise DataError(
            f"Only {len(usable)} of {len(files)} files of the bank can be used, but each record needs {copies} of them. "
            f"The first fault: {next(iter(faults.values()))} Replace these files, or use another bank or fewer --copies."
        )
    if faults:
        record(out, **{LEFT_OUT: [file.relative_to(bank).as_posix() for file in files if file in faults]})
    return usable


def choose_starts(starts: Tensor, number: int, seed: str) -> Tensor:
    """Draw `number` different starting points, or all of them if there are fewer.

    Args:
        starts: Shape = (starts, rows, width).
        number: Number to draw.
        seed: Seed of the draw.
    """
    return starts[random.Random(seed).sample(range(len(starts)), min(number, len(starts)))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolvedEmbeddings:
    """Verified embeddings of the records solved first, on which a warm start is fitted."""

    phrases: Sequence[str]
    """The phrase of each embedding."""
    embeddings: Tensor
    """Shape = (embeddings, rows, width)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A ridge regression from phrases to embeddings in dual form, which needs no matrix of the squared size of `E`."""

    feature_mean: Tensor
    """Mean of the features of the solved phrases, shape = (features,)."""
    features: Tensor
    """Centred features of the solved phrases, shape = (embeddings, features)."""
    dual_coefficients: Tensor
    """Contribution of each solved phrase to a prediction, shape = (embeddings, ..., rows, width)."""
    mean_shift: Tensor
    """Mean of the solved embeddings minus mean of the starting points, shape = (..., rows, width)."""

    def shift(self, loaded: LoadedModel, starts: Tensor, phrase: str) -> Tensor:
        """Return starting points shifted towards the predicted embedding of a phrase, shape = (..., rows, width)."""
        similarity = self.features @ (compute_phrase_features(loaded, phrase) - self.feature_mean)
        predicted: Tensor = self.mean_shift + torch.tensordot(similarity, self.dual_coefficients, 1)
        return starts + predicted.to(starts)


def fit_warm_start(loaded: LoadedModel, solved: SolvedEmbeddings, starts: Tensor) -> WarmStart:
    """Fit the regression.

    Args:
        loaded: The model.
        solved: What to fit on.
        starts: All possible starting points, shape = (starts, rows, width).
    """
    features = torch.stack([compute_phrase_features(loaded, phrase) for phrase in solved.phrases])
    feature_mean, mean = features.mean(0), solved.embeddings.mean(0)
    features = features - feature_mean
    kernel = features @ features.T
    penalty = RIDGE * kernel.diagonal().mean().clamp_min(1e-9) * torch.eye(len(kernel))
    dual = torch.linalg.solve(kernel + penalty, (solved.embeddings - mean).flatten(1)).view(solved.embeddings.shape)
    return WarmStart(
        feature_mean=feature_mean, features=features, dual_coefficients=dual, mean_shift=mean - starts.mean(0).cpu()
    )


@torch.no_grad()
def compute_phrase_features(loaded: LoadedModel, phrase: str) -> Tensor:
    """Return the token embeddings of a phrase: the first one, the last one and the mean, shape = (3 * hidden size,)."""
    ids = loaded.chat.tokenizer(f" {phrase}", add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    tokens = loaded.model.get_input_embeddings()(ids.to(loaded.model.device)).float().cpu()
    return torch.cat([tokens[0], tokens[-1], tokens.mean(0)])
