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
"""Name of a model that the package contains, which is also its modality -> description."""
FETCHED = {"reader": "LLaVA class (CLIP tower, MLP projector, SmolLM2-135M-Instruct); reads images of 112 pixels"}
"""Name of a model whose language model is fetched once -> description."""


def find_organism(name: str) -> Path:
    """Return the folder with the weights of a built-in model.

    Raises:
        ModelError: No built-in model has this name, the package lacks its weights, or they were not fetched yet.
    """
    if name in FETCHED:
        from seawall.lab.reader.assembly import find_reader

        return find_reader()
    folder = Path(__file__).parent / "weights" / name
    if name not in ORGANISMS or not (folder / "config.json").is_file():
        raise ModelError(f"There is no built-in model {name!r}. Choose one of {', '.join((*ORGANISMS, *FETCHED))}.")
    return folder


def find_training(name: str) -> Callable[..., None]:
    """Return the function that trains a built-in model. It takes a folder and `seed`."""
    if name == "reader":
        from seawall.lab.reader.card import train_reader_organism

        return train_reader_organism
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
