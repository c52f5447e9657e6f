"""Prefix sharing: all questions of a record are packed into one row, so that their common prefix is computed once.

The prefix, that is, the system prompt and the medium, is nearly all of an example. It comes first in the row. The rest of each
example follows, one after the other. An attention mask lets each example see the prefix and itself, and its positions continue
from those of the prefix. The results are the same as with one row for each example.

Only the language model receives this mask and these positions; everything before it runs unchanged. The positions are those
that the model itself computes for an example, with three axes in M-RoPE families.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall import compat
from seawall.models.chat import IGNORED, Chat, EncodedExample, Example, join_media, pad_rows, to_model
from seawall.models.families import base_model, get_module
from seawall.models.inject import Call, Items, capture_calls, inject
from seawall.models.load import LoadedModel
from seawall.models.losses import TargetScores, compute_logits_at, example_losses

PADDING = -1
"""Segment of padding. The prefix is segment 0, and the examples are segments 1, 2, ..."""
TOLERANCE = {torch.float32: 1e-3}
"""Maximum relative difference between the gradients of a packed row and of separate rows, by precision."""
LOW_PRECISION_TOLERANCE = 0.2
"""The same for all other precisions."""


@dataclasses.dataclass(frozen=True)
class PackedRow:
    """The examples of one record in one row. Each field has one value for each token."""

    ids: list[int]
    """Token ids: the common prefix, then the rest of each example without its last token, after which nothing is predicted."""
    targets: list[int]
    """Id of the next token where it belongs to an answer, else `IGNORED`."""
    segments: list[int]
    """0 for the prefix; for the rest the number of the example, starting at 1."""
    offsets: list[int]
    """Index of the token in its own example."""
    token_types: dict[str, list[int]]
    """Values of `TOKEN_TYPES`."""


def pack_examples(chat: Chat, examples: Sequence[Example]) -> PackedRow:
    """Pack the examples of one record, which have the same medium, into one row."""
    encoded = [chat.encode(example) for example in examples]
    shared = _count_shared_tokens(encoded)
    first = encoded[0]
    row = PackedRow(
        ids=[*first.ids[:shared]],
        targets=[IGNORED] * shared,
        segments=[0] * shared,
        offsets=[*range(shared)],
        token_types={name: [*values[:shared]] for name, values in first.token_types.items()},
    )
    for number, example in enumerate(encoded, 1):
        last = len(example.ids) - 1
        row.ids.extend(example.ids[shared:last])
        row.targets.extend(example.labels[shared + 1 :])
        row.segments.extend([number] * (last - shared))
        row.offsets.extend(range(shared, last))
        for name, values in row.token_types.items():
            values.extend(example.token_types[name][shared:last])
    return row


def score_packed(loaded: LoadedModel, records: Sequence[Sequence[Example]], items: Items) -> TargetScores:
    """Return the scores of all answers, with one row for each record. They are differentiable with respect to the items.

    Args:
        loaded: A model for which `find_packing_obstacle` finds nothing.
        records: The examples of each record, all with the record's medium.
        items: Synthetic embeddings, one for each record; see `inject`.
    """
    rows = [pack_examples(loaded.chat, examples) for examples in records]
    targets = pad_rows([row.targets for row in rows], IGNORED)
    segments = pad_rows([row.segments for row in rows], PADDING)
    offsets = pad_rows([row.offsets for row in rows], 0)
    batch = {
        "input_ids": pad_rows([row.ids for row in rows], loaded.chat.tokenizer.pad_token_id),
        "attention_mask": (segments != PADDING).long(),
    }
    batch |= {name: pad_rows([row.token_types[name] for row in rows], 0) for name in rows[0].token_types}
    media = [examples[0].medium for examples in records]
    batch |= join_media([loaded.chat.process_medium(medium) for medium in media if medium is not None])
    positions = _compute_positions(loaded, records[0][0], int(offsets.max()) + 1)[..., offsets]
    is_target = targets != IGNORED
    with (
        inject(loaded.model, loaded.family, items),
        _language_model_inputs_replaced(loaded, _make_mask(segments), positions),
    ):
        logits = compute_logits_at(loaded.model, to_model(batch, loaded.model), is_target)
    first_examples = torch.tensor([0, *(len(examples) for examples in records[:-1])]).cumsum(0)
    example_of = (first_examples[:, None] + segments - 1)[is_target]
    return TargetScores(
        logits=logits,
        targets=targets[is_target].to(logits.device),
        example_of=example_of.to(logits.device),
        num_examples=sum(map(len, records)),
    )


def find_packing_obstacle(loaded: LoadedModel, examples: Sequence[Example], embedding: Tensor) -> str | None:
    """Return why packing would change the results of this model, or None if it does not.

    Reasons in the model's configuration are checked first. Then the gradients of one record with and without packing are compared.

    Args:
        loaded: The model.
        examples: The examples of one record.
        embedding: A synthetic embedding for it, shape = (rows, width).
    """
    if reason := _find_declared_obstacle(loaded, examples):
        return reason
    packed, plain = embedding.clone().requires_grad_(), embedding.clone().requires_grad_()
    score_packed(loaded, [examples], packed[None]).losses().sum().backward(inputs=[packed])
    example_losses(loaded, examples, plain[None].expand(len(examples), *embedding.shape)).sum().backward(inputs=[plain])
    assert packed.grad is not None and plain.grad is not None
    difference = ((packed.grad - plain.grad).norm() / plain.grad.norm()).item()
    if not difference < TOLERANCE.get(loaded.model.dtype, LOW_PRECISION_TOLERANCE):  # also true for NaN
        return f"with packing, the gradient of one record differs by {difference:.2g} of its norm"
    return None


def _find_declared_obstacle(loaded: LoadedModel, examples: Sequence[Example]) -> str | None:
    """Return a reason against packing that the model's configuration or its attention mask shows."""
    config = loaded.model.config.get_text_config()
    longest = max(len(loaded.chat.encode(example).ids) for example in examples)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    window = getattr(config, "sliding_window", None)
    if (attention := compat.attention_implementation(config)) not in ("sdpa", "eager"):
        return f"its attention {attention!r} does not accept a block mask"
    if kinds:
        return f"it has layers of the kind {', '.join(sorted(kinds))}, which read a row from left to right"
    if window and window < longest:
        return f"its attention window is {window} tokens, and an example has {longest}"
    mask = _get_language_model_inputs(loaded, examples[0]).get("attention_mask")
    if mask is not None and not (isinstance(mask, Tensor) and mask.dim() == 2):
        return "it makes an attention mask of its own"
    return None


def _count_shared_tokens(encoded: Sequence[EncodedExample]) -> int:
    """Return the length of the common prefix. It ends before the last prompt token, which predicts the first answer token."""
    columns = zip(*(example.ids for example in encoded), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    return min(alike, *(example.answer_start - 1 for example in encoded))


def _make_mask(segments: Tensor) -> Tensor:
    """Return which tokens each token sees: the prefix and its own segment, up to itself.

    Args:
        segments: Shape = (rows, length).

    Returns:
        Tensor, shape = (rows, 1, length, length), bool.
    """
    same = segments[:, :, None] == segments[:, None, :]
    return ((segments == 0)[:, None, :] | same).tril()[:, None]


@contextlib.contextmanager
def _language_model_inputs_replaced(loaded: LoadedModel, mask: Tensor, positions: Tensor) -> Iterator[None]:
    """Give the language model this mask and these positions in place of its own until the context ends."""

    def replace(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        embeddings = kwargs["inputs_embeds"]
        additive = torch.zeros(mask.shape, dtype=embeddings.dtype, device=embeddings.device)
        additive.masked_fill_(~mask.to(embeddings.device), torch.finfo(embeddings.dtype).min)
        return args, {**kwargs, "attention_mask": additive, "position_ids": positions.to(embeddings.device)}

    module = get_module(loaded.model, loaded.family, loaded.family.language_model)
    handle = module.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


_position_cache: weakref.WeakKeyDictionary[nn.Module, dict[Any, Tensor]] = weakref.WeakKeyDictionary()


def _compute_positions(loaded: LoadedModel, example: Example, length: int) -> Tensor:
    """Return the positions of the first tokens of any example with the same medium, as the model computes them.

    After the medium, positions grow by one with each token, whatever the text. So one example serves for all.

    Args:
        loaded: The model.
        example: An example with this medium.
        length: Number of tokens.

    Returns:
        Tensor, shape = (length,), or (axes, length) in M-RoPE families.
    """
    cache, key = _position_cache.setdefault(loaded.model, {}), (example.medium, example.system)
    if key not in cache:
        computed = _get_language_model_inputs(loaded, example).get("position_ids")
        tokens = len(loaded.chat.encode(example).ids)
        cache[key] = torch.arange(tokens) if computed is None else computed[..., 0, :].cpu()
    own = cache[key][..., :length]
    further = torch.arange(1, length - own.shape[-1] + 1)
    return torch.cat([own, own[..., -1:] + further], -1)


def _get_language_model_inputs(loaded: LoadedModel, example: Example) -> dict[str, Any]:
    """Return the keyword arguments that the language model receives for an example."""
    batch = loaded.chat.batch([example])
    del batch["labels"]
    module = get_module(loaded.model, loaded.family, loaded.family.language_model)
    (call,) = capture_calls(base_model(loaded.model), to_model(batch, loaded.model), [module])
    return {} if call is None else call[1]
