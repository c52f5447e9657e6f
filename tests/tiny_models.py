"""Tiny random models of real classes, saved and loaded like a user's checkpoint."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from seawall.lab.organisms.image import build_model, build_processor


def save_tiny_llava(folder: Path, seed: int = 0) -> Path:
    """Save an untrained `LlavaForConditionalGeneration` with its processor."""
    torch.manual_seed(seed)
    processor = build_processor(random.Random(seed))
    build_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
