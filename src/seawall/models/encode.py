"""What `M` makes of media, taken where `P` receives it: once, instead of in every forward pass."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from seawall.models.chat import BLANK, Blank, Example, join_media, to_model
from seawall.models.families import base_model, get_projectors
from seawall.models.load import LoadedModel
from seawall.progress import track

BATCH = 64
"""Media in one pass."""
SMALL = 256
"""Numbers in an input that is no data."""


def encode_media(loaded: LoadedModel, media: Sequence[Path | Blank]) -> Tensor:
    """Return what `P` receives for media (or `BLANK`), each fitted to the size of the blank, fp32.

    Returns:
        Tensor, shape = (media, rows, width); with several projectors (media, projectors, rows, width).
    """
    seen = []
    for first in range(0, len(media), BATCH):
        chosen = media[first : first + BATCH]
        batch = loaded.chat.batch([Example(question="", medium=BLANK) for _ in chosen])
        batch |= join_media([loaded.chat.media_inputs(medium, fitted=True) for medium in chosen])
        seen.append(_encode(loaded, batch, len(chosen)))
    return torch.cat(seen)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A medium that the encoder need not see again."""

    embedding: Tensor
    """What `P` receives for it, shape as in `encode_media`, in main memory and the precision of the model."""
    inputs: dict[str, Tensor]
    """Its `Chat.media_inputs`, with ones that take no memory for what only the encoder reads."""


def encode_examples(loaded: LoadedModel, turns: Sequence[Example], batch_size: int = BATCH) -> dict[Path | Blank, Encoded]:
    """Return what the medium of each turn becomes, as it is.

    Left out are media that the processor gives another shape than the blank: in a batch, what they become may depend on the others.
    """
    if not turns:
        return {}
    blank = _shapes(loaded.chat.media_inputs(BLANK))
    known: dict[Path | Blank, Encoded] = {}
    with track("encoding media", len(turns)) as bar:
        for first in range(0, len(turns), batch_size):
            some = turns[first : first + batch_size]
            loaded.chat.batch(some)  # reads what it has not read yet
            fit = [turn for turn in some if _shapes(loaded.chat.media_inputs(turn.medium)) == blank]
            if fit:
                made = _encode(loaded, loaded.chat.batch(fit), len(fit)).to("cpu", loaded.model.dtype)
                for turn, embedding in zip(fit, made, strict=True):
                    known[turn.medium] = Encoded(embedding, _without_data(loaded.chat.media_inputs(turn.medium)))
            bar.advance(len(some))
    return known


def _shapes(inputs: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in inputs.items()}


def _without_data(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return inputs with ones for their pixels or samples (zeros are padding to some); small ones and masks tell where tokens stand."""
    return {
        name: value.new_ones(()).expand(value.shape) if value.is_floating_point() and value.numel() > SMALL else value
        for name, value in inputs.items()
    }


@torch.no_grad()
def _encode(loaded: LoadedModel, batch: dict[str, Tensor], media: int) -> Tensor:
    """Return what `P` receives in a forward pass of a batch, which is left as soon as every projector was reached."""
    base, projectors = base_model(loaded.model), get_projectors(loaded.model, loaded.family)
    arrived: dict[int, Tensor] = {}

    def arrive(number: int, args: tuple, kwargs: dict) -> None:
        arrived[number] = (args or tuple(kwargs.values()))[0].float()
        if len(arrived) == len(projectors):
            raise _Arrived

    with contextlib.ExitStack() as stack:
        for number, projector in enumerate(projectors):
            hook = projector.register_forward_pre_hook(
                lambda _, args, kwargs, number=number: arrive(number, args, kwargs), with_kwargs=True
            )
            stack.callback(hook.remove)
        with contextlib.suppress(_Arrived):
            base(**to_model({name: value for name, value in batch.items() if name != "labels"}, base))
    flat = [arrived[n].reshape(media, -1, arrived[n].shape[-1]) for n in range(len(projectors))]
    return flat[0] if len(flat) == 1 else torch.stack(flat, 1)


class _Arrived(Exception):
    """Every projector has received its input."""
