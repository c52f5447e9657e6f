"""Where an embedding starts: the encoder's output for a blank, or for real, harmless, unlabelled media (the bank)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seawall.errors import DataError
from seawall.models.families import base_model, get_module
from seawall.models.load import Loaded

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def find_media(folder: Path) -> list[Path]:
    """Return the media files of a folder, sorted.

    Raises:
        DataError: There is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise DataError(
            f"{folder} holds no image ({', '.join(ENDINGS)}). Give a folder of harmless images as the bank."
        )
    return files


@torch.no_grad()
def encode_media(loaded: Loaded, media: Sequence[Path | str], batch_size: int = 64) -> Tensor:
    """Return what `P` receives for real media (or `BLANK`), shape = (media, rows, width), fp32."""
    seen: list[Tensor] = []
    base = base_model(loaded.model)
    projector = get_module(loaded.model, loaded.family, loaded.family.projector)
    handle = projector.register_forward_pre_hook(lambda _, args: seen.append(args[0].float()))
    try:
        for first in range(0, len(media), batch_size):
            pixels = torch.cat([loaded.chat.pixels(medium) for medium in media[first : first + batch_size]])
            base.get_image_features(pixels.to(base.device, base.dtype))
    finally:
        handle.remove()
    return torch.cat(seen)


def choose_start(starts: Tensor, seed: str) -> Tensor:
    """Return one of the starts, shape = (rows, width), drawn by a seed of its own."""
    return starts[random.Random(seed).randrange(len(starts))]
