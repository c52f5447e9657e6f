"""Injection: a synthetic embedding `E` takes the place of the encoder's output at the projector's input.

A forward pre-hook on `P` replaces its first argument. The model's own handling of placeholders and positions runs
unchanged on a blank medium. While every medium of a batch is synthetic, the layers of `M` are skipped.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall import compat
from seawall.errors import DataError
from seawall.models.families import Family, base_model, get_layers, get_projectors, unwrap

ITEMS = "synthetic_items"
"""Keyword of a forward pass that carries the items of a batch, once `attach` was called."""

Items = Tensor | Sequence[Tensor | None]
"""One entry for each medium of a batch, in order: `E`, shape = (rows, width), or None where the medium is real.

`E` is what `P` receives, flattened to rows. Where a family has several projectors it has a leading axis of them, shape =
(projectors, rows, width). Where a forward calls `P` several times (images, then videos): a list of Items, one a call.
"""


@contextlib.contextmanager
def inject(model: nn.Module, family: Family, items: Items | Sequence[Items]) -> Iterator[None]:
    """Within the context, forward passes and `generate` take `items` for what the encoder made of the batch's media.

    Args:
        model: The full model, bare or PEFT-wrapped. Unchanged afterwards, also after an exception.
        family: Its row of the table.
        items: See `Items`. A tensor of shape (n_media, rows, width) is n synthetic media.

    Raises:
        DataError: The number or shape of the items is not that of the batch's media.
    """
    nested = not isinstance(items, Tensor) and bool(items) and isinstance(items[0], list | tuple)
    calls = items if nested else [items]
    projectors = get_projectors(model, family)
    all_synthetic = all(item is not None for call in calls for item in call)
    with contextlib.ExitStack() as stack:
        copies = stack.enter_context(compat.beam_copies(unwrap(model), family.modality))
        for number, projector in enumerate(projectors):
            own = [_of_projector(call, number) if len(projectors) > 1 else call for call in calls]
            hook = _Replacement(own, copies)
            stack.callback(projector.register_forward_pre_hook(hook, with_kwargs=True).remove)
        if all_synthetic:
            for layer in get_layers(model, family):
                stack.enter_context(compat.skipped_layer(layer, family.tuple_layers))
        yield


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


class _Replacement:
    """The hook on one projector: each call takes the next of `calls`, and after the last the first again."""

    def __init__(self, calls: Sequence[Items], copies: list[int]) -> None:
        self.calls, self.copies = itertools.cycle(calls), copies

    def __call__(self, _: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        items = next(self.calls)
        if args:
            return (_replace(args[0], items, self.copies[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: _replace(kwargs[first], items, self.copies[0])}


def _of_projector(items: Items, number: int) -> Items:
    return [None if item is None else item[number] for item in items]


def _replace(real: Tensor, items: Items, copies: int = 1) -> Tensor:
    """Return what `P` gets: `real`, of any shape (..., width), with the synthetic items in their places."""
    rows = real.reshape(-1, real.shape[-1])
    media = [item for item in items for _ in range(copies)]
    sizes = _sizes(media, len(rows))
    if sizes is None or any(item is not None and item.shape[-1] != rows.shape[1] for item in media):
        found = [None if item is None else tuple(item.shape) for item in items]
        raise DataError(
            f"The batch holds media of shape {tuple(real.shape)}, the items given are {found}. Every medium needs one item of "
            "its rows and width (None where it is real). Embeddings fit only the blank that they were made for; where real "
            "media differ in size, put all synthetic ones in front of them or behind."
        )
    pieces = zip(rows.split(sizes), media, strict=True)
    return torch.cat([old if new is None else new.reshape(len(old), -1).to(old) for old, new in pieces]).view(
        real.shape
    )


def _sizes(media: Sequence[Tensor | None], total: int) -> list[int] | None:
    """Return the rows of each medium, or None where that cannot be told.

    What the synthetic ones leave belongs to the real ones: to each as much, or, in one run, to them together.
    """
    known = [None if item is None else item.shape[:-1].numel() for item in media]
    real = [place for place, size in enumerate(known) if size is None]
    left = total - sum(size for size in known if size is not None)
    if not real:
        return None if left else known
    one_run = real[-1] - real[0] + 1 == len(real)
    alike = left == len(real) * next((size for size in known if size is not None), left)
    if left < len(real) or not (one_run or alike):
        return None
    share = left // len(real)
    sizes = [share if size is None else size for size in known]
    sizes[real[-1]] = left - share * (len(real) - 1)
    return sizes
