"""Packing: all auxiliary turns of a record in one row, so that what they share is computed once.

The system prompt and the medium's tokens, nearly all of a turn, come first; then what differs, turn behind turn. A mask
lets each turn see the shared tokens and itself, and its positions go on from the shared ones: the same numbers as in
rows of its own. Mask and positions are handed to the language model alone, so everything before it runs unchanged,
and the positions are those that the model itself makes for a turn (three axes in the M-RoPE families).
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall import compat
from seawall.models.chat import IGNORED, Chat, Example, join_media, to_model
from seawall.models.families import base_model, get_module
from seawall.models.inject import Items, inject
from seawall.models.load import LoadedModel
from seawall.models.losses import TargetScores, example_losses, logits_at

ABSENT = -1
"""Segment of padding. That of the shared tokens is 0, those of the turns are 1, 2, ..."""
TOLERANCE, LOW_TOLERANCE = {torch.float32: 1e-3}, 0.2
"""Largest relative difference of a packed to an unpacked gradient; the second in precisions that are not listed."""


def score_packed(loaded: LoadedModel, turns: Sequence[Sequence[Example]], items: Items) -> TargetScores:
    """Return the answers of all turns, record by record, with one row for each record; differentiable in items.

    Args:
        loaded: The model, one that `why_not_packed` has nothing against.
        turns: The turns of each record, all about its one medium.
        items: Synthetic embeddings, one for each record; see `inject`.
    """
    ids, targets, segments, places, aligned = zip(*(_pack(loaded.chat, record) for record in turns), strict=True)
    segment, target = _columns(segments, ABSENT), _columns(targets, IGNORED)
    batch = {"input_ids": _columns(ids, loaded.chat.tokenizer.pad_token_id), "attention_mask": (segment >= 0).long()}
    batch |= {name: _columns([values[name] for values in aligned], 0) for name in aligned[0]}
    batch |= join_media([loaded.chat.media_inputs(record[0].medium) for record in turns])
    place = _columns(places, 0)
    positions = _positions(loaded, turns[0][0], int(place.max()) + 1)[..., place]
    with inject(loaded.model, loaded.family, items), _language_model_told(loaded, _mask(segment), positions):
        logits = logits_at(loaded.model, to_model(batch, loaded.model), target != IGNORED)
    before = torch.tensor([0, *(len(record) for record in turns[:-1])]).cumsum(0)
    turn = (before[:, None] + segment - 1)[target != IGNORED]
    device = logits.device
    return TargetScores(
        logits=logits,
        targets=target[target != IGNORED].to(device),
        turn=turn.to(device),
        turns=sum(map(len, turns)),
    )


def why_not_packed(loaded: LoadedModel, turns: Sequence[Example], item: Tensor) -> str | None:
    """Tell what speaks against packing the turns of this model; None where it gives the same numbers.

    The declared reasons come first; whatever they miss, the gradient of one record shows.

    Args:
        loaded: The model.
        turns: The turns of one record.
        item: A synthetic embedding for it, shape = (rows, width).
    """
    config = loaded.model.config.get_text_config()
    longest = max(len(loaded.chat.encode(turn)[0]) for turn in turns)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    window = getattr(config, "sliding_window", None)
    if (attention := compat.attention_implementation(config)) not in ("sdpa", "eager"):
        return f"its attention {attention!r} takes no mask of blocks"
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}, which read a row from left to right"
    if window and window < longest:
        return f"it sees {window} tokens back, and a turn has {longest}"
    mask = _language_model_inputs(loaded, turns[0]).get("attention_mask")
    if mask is not None and not (isinstance(mask, Tensor) and mask.dim() == 2):
        return "it makes an attention mask of its own"
    packed, plain = item.clone().requires_grad_(), item.clone().requires_grad_()
    score_packed(loaded, [turns], packed[None]).losses().sum().backward(inputs=[packed])
    example_losses(loaded, turns, plain[None].expand(len(turns), *item.shape)).sum().backward(inputs=[plain])
    difference = ((packed.grad - plain.grad).norm() / plain.grad.norm()).item()
    if not difference < TOLERANCE.get(loaded.model.dtype, LOW_TOLERANCE):  # a NaN too
        return f"the gradient of one record differs by {difference:.2g} of its length"
    return None


def _pack(chat: Chat, turns: Sequence[Example]) -> tuple[list[int], list[int], list[int], list[int], dict[str, list[int]]]:
    """Return for each token of a record's row: its id, the token wanted behind it, its segment, its place in its turn,
    and its `ALIGNED` values. The last token of an answer is wanted, but nothing is wanted behind it: it is left out.
    """
    encoded = [chat.encode(turn) for turn in turns]
    columns = zip(*(ids for ids, *_ in encoded), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    shared = min(alike, *(start - 1 for _, start, _ in encoded))
    ids, targets, segments = [*encoded[0][0][:shared]], [IGNORED] * shared, [0] * shared
    places, aligned = [*range(shared)], {name: [*values[:shared]] for name, values in encoded[0][2].items()}
    for number, (own, start, values) in enumerate(encoded, 1):
        last = len(own) - 1
        ids += own[shared:last]
        targets += [own[place + 1] if place + 1 >= start else IGNORED for place in range(shared, last)]
        segments += [number] * (last - shared)
        places += range(shared, last)
        for name in aligned:
            aligned[name] += values[name][shared:last]
    return ids, targets, segments, places, aligned


def _columns(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Return rows of different lengths as one tensor, filled on the right."""
    length = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])


def _mask(segment: Tensor) -> Tensor:
    """Return what each token sees: shared tokens and its own segment's, up to itself; shape = (rows, 1, length, length)."""
    own = segment[:, :, None] == segment[:, None, :]
    return ((segment == 0)[:, None, :] | own).tril()[:, None]


@contextlib.contextmanager
def _language_model_told(loaded: LoadedModel, mask: Tensor, positions: Tensor) -> Iterator[None]:
    """Within the context the language model gets this mask and these positions, whatever it is given."""

    def tell(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        embeddings = kwargs["inputs_embeds"]
        seen = torch.zeros(mask.shape, dtype=embeddings.dtype, device=embeddings.device)
        seen.masked_fill_(~mask.to(embeddings.device), torch.finfo(embeddings.dtype).min)
        return args, {**kwargs, "attention_mask": seen, "position_ids": positions.to(embeddings.device)}

    module = get_module(loaded.model, loaded.family, loaded.family.language_model)
    handle = module.register_forward_pre_hook(tell, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


_KNOWN: weakref.WeakKeyDictionary[nn.Module, dict[Any, Tensor]] = weakref.WeakKeyDictionary()


def _positions(loaded: LoadedModel, turn: Example, length: int) -> Tensor:
    """Return the positions that the model gives to a turn, shape = (length,), or (axes, length) in the M-RoPE families.

    Behind the medium they count on by one, whatever is said: so those of one turn serve all on a like medium.
    """
    known, key = _KNOWN.setdefault(loaded.model, {}), (turn.medium, turn.system)
    if key not in known:
        given = _language_model_inputs(loaded, turn).get("position_ids")
        known[key] = torch.arange(len(loaded.chat.encode(turn)[0])) if given is None else given[..., 0, :].cpu()
    first = known[key][..., :length]
    more = torch.arange(1, length - first.shape[-1] + 1)
    return torch.cat([first, first[..., -1:] + more], -1)


@torch.no_grad()
def _language_model_inputs(loaded: LoadedModel, turn: Example) -> dict[str, Any]:
    """Return the keywords that the language model gets for a turn. The forward pass is left there."""

    def arrive(_: nn.Module, __: tuple, kwargs: dict[str, Any]) -> None:
        raise _Arrived(kwargs)

    batch = loaded.chat.batch([turn])
    del batch["labels"]
    module = get_module(loaded.model, loaded.family, loaded.family.language_model)
    handle = module.register_forward_pre_hook(arrive, with_kwargs=True)
    try:
        base_model(loaded.model)(**to_model(batch, loaded.model))
    except _Arrived as arrived:
        return arrived.args[0]
    finally:
        handle.remove()
    return {}


class _Arrived(Exception):
    """The language model has received its input."""
