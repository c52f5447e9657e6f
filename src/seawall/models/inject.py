"""Injection: a synthetic embedding takes the place of the encoder's output at the projector's input.

A forward pre-hook on the projector replaces its first argument. Everything else in the model runs unchanged on a blank medium,
such as the handling of placeholder tokens and positions. The encoder layers are skipped while every medium is synthetic.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from seawall import compat
from seawall.errors import DataError
from seawall.models.families import Family, base_model, get_layers, get_projectors, unwrap

ITEMS = "synthetic_items"
"""Keyword argument of a forward pass that carries the items of its batch, see `attach`."""

Items = Tensor | Sequence[Tensor | None]
"""One entry for each medium of a batch, in order: an embedding, shape = (rows, width), or None for a real medium.

An embedding is what the projector receives, flattened to rows. If a family has several projectors, it has the shape
(projectors, rows, width).
"""
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a module."""


@contextlib.contextmanager
def inject(model: nn.Module, family: Family, items: Items | Sequence[Items]) -> Iterator[None]:
    """Let forward passes and `generate` use `items` in place of the encoder's outputs until the context ends.

    Args:
        model: The full model, with or without a PEFT wrapper. It is restored afterwards, even after an exception.
        family: The model's row in the table of families.
        items: See `Items`. A tensor of shape (media, rows, width) makes every medium synthetic. If a forward pass calls the
            projector several times (for images, then for videos), a list with the items of each call.

    Raises:
        DataError: Number or shape of the items does not match the media of a batch.
    """
    is_nested = not isinstance(items, Tensor) and bool(items) and isinstance(items[0], list | tuple)
    calls = cast(Sequence[Items], items if is_nested else [items])
    projectors = get_projectors(model, family)
    all_synthetic = all(item is not None for call in calls for item in call)
    with contextlib.ExitStack() as stack:
        copies = stack.enter_context(compat.beam_copies(unwrap(model), family.modality))
        for index, projector in enumerate(projectors):
            own = [_select_projector(call, index) if len(projectors) > 1 else call for call in calls]
            hook = _ReplacementHook(own, copies)
            stack.callback(projector.register_forward_pre_hook(hook, with_kwargs=True).remove)
        if all_synthetic:
            for layer in get_layers(model, family):
                stack.enter_context(compat.skipped_layer(layer, family.layers_return_tuples))
        yield


@contextlib.contextmanager
def attach(model: nn.Module, family: Family) -> Iterator[None]:
    """Let `model(..., synthetic_items=items)` inject `items` in that forward pass, until the context ends.

    Trainers that only call `model(**inputs)` receive items in this way. Attach after PEFT has wrapped the model.

    Args:
        model: The full model, with or without a PEFT wrapper. It is restored afterwards, even after an exception.
        family: The model's row in the table of families.
    """
    active: list[contextlib.ExitStack] = []

    def start(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        items = kwargs.pop(ITEMS, None)
        if items is not None:
            stack = contextlib.ExitStack()
            stack.enter_context(inject(model, family, items))
            active.append(stack)
        return args, kwargs

    def stop(*_: Any) -> None:
        while active:
            active.pop().close()

    base = base_model(model)
    handles = (
        base.register_forward_pre_hook(start, with_kwargs=True),
        base.register_forward_hook(stop, always_call=True),
    )
    try:
        yield
    finally:
        stop()
        for handle in handles:
            handle.remove()


@torch.no_grad()
def capture_calls(model: nn.Module, inputs: Mapping[str, Any], modules: Sequence[nn.Module]) -> list[Call | None]:
    """Return the arguments that some modules receive in a forward pass. The pass ends as soon as each was called.

    Args:
        model: The model to run, such as a base model.
        inputs: Its keyword arguments.
        modules: Modules inside the model.

    Returns:
        The arguments of each module, in the order of `modules`. None for a module that was not called.
    """
    captured: dict[int, Call] = {}

    def capture(index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        captured[index] = args, kwargs
        if len(captured) == len(modules):
            raise _AllCaptured

    with contextlib.ExitStack() as stack:
        for index, module in enumerate(modules):
            handle = module.register_forward_pre_hook(
                lambda _, args, kwargs, index=index: capture(index, args, kwargs), with_kwargs=True
            )
            stack.callback(handle.remove)
        with contextlib.suppress(_AllCaptured):
            model(**inputs)
    return [captured.get(index) for index in range(len(modules))]


class _AllCaptured(Exception):
    """Ends a forward pass once every module was called."""


class _ReplacementHook:
    """Pre-hook of one projector. Each call of the projector takes the next entry of `calls`, and starts over after the last.

    Args:
        calls: Items of each call within one forward pass.
        copies: A list whose only entry is the number of copies of each medium, see `compat.beam_copies`.
    """

    def __init__(self, calls: Sequence[Items], copies: list[int]) -> None:
        self.calls, self.copies = itertools.cycle(calls), copies

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        items = next(self.calls)
        if args:
            return (_replace(args[0], items, self.copies[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: _replace(kwargs[first], items, self.copies[0])}


def _select_projector(items: Items, index: int) -> Items:
    """Return the part of each item that one of several projectors receives."""
    return [None if item is None else item[index] for item in items]


def _replace(real: Tensor, items: Items, copies: int) -> Tensor:
    """Return the projector's input with the rows of synthetic media replaced.

    Args:
        real: The encoder's output, shape = (..., width).
        items: One entry for each medium.
        copies: How often each medium occurs in a row.

    Raises:
        DataError: The items do not match `real`.
    """
    rows = real.reshape(-1, real.shape[-1])
    media = [item for item in items for _ in range(copies)]
    sizes = _count_rows(media, len(rows))
    if sizes is None or any(item is not None and item.shape[-1] != rows.shape[1] for item in media):
        given = [None if item is None else tuple(item.shape) for item in items]
        raise DataError(
            f"The batch has media of shape {tuple(real.shape)}, but the items given have the shapes {given}. Each medium needs one "
            "item with its rows and width, or None if it is real. Embeddings fit only the blank that they were made for. If real "
            "media differ in size, put all synthetic media before or after them."
        )
    pieces = zip(rows.split(sizes), media, strict=True)
    replaced = [old if new is None else new.reshape(len(old), -1).to(old) for old, new in pieces]
    return torch.cat(replaced).view(real.shape)


def _count_rows(media: Sequence[Tensor | None], total: int) -> list[int] | None:
    """Return the number of rows of each medium, or None if it is ambiguous.

    Rows that the synthetic media leave belong to the real ones. They are divided equally if that gives each real medium the
    size of a synthetic one. Otherwise the real media must stand side by side, so that only their sum matters.

    Args:
        media: Embeddings, or None for real media.
        total: Rows of all media.
    """
    sizes = [None if item is None else item.shape[:-1].numel() for item in media]
    real = [index for index, size in enumerate(sizes) if size is None]
    known = [size for size in sizes if size is not None]
    rest = total - sum(known)
    if not real:
        return None if rest else known
    adjacent = real[-1] - real[0] + 1 == len(real)
    same_size = rest == len(real) * (known[0] if known else rest)
    if rest < len(real) or not (adjacent or same_size):
        return None
    each = rest // len(real)
    counts = [each if size is None else size for size in sizes]
    counts[real[-1]] = rest - each * (len(real) - 1)
    return counts
