"""How many records fit into memory at once: estimated once, halved where the estimate was wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seawall import compat
from seawall.errors import ModelError

SHARE = 0.7
"""Share of the free memory that is used."""
SLACK = 2.0
"""What a step takes at its peak, as a multiple of what its forward pass keeps for the backward pass: 1.2 to 1.8 measured."""

T = TypeVar("T")


def count_kept_bytes(forward: Callable[[], Any], model: nn.Module) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, the model's own weights not counted."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a card, or of the machine as far as this process may have it."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (meminfo := Path("/proc/meminfo")).exists():  # what can be had, with what caches would give back
        free = next(int(line.split()[1]) * 1024 for line in meminfo.open() if line.startswith("MemAvailable"))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int(used.read_text()))
    return free


def halve_on_out_of_memory(work: Callable[[int], T], size: int) -> T:
    """Return `work(size)`, with half the size, again and again, where memory does not suffice.

    Raises:
        ModelError: Not even 1 fits.
    """
    while True:
        try:
            return work(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        size = halved(size)


def halved(size: int) -> int:
    """Return half of a batch size that did not fit; free what the failed attempt left.

    Raises:
        ModelError: It was 1.
    """
    from accelerate.utils.memory import clear_device_cache

    if size == 1:
        raise ModelError(
            "Out of memory with a single record. Use gradient checkpointing, a lower precision, a smaller blank, or a device "
            "map that moves part of the model off the card (docs/synthesis_speed.md)."
        )
    clear_device_cache(garbage_collection=True)
    return size // 2


@contextlib.contextmanager
def gradient_checkpointing(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Within the context, layers keep their input alone and run again in the backward pass. Not for `generate`.

    Raises:
        ModelError: The model does not support it.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    if not wanted:
        yield
        return
    if not model.supports_gradient_checkpointing:
        raise ModelError(f"{type(model).__name__} does not support gradient checkpointing. Leave it off.")
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    before = [layer.training for layer in layers]
    model.gradient_checkpointing_enable()
    try:
        for layer in layers:  # they check this flag of their own; what is inside stays in evaluation
            layer.training = True
        yield
    finally:
        model.gradient_checkpointing_disable()
        for layer, training in zip(layers, before, strict=True):
            layer.training = training


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a card's or the CPU's allocator has refused."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


@contextlib.contextmanager
def compiled(language_model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Run the layers of a language model through `torch.compile` until the context ends.

    All layers share one compilation. It takes some seconds for the first shape, the second shape and the first batch of one.

    Args:
        language_model: The module whose layers are compiled.
        wanted: False changes nothing.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in language_model.modules() if isinstance(m, GradientCheckpointingLayer)] if wanted else []
    with compat.compiled_layers(layers):
        yield
