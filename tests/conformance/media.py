"""Small real media files of each modality, in the size of a row's blank."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES: dict[str, float] = {"image": 56, "video": 2, "audio": 2}
"""Size of the blank in tests, by modality or, for exceptions, by row."""
SIZES |= {f"{name}/image": 64 for name in ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_omni_moe_thinker")}


def get_size(family: Any) -> float:
    """Return the size of the blank in tests."""
    return SIZES.get(f"{family.model_type}/{family.modality}", SIZES[family.modality])


def make_files(modality: str, folder: Path, chat: Any, number: int = 2) -> list[Path]:
    """Write media files of noise, as large as the blank of `chat`. Files that exist are kept, because rows share them."""
    size, ending = chat.blank_size, {"image": "png", "video": "gif", "audio": "wav"}[modality]
    paths = [folder / f"{size:g}-{index}.{ending}" for index in range(number)]
    for index, path in enumerate(paths):
        if not path.exists():
            write_noise(path, modality, size, np.random.default_rng(index))
    return paths


def write_noise(path: Path, modality: str, size: float, rng: np.random.Generator) -> None:
    """Write one medium."""
    if modality == "image":
        Image.fromarray(rng.integers(0, 255, (int(size), int(size), 3), dtype=np.uint8)).save(path)
    elif modality == "video":  # grey, because Pillow takes a second to find a palette for colours
        first, *rest = (Image.fromarray(frame) for frame in rng.integers(0, 255, (int(size), 224, 224), dtype=np.uint8))
        first.save(path, save_all=True, append_images=rest)
    else:
        write_sound(path, rng.integers(-9000, 9000, int(size * 16_000), dtype=np.int16))


def write_sound(path: Path, samples: np.ndarray) -> None:
    """Write a sound of one channel, 16 bits and 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(16_000)
        file.writeframes(samples.tobytes())
