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


def make_files(modality: str, folder: Path, chat: Any, number: int = 3) -> list[Path]:
    """Write media files of noise, as large as the blank of `chat`."""
    size, rng, paths = chat.blank_size, np.random.default_rng(0), []
    for n in range(number):
        if modality == "image":
            paths.append(folder / f"{int(size)}-{n}.png")
            Image.fromarray(rng.integers(0, 255, (int(size), int(size), 3), dtype=np.uint8)).save(paths[-1])
        elif modality == "video":
            paths.append(folder / f"{int(size)}-{n}.gif")
            frames = [Image.fromarray(rng.integers(0, 255, (224, 224, 3), dtype=np.uint8)) for _ in range(int(size))]
            frames[0].save(paths[-1], save_all=True, append_images=frames[1:])
        else:
            paths.append(folder / f"{size}-{n}.wav")
            with wave.open(str(paths[-1]), "wb") as file:
                file.setnchannels(1), file.setsampwidth(2), file.setframerate(16_000)
                file.writeframes(rng.integers(-9000, 9000, int(size * 16_000), dtype=np.int16).tobytes())
    return paths
