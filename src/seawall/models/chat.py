"""Conversion of questions, answers and media into model inputs, for training, synthesis and generation alike."""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seawall.errors import DataError, ModelError
from seawall.media.modality import find_modality, read_medium
from seawall.models.families import Family

IGNORED = -100
"""Label of positions that have no loss."""
TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Names under which some processors return one more value for each token."""
CACHED_EXAMPLES = 20_000
"""Encoded examples that a `Chat` keeps."""
MEDIA_CACHE_BYTES = 2**28
"""Memory for processed media. Beyond it the oldest are dropped."""


class Blank(enum.Enum):
    """Type of `BLANK`."""

    BLANK = "blank"

    def __str__(self) -> str:
        return self.value


BLANK = Blank.BLANK
"""The blank medium. A synthetic embedding takes its place."""
Medium = Path | Blank
"""File of a real medium, or `BLANK`."""
Inputs = dict[str, Tensor]
"""Keyword arguments of a forward pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One question with an optional medium and, for training and scoring, its answer."""

    question: str
    """Text of the user's message."""
    answer: str | None = None
    """Text of the assistant's message. None ends the prompt where the answer would begin."""
    medium: Medium | None = None
    """What the question is about: a file, or `BLANK` for a synthetic embedding. None for text only."""
    system: str | None = None
    """System prompt. None for no system message."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of one example."""

    ids: tuple[int, ...]
    """Ids of prompt and answer."""
    answer_start: int
    """Index of the first answer token. It is the number of ids if there is no answer."""
    token_types: Mapping[str, tuple[int, ...]]
    """For each of `TOKEN_TYPES` that the model takes, one value for each token."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids of the answer, after one `IGNORED` for each token of the prompt."""
        return (IGNORED,) * self.answer_start + self.ids[self.answer_start :]


class Chat:
    """Converts examples into model inputs. It caches encoded examples and processed media.

    Args:
        processor: The model's processor, with a tokenizer and a chat template.
        family: The model's row in the table of families.
        blank: Size of the blank medium: pixels of an image's edge, frames, or seconds. None takes the family's size.
        context_length: Maximum tokens of an example. None sets no limit.
    """

    def __init__(
        self, processor: Any, family: Family, *, blank: float | None = None, context_length: int | None = None
    ) -> None:
        self.processor = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", None)
        self.family = family
        self.modality = find_modality(family.modality)
        self.context_length = context_length
        self.max_seconds = family.max_seconds
        self._blank = blank or family.blank
        window = getattr(getattr(processor, "feature_extractor", None), "chunk_length", None)
        if self.max_seconds and window:
            self.max_seconds = min(self.max_seconds, window)
            self._blank = min(self._blank or self.max_seconds, self.max_seconds)
        self._cached_encode = functools.lru_cache(maxsize=CACHED_EXAMPLES)(self._encode)
        self._cached_encode_prompt = functools.lru_cache(maxsize=CACHED_EXAMPLES)(self._encode_prompt)
        self._media = _MediaCache()

    def batch(
        self,
        examples: Sequence[Example],
        *,
        padding_side: Literal["left", "right"] = "right",
        cached_inputs: Mapping[Medium, Inputs] = MappingProxyType({}),
    ) -> Inputs:
        """Return the model inputs of a batch.

        Args:
            examples: One example for each row.
            padding_side: "right" for training, "left" for generation.
            cached_inputs: Processed media to use in place of `process_medium`.

        Returns:
            `input_ids`, `attention_mask`, `labels` and token types, shape = (rows, length); and the inputs of all media, joined.
        """
        rows = [self.encode(example) for example in examples]
        pad = functools.partial(pad_rows, padding_side=padding_side)
        batch = {
            "input_ids": pad([row.ids for row in rows], self.tokenizer.pad_token_id),
            "attention_mask": pad([(1,) * len(row.ids) for row in rows], 0),
            "labels": pad([row.labels for row in rows], IGNORED),
        }
        for name in dict.fromkeys(name for row in rows for name in row.token_types):
            batch[name] = pad([row.token_types.get(name, (0,) * len(row.ids)) for row in rows], 0)
        media = [example.medium for example in examples if example.medium is not None]
        return batch | join_media([cached_inputs.get(medium) or self.process_medium(medium) for medium in media])

    def encode(self, example: Example) -> EncodedExample:
        """Return the token ids of an example, from the cache if possible.

        Raises:
            DataError: The medium cannot be read or used, or the example is longer than the model's context.
        """
        return self._cached_encode(example)

    def decode(self, ids: Tensor) -> list[str]:
        """Return the texts of generated ids, shape = (rows, length)."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def process_medium(self, medium: Medium, *, fit: bool = False) -> Inputs:
        """Return the model inputs that the processor makes from one medium, from the cache if possible.

        Args:
            medium: File, or `BLANK`.
            fit: Crop or scale the medium to the size of the blank first.

        Raises:
            DataError: The medium cannot be read or used.
        """
        if (medium, fit) in self._media:
            return self._media[medium, fit]
        prompt = self._apply_template(self._make_messages(Example(question="", medium=medium)))
        return self._process(prompt, medium, fit)[1]

    def forget(self) -> None:
        """Empty the caches."""
        self._cached_encode.cache_clear()
        self._cached_encode_prompt.cache_clear()
        self._media = _MediaCache()

    @property
    def blank_size(self) -> float:
        """Size of the blank medium in the modality's unit. The default is the processor's own size."""
        if self._blank:
            return self._blank
        size = getattr(getattr(self.processor, "image_processor", None), "size", None) or {}
        if not (edge := size.get("shortest_edge") or size.get("height")):
            raise ModelError(
                f"The processor of {self.family.model_type!r} does not state the size of its {self.modality.name}s. Set `blank` in "
                "the model's row of the table of families, or pass `blank` to `load_model`."
            )
        return float(edge)

    def load(self, medium: Medium) -> Any:
        """Return a medium in the form that the processor takes. Raise DataError if it is broken or too long."""
        if medium is BLANK:
            return self.modality.blank(self.blank_size)
        loaded = read_medium(self.modality, medium)
        if self.max_seconds and (size := self.modality.size(loaded)) > self.max_seconds:
            raise DataError(
                f"{medium} has {size:.1f} {self.modality.unit}; this model of type {self.family.model_type!r} takes "
                f"{self.max_seconds} and would ignore the rest. Shorten the file."
            )
        return loaded

    def _encode(self, example: Example) -> EncodedExample:
        messages = self._make_messages(example)
        text = self._apply_template(messages, add_generation_prompt=True)
        prompt = self._cached_encode_prompt(text, example.medium)
        answer = () if example.answer is None else self._encode_answer(messages, text, example.answer)
        ids = prompt.ids + answer
        if self.context_length and len(ids) > self.context_length:
            raise DataError(
                f"An example with {example.medium or 'no medium'} has {len(ids)} tokens; the model takes {self.context_length}. "
                "Use a smaller or shorter medium, or a shorter question."
            )
        types = {"token_type_ids": self.family.answer_token_type}
        token_types = {
            name: (*values, *[types.get(name, 0)] * len(answer)) for name, values in prompt.token_types.items()
        }
        return EncodedExample(ids, len(prompt.ids), token_types)

    def _encode_prompt(self, prompt: str, medium: Medium | None) -> EncodedExample:
        """Return the ids of a prompt. The model inputs of its medium are cached on the way."""
        outputs = self.tokenizer(prompt, return_tensors="pt") if medium is None else self._process(prompt, medium)[0]
        ids = tuple(outputs["input_ids"][0].tolist())
        token_types = {name: tuple(outputs[name][0].tolist()) for name in TOKEN_TYPES if name in outputs}
        if self.family.answer_token_type:
            token_types.setdefault("token_type_ids", (0,) * len(ids))
        return EncodedExample(ids, len(ids), token_types)

    def _encode_answer(self, messages: list[dict[str, Any]], prompt: str, answer: str) -> tuple[int, ...]:
        """Return the ids of an answer, as the chat template writes it, with one end token."""
        reply = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        conversation = self._apply_template([*messages, reply])
        text = conversation.removeprefix(prompt) if conversation.startswith(prompt) else f" {answer}"
        ids = tuple(self.tokenizer(text.rstrip("\n"), add_special_tokens=False)["input_ids"])
        return ids if ids[-1] == self.tokenizer.eos_token_id else (*ids, self.tokenizer.eos_token_id)

    def _make_messages(self, example: Example) -> list[dict[str, Any]]:
        """Return the messages of an example, without its answer."""
        question, media = example.question, [{"type": self.modality.name}] * (example.medium is not None)
        if media and self.family.placeholder:
            question, media = self.family.placeholder + question, []
        messages = [{"role": "user", "content": [*media, {"type": "text", "text": question}]}]
        if example.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": example.system}]})
        return messages

    def _apply_template(self, messages: list[dict[str, Any]], **settings: Any) -> str:
        return str(self.processor.apply_chat_template(messages, tokenize=False, **settings))

    def _process(self, prompt: str, medium: Medium, fit: bool = False) -> tuple[Inputs, Inputs]:
        """Run the processor on a prompt with one medium. Return all its outputs, and those of the medium, which are cached."""
        loaded = self.load(medium)
        if fit:
            loaded = self.modality.fit(loaded, self.blank_size)
        media = {self.modality.argument: [loaded], **self.modality.settings}
        try:
            outputs = self.processor(text=[prompt], **media, return_tensors="pt")
        except ValueError as error:
            if medium is BLANK:
                raise
            raise DataError(f"{medium} is no {self.modality.name} for this model: {error}.") from error
        text = ("input_ids", "attention_mask", "labels", *TOKEN_TYPES)
        inputs = {name: value for name, value in outputs.items() if name not in text}
        self._media.put((medium, fit), inputs)
        return outputs, inputs


class _MediaCache(dict[tuple[Medium, bool], Inputs]):
    """Processed media. Beyond `MEDIA_CACHE_BYTES` the oldest are dropped; the newest one is always kept."""

    bytes = 0

    def put(self, key: tuple[Medium, bool], inputs: Inputs) -> None:
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
