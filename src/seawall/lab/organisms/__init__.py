"""The built-in models: small but real multimodal models, trained here, so that every claim can be checked on a laptop.

Each has its weights in `weights/` in Hugging Face format, with a card that says how it was trained and what was
measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from seawall.errors import ArtifactError, ModelError

ORGANISMS = {
    "image": "LLaVA class (CLIP tower, MLP projector, Llama); images of 96 pixels",
    "video": "Qwen2-VL class (vision tower, merger, Qwen2); videos of 96 pixels, four frames of each",
    "audio": "Qwen2-Audio class (Whisper-like tower, Qwen2); sounds of 4 seconds, speech by espeak-ng and Piper",
}
"""Name, which is also the modality -> description."""


def find_organism(name: str) -> Path:
    """Return the folder with the weights of a built-in model.

    Raises:
        ModelError: No built-in model has this name, or the package lacks its weights.
    """
    folder = Path(__file__).parent / "weights" / name
    if name not in ORGANISMS or not (folder / "config.json").is_file():
        raise ModelError(f"There is no built-in model {name!r}. Choose one of {', '.join(ORGANISMS)}.")
    return folder


def find_training(name: str) -> Callable[..., None]:
    """Return the function that trains a built-in model. It takes a folder and `seed`."""
    train: Callable[..., None] = getattr(
        importlib.import_module(f"seawall.lab.organisms.{name}"), f"train_{name}_organism"
    )
    return train


def create_folder(folder: Path) -> Path:
    """Create a folder, with its parents, and return it.

    Raises:
        ArtifactError: It exists.
    """
    if folder.exists():
        raise ArtifactError(f"{folder} exists and is not overwritten. Give a folder that does not exist.")
    folder.mkdir(parents=True)
    return folder
