"""Organisms: small real multimodal models that we train ourselves, so that every claim runs on a laptop.

Each has its weights beside it in Hugging Face format, and a card that says how it was made and how good it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from seawall.errors import ArtifactError, ModelError

ORGANISMS = {
    "image": "LLaVA-class (CLIP tower, MLP projector, Llama), 96-pixel images",
    "video": "Qwen2-VL-class (vision tower, merger, Qwen2), videos of 96 pixels, four frames of each",
    "audio": "Qwen2-Audio-class (Whisper-like tower, Qwen2), sounds of 4 seconds, of words that espeak-ng and Piper spoke",
}


def find_organism(name: str) -> Path:
    """Return the folder of an organism's weights.

    Raises:
        ModelError: There is no such organism.
    """
    folder = Path(__file__).parent / "weights" / name
    if name not in ORGANISMS or not (folder / "config.json").is_file():
        raise ModelError(f"There is no organism {name!r}. Built in: {', '.join(ORGANISMS)}.")
    return folder


def find_training(name: str) -> Callable[..., None]:
    """Return the function that trains an organism: it takes a folder and `seed`."""
    return getattr(importlib.import_module(f"seawall.lab.organisms.{name}"), f"train_{name}_organism")


def create_folder(folder: Path) -> Path:
    """Make a folder that does not exist yet.

    Raises:
        ArtifactError: It exists.
    """
    if folder.exists():
        raise ArtifactError(f"{folder} exists and is not overwritten. Give a folder that does not exist.")
    folder.mkdir(parents=True)
    return folder
