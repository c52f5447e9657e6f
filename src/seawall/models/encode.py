"""Encoder outputs of media, as the projector receives them. They are computed once instead of in every forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from seawall.errors import SeawallError
from seawall.models.chat import BLANK, Chat, Example, Inputs, Medium, join_media, to_model
from seawall.models.families import base_model, get_projectors
from seawall.models.inject import capture_calls
from seawall.models.load import LoadedModel
from seawall.progress import track

BATCH_SIZE = 64
"""Media in one forward pass."""
MAX_METADATA_SIZE = 256
"""Floating-point inputs with at most this many values are kept, because the model may read positions or sizes from them."""


def encode_media(loaded: LoadedModel, media: Sequence[Medium]) -> Tensor:
    """Return what the projector receives for media, each fitted to the size of the blank.

    Args:
        loaded: The model.
        media: Files, or `BLANK`.

    Returns:
        Tensor in fp32, shape = (media, rows, width). If the family has several projectors: (media, projectors, rows, width).

    Raises:
        DataError: A medium cannot be read or used.
    """
    encoded = []
    for first in range(0, len(media), BATCH_SIZE):
        chosen = media[first : first + BATCH_SIZE]
        batch = loaded.chat.batch([Example(question="", medium=BLANK) for _ in chosen])
        batch |= join_media([loaded.chat.process_medium(medium, fit=True) for medium in chosen])
        encoded.append(_encode_batch(loaded, batch, len(chosen)))
    return torch.cat(encoded)


def find_unusable(chat: Chat, examples: Sequence[Example], *, fit: bool = False) -> dict[Medium, str]:
    """Return the media that cannot be read or used, each with the reason.

    Args:
        chat: Encodes examples for the model. What it reads here is in its cache afterwards.
        examples: Examples with media. Only the medium of each is used if `fit` is set.
        fit: As for `Chat.process_medium`.
    """
    faults: dict[Medium, str] = {}
    with track("checking media", len(examples)) as bar:
        for example in examples:
            assert example.medium is not None
            try:
                chat.process_medium(example.medium, fit=True) if fit else chat.encode(example)
            except SeawallError as error:
                faults[example.medium] = str(error)
            bar.advance()
    return faults


@dataclasses.dataclass(frozen=True)
class EncodedMedium:
    """A real medium that the encoder does not have to process again."""

    embedding: Tensor
    """What the projector receives for it, shape as in `encode_media`, in main memory and in the model's precision."""
    inputs: Inputs
    """Its processed inputs, in which tensors of ones without memory replace what only the encoder reads."""


def encode_examples(
    loaded: LoadedModel, examples: Sequence[Example], batch_size: int = BATCH_SIZE
) -> dict[Medium, EncodedMedium]:
    """Return the encoded medium of each example, in its own size.

    Media whose inputs differ in shape from those of the blank are left out: in a batch, their encoding may depend on the others.

    Args:
        loaded: The model.
        examples: Examples with media.
        batch_size: Media in one forward pass.

    Raises:
        DataError: A medium cannot be read or used.
    """
    if not examples:
        return {}
    blank = _get_shapes(loaded.chat.process_medium(BLANK))
    encoded: dict[Medium, EncodedMedium] = {}
    with track("encoding media", len(examples)) as bar:
        for first in range(0, len(examples), batch_size):
            chunk = examples[first : first + batch_size]
            loaded.chat.batch(chunk)  # processes the media that are not in the cache
            inputs = {e.medium: loaded.chat.process_medium(e.medium) for e in chunk if e.medium is not None}
            alike = {e.medium: e for e in chunk if e.medium is not None and _get_shapes(inputs[e.medium]) == blank}
            if alike:
                embeddings = _encode_batch(loaded, loaded.chat.batch([*alike.values()]), len(alike))
                for medium, embedding in zip(alike, embeddings.to("cpu", loaded.model.dtype), strict=True):
                    encoded[medium] = EncodedMedium(embedding, _drop_content(inputs[medium]))
            bar.advance(len(chunk))
    return encoded


def _get_shapes(inputs: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in inputs.items()}


def _drop_content(inputs: Mapping[str, Tensor]) -> Inputs:
    """Return inputs with ones in place of pixels or samples. Some models treat zeros as padding."""
    return {
        name: value.new_ones(()).expand(value.shape)
        if value.is_floating_point() and value.numel() > MAX_METADATA_SIZE
        else value
        for name, value in inputs.items()
    }


def _encode_batch(loaded: LoadedModel, batch: Inputs, media: int) -> Tensor:
    """Return what the projectors receive for the media of a batch, shape as in `encode_media`."""
    base = base_model(loaded.model)
    inputs = to_model({name: value for name, value in batch.items() if name != "labels"}, base)
    received = []
    for call in capture_calls(base, inputs, get_projectors(loaded.model, loaded.family)):
        assert call is not None, "a forward pass with media calls every projector"
        args, kwargs = call
        features = next(iter((*args, *kwargs.values()))).float()
        received.append(features.reshape(media, -1, features.shape[-1]))
    return received[0] if len(received) == 1 else torch.stack(received, 1)
