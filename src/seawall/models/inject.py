"""Injection: a synthetic embedding `E` takes the place of the encoder's output at the projector's input.

A forward pre-hook on `P` replaces its first argument. The model's own handling of placeholders and positions runs
unchanged on a blank medium. While every medium of a batch is synthetic, the layers of `M` are skipped.

Not covered: projectors that are called more than once in a forward, and media of different sizes in one batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall.models.families import Family, base_model, get_module

ITEMS = "synthetic_items"
"""Keyword of a forward pass that carries the items of a batch, once `attach` was called."""

Items = Tensor | Sequence[Tensor | None]
"""One entry for each medium of a batch, in order: `E`, shape = (rows, width), or None where the medium is real."""


@contextlib.contextmanager
def inject(model: nn.Module, family: Family, items: Items) -> Iterator[None]:
    """Within the context, forward passes and `generate` take `items` for what the encoder made of the batch's media.

    Args:
        model: The full model, bare or PEFT-wrapped. Unchanged afterwards, also after an exception.
        family: Its row of the table.
        items: See `Items`. A tensor of shape (n_media, rows, width) is n synthetic media.

    Raises:
        ValueError: The number or shape of the items is not that of the batch's media.
    """
    projector = get_module(model, family, family.projector)
    all_synthetic = isinstance(items, Tensor) or all(item is not None for item in items)
    handle = projector.register_forward_pre_hook(lambda _, args: (_replace(args[0], items), *args[1:]))
    try:
        with _skipped(get_module(model, family, family.encoder_layers)) if all_synthetic else contextlib.nullcontext():
            yield
    finally:
        handle.remove()


@contextlib.contextmanager
def attach(model: nn.Module, family: Family) -> Iterator[None]:
    """Within the context, `model(..., synthetic_items=items)` injects `items` for that one forward pass.

    This is how batches reach trainers that only know `model(**inputs)`. Attach after PEFT has wrapped the model.
    """
    active: list[contextlib.ExitStack] = []

    def arm(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        items = kwargs.pop(ITEMS, None)
        if items is not None:
            stack = contextlib.ExitStack()
            stack.enter_context(inject(model, family, items))
            active.append(stack)
        return args, kwargs

    def disarm(*_: Any) -> None:
        while active:
            active.pop().close()

    base = base_model(model)
    handles = (
        base.register_forward_pre_hook(arm, with_kwargs=True),
        base.register_forward_hook(disarm, always_call=True),
    )
    try:
        yield
    finally:
        disarm()
        for handle in handles:
            handle.remove()


def _replace(real: Tensor, items: Items) -> Tensor:
    """Return what `P` gets: `real`, shape = (n_media, rows, width), with the synthetic items in their places."""
    if len(items) != len(real) or any(item is not None and item.shape != real.shape[1:] for item in items):
        found = [None if item is None else tuple(item.shape) for item in items]
        raise ValueError(f"The batch holds media of shape {tuple(real.shape)}, the items given are {found}.")
    if isinstance(items, Tensor):
        return items.to(real)
    return torch.stack([old if new is None else new.to(real) for old, new in zip(real, items, strict=True)])


@contextlib.contextmanager
def _skipped(layers: nn.ModuleList) -> Iterator[None]:
    """Within the context, every layer returns its input. What stood in an instance's `__dict__` is put back."""
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = lambda hidden, *_, **__: hidden
    try:
        yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
