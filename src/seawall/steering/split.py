"""The split of a pairs folder's text instructions into those that give the direction and those that choose layer and strength."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from seawall.errors import DataError
from seawall.steering.config import SteerConfig
from seawall.store.pair import KINDS, Pair, read_pairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instructions:
    """Text instructions of both kinds."""

    harmful: list[str]
    """Instructions to refuse."""
    harmless: list[str]
    """Instructions to answer."""

    def join(self) -> list[str]:
        """Return all instructions, harmful ones first."""
        return self.harmful + self.harmless


def split_instructions(folder: Path, config: SteerConfig) -> tuple[Instructions, Instructions]:
    """Return the instructions for the direction, and those for validation. They have no phrase and no instruction in common.

    Args:
        folder: Folder that `prepare` wrote. Only kind, phrase and instruction of each pair are read.
        config: Share and maximum numbers, and the seed.

    Raises:
        ArtifactError: The folder holds no finished result.
        DataError: A kind has fewer than two phrases.
    """
    pairs = read_pairs(folder)
    split = {kind: _split_kind([pair for pair in pairs if pair.kind == kind], kind, folder, config) for kind in KINDS}
    train, validation = (Instructions(**{kind: split[kind][part] for kind in KINDS}) for part in (0, 1))
    return train, validation


def _split_kind(pairs: Sequence[Pair], kind: str, folder: Path, config: SteerConfig) -> tuple[list[str], list[str]]:
    phrases = sorted({pair.phrase.lower() for pair in pairs})
    if len(phrases) < 2:
        raise DataError(
            f"{folder} has {len(phrases)} {kind} phrases, but steering needs two at least: one for the direction and one for "
            "validation. Run `seawall prepare` on data with harmful and harmless requests."
        )
    rng = random.Random(f"{config.seed}/{kind}")
    rng.shuffle(phrases)
    count = min(max(1, round(config.validation * len(phrases))), len(phrases) - 1)
    held_out = set(phrases[:count])
    validation = _list_instructions([pair for pair in pairs if pair.phrase.lower() in held_out])
    train = [
        text
        for text in _list_instructions([pair for pair in pairs if pair.phrase.lower() not in held_out])
        if text not in set(validation)
    ]
    rng.shuffle(validation)
    rng.shuffle(train)
    return train[: config.examples], validation[: config.validation_examples]


def _list_instructions(pairs: Sequence[Pair]) -> list[str]:
    """Return the instructions, each once: a folder of several modalities has each text several times."""
    return list(dict.fromkeys(pair.instruction for pair in pairs))
