"""The language model's layers, compiled: fewer passes over memory between the matrix products."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from seawall.models.families import Family, get_module


@contextlib.contextmanager
def compiled(model: nn.Module, family: Family, wanted: bool = True) -> Iterator[None]:
    """Within the context, the layers of the language model run through `torch.compile`.

    One compilation serves all layers; it takes some seconds at the first shape, the second and the first batch of one.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    language_model = get_module(model, family, family.language_model)
    layers = [m for m in language_model.modules() if isinstance(m, GradientCheckpointingLayer)] if wanted else []
    for layer in layers:
        layer.compile()
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None  # what `Module.compile` has set; there is no call that takes it back
