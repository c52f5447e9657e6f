"""Memory and speed of forward passes: batch sizes that fit, gradient checkpointing and compilation."""

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

MEMORY_SHARE = 0.7
"""Share of the free memory to use."""
PEAK_FACTOR = 2.0
"""Peak memory of a step, as a multiple of what its forward pass keeps for the backward pass. 1.2 to 1.8 was measured."""

T = TypeVar("T")


def count_kept_bytes(forward: Callable[[], Any], model: nn.Module) -> int:
    """Return the number of bytes that a forward pass keeps for its backward pass, without the model's weights."""
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


def get_free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, or the main memory that this process may still use."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (meminfo := Path("/proc/meminfo")).exists():  # includes memory that caches would give back
        free = next(int(line.split()[1]) * 1024 for line in meminfo.open() if line.startswith("MemAvailable"))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and (maximum := limit.read_text().strip()) != "max":
        free = min(free, int(maximum) - int(used.read_text()))
    return free


def halve_on_out_of_memory(work: Callable[[int], T], batch_size: int) -> T:
    """Return `work(batch_size)`. Whenever memory runs out, try again with half the batch size.

    Raises:
        ModelError: Memory runs out even with a batch size of 1.
    """
    while True:
        try:
            return work(batch_size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        batch_size = halve_batch_size(batch_size)  # outside of `except`, whose traceback keeps tensors alive


def halve_batch_size(batch_size: int) -> int:
    """Return half of a batch size for which memory ran out, and free what the failed attempt left.

    Raises:
        ModelError: The batch size was 1.
    """
    from accelerate.utils.memory import clear_device_cache

    if batch_size == 1:
        raise ModelError(
            "Out of memory with a single record. Use gradient checkpointing, a lower precision, a smaller blank, or a device "
            "map that moves part of the model off the GPU (docs/how_to/memory.md)."
        )
    clear_device_cache(garbage_collection=True)
    return batch_size // 2


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that a GPU or the CPU has no memory left."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


@contextlib.contextmanager
def gradient_checkpointing(model: Any, wanted: bool = True) -> Iterator[None]:
    """Keep only the inputs of layers for the backward pass, which runs each layer again, until the context ends.

    `generate` does not work within the context.

    Args:
        model: The full model.
        wanted: False changes nothing.

    Raises:
        ModelError: The model does not support it.
    """
    if not wanted:
        yield
        return
    if not model.supports_gradient_checkpointing:
        raise ModelError(f"{type(model).__name__} does not support gradient checkpointing. Turn it off.")
    layers = _find_layers(model)
    before = [layer.training for layer in layers]
    model.gradient_checkpointing_enable()
    try:
        for (
            layer
        ) in layers:  # a layer checkpoints only if its own flag says training; its modules stay in evaluation mode
            layer.training = True
        yield
    finally:
        model.gradient_checkpointing_disable()
        for layer, training in zip(layers, before, strict=True):
            layer.training = training


@contextlib.contextmanager
def compiled(language_model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Run the layers of a language model through `torch.compile` until the context ends.

    All layers share one compilation. The first and second shape and the first batch of one take some seconds each.

    Args:
        language_model: The module whose layers are compiled.
        wanted: False changes nothing.
    """
    with compat.compiled_layers(_find_layers(language_model) if wanted else []):
        yield


def _find_layers(model: nn.Module) -> list[nn.Module]:
    """Return the transformer layers of a model."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
