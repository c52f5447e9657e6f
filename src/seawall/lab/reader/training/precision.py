"""Choice of the precision of a training."""

from __future__ import annotations

import time

import torch


def prefers_bf16(device: str) -> bool:
    """Return whether matrix products in bf16 are faster than in fp32. CPUs differ: some emulate bf16."""
    if device == "cuda":
        return True
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.randn(512, 576).to(dtype), torch.randn(576, 1536).to(dtype)
        left @ right  # the first product includes the set-up
        started = time.perf_counter()
        for _ in range(5):
            left @ right
        seconds[dtype] = time.perf_counter() - started
    return seconds[torch.bfloat16] < seconds[torch.float32]
