"""Rows of tokens and processed media as the tensors of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seawall.models.prompting.example import Medium

Inputs = dict[str, Tensor]
"""Keyword arguments of a forward pass."""
MEDIA_CACHE_BYTES = 2**28
"""Memory for processed media. Beyond it the oldest are dropped."""


class MediaCache(dict[tuple[Medium, bool], Inputs]):
    """Processed media. Beyond `MEDIA_CACHE_BYTES` the oldest are dropped; the newest one is always kept."""

    bytes = 0

    def put(self, key: tuple[Medium, bool], inputs: Inputs) -> None:
        """Keep the inputs of a medium."""
        self.bytes += _count_bytes(inputs) - _count_bytes(self.pop(key, {}))
        self[key] = inputs
        while self.bytes > MEDIA_CACHE_BYTES and len(self) > 1:
            self.bytes -= _count_bytes(self.pop(next(iter(self))))


def _count_bytes(inputs: Inputs) -> int:
    return sum(value.nbytes for value in inputs.values())


def pad_rows(rows: Sequence[Sequence[int]], value: int, *, padding_side: Literal["left", "right"] = "right") -> Tensor:
    """Return rows of integers as one tensor, shape = (rows, length). Shorter rows are padded with `value`."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value, padding_side=padding_side)


def join_media(media: Sequence[Inputs]) -> Inputs:
    """Concatenate the processed media of a batch along the first axis. Along the other axes, smaller ones are padded with 0."""
    joined = {}
    for name in dict.fromkeys(name for inputs in media for name in inputs):
        tensors = [inputs[name] for inputs in media if name in inputs]
        shape = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
        missing = [[(0, size - own) for size, own in zip(shape, t.shape[1:], strict=True)] for t in tensors]
        pads = [list(itertools.chain(*reversed(axes))) for axes in missing]  # `pad` counts axes from the last one
        joined[name] = torch.cat([nn.functional.pad(t, pad) for t, pad in zip(tensors, pads, strict=True)])
    return joined


def to_model(batch: Mapping[str, Tensor], model: Any) -> Inputs:
    """Return a batch on the model's device, with its media in the model's precision."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in batch.items()
    }
