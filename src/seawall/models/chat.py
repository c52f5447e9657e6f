"""Conversion of questions, answers and media into model inputs, for training, synthesis and generation alike."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from seawall.errors import DataError, ModelError
from seawall.media.modality import find_modality, read_medium
from seawall.models.families import Family
from seawall.models.prompting.example import BLANK, IGNORED, Blank, EncodedExample, Example, Medium
from seawall.models.prompting.rows import Inputs, MediaCache, join_media, pad_rows, to_model
from seawall.models.prompting.sizes import choose_blank, find_max_seconds
from seawall.models.prompting.template import Template
from seawall.reasoning import Reply, is_mark, split_reply

__all__ = [
    "BLANK",
    "IGNORED",
    "Blank",
    "Chat",
    "EncodedExample",
    "Example",
    "Inputs",
    "Medium",
    "join_media",
    "pad_rows",
    "to_model",
]

log = logging.getLogger(__name__)

TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Names under which some processors return one more value for each token."""
CACHED_EXAMPLES = 20_000
"""Encoded examples that a `Chat` keeps."""


class Chat:
    """Converts examples into model inputs. It caches encoded examples and processed media.

    Args:
        processor: The model's processor, with a tokenizer and a chat template.
        family: The model's row in the table of families.
        blank: Size of the blank medium: pixels of an image's edge, frames, or seconds. None takes the family's size, or the window
            of the feature extractor if that is shorter.
        context_length: Maximum tokens of an example. None sets no limit.
    """

    def __init__(
        self, processor: Any, family: Family, *, blank: float | None = None, context_length: int | None = None
    ) -> None:
        self.processor = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", None)
        self.family = family
        self.template = Template(processor, family)
        self.modality = find_modality(family.modality)
        self.context_length = context_length
        self.max_seconds = find_max_seconds(family, processor)
        self._blank, self._chosen = choose_blank(family, processor, blank), blank is not None
        self.cuts_long = False
        self._cached_encode = functools.lru_cache(maxsize=CACHED_EXAMPLES)(self._encode)
        self._cached_encode_prompt = functools.lru_cache(maxsize=CACHED_EXAMPLES)(self._encode_prompt)
        self._media = MediaCache()

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
            "input_ids": pad([row.ids for row in rows], self.pad_id),
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

    def decode(self, ids: Tensor) -> list[Reply]:
        """Return generated ids, shape = (rows, length), as answers, separated from the reasoning before them."""
        return [split_reply(self._decode(row.tolist()), begun=self.template.begins_reasoning) for row in ids]

    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without special tokens, except marks of reasoning."""
        parts: list[str] = []
        kept: list[int] = []
        for id in (*ids, None):
            if id is not None and id not in self._marks:
                kept.append(id)
                continue
            parts.append(self.tokenizer.decode(kept, skip_special_tokens=True))
            kept = []
            parts.append(self._marks.get(id, ""))
        return "".join(parts).strip()

    @functools.cached_property
    def _marks(self) -> dict[int | None, str]:
        """Id -> text of the special tokens that mark reasoning."""
        added = getattr(self.tokenizer, "added_tokens_decoder", {})
        return {id: str(token) for id, token in added.items() if token.special and is_mark(str(token))}

    @property
    def pad_id(self) -> int:
        """Id that fills rows of a batch, which the attention mask hides."""
        ids = (getattr(self.tokenizer, name, None) for name in ("pad_token_id", "eos_token_id"))
        return next((id for id in ids if id is not None), 0)

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
        prompt = self.template.render_prompt(Example(question="", medium=medium))
        return self._process(prompt, medium, fit)[1]

    def cut_long(self, cut: bool) -> None:
        """Choose what becomes of media longer than `max_seconds`: cut with a warning, or refused, the default."""
        if cut != self.cuts_long:
            self.forget()
        self.cuts_long = cut

    def forget(self) -> None:
        """Empty the caches."""
        self._cached_encode.cache_clear()
        self._cached_encode_prompt.cache_clear()
        self._media = MediaCache()

    @property
    def blank_size(self) -> float:
        """Size of the blank medium in the modality's unit. The default is the processor's own size."""
        if self._blank:
            return float(self._blank)
        size = getattr(getattr(self.processor, "image_processor", None), "size", None) or {}
        if not (edge := size.get("shortest_edge") or size.get("height")):
            raise ModelError(
                f"The processor of {self.family.model_type!r} does not state the size of its {self.modality.name}s. Give it "
                "as --blank, or set `blank` in the model's row of the table of families."
            )
        return float(edge)

    def load(self, medium: Medium, *, fit: bool = False) -> Any:
        """Return a medium in the form that the processor takes, cropped or scaled to the size of the blank if `fit` is set.

        Raises:
            DataError: It is broken or too long.
        """
        if medium is BLANK:
            if not self._chosen and self.family.blank and self.blank_size < self.family.blank:
                log.info(
                    "the blank has %g %s, the window of this model (others of its type: %g; --blank changes it)",
                    self.blank_size, self.modality.unit, self.family.blank,
                )  # fmt: skip
            return self.modality.blank(self.blank_size)
        loaded = read_medium(self.modality, medium)
        if fit:
            loaded = self.modality.fit(loaded, self.blank_size)
        if not self.max_seconds or (size := self.modality.size(loaded)) <= self.max_seconds:
            return loaded
        if self.cuts_long:
            cut = self.modality.fit(loaded, self.max_seconds)
            if self.modality.size(cut) <= self.max_seconds:
                log.warning("%s is cut from %.1f to %g %s", medium, size, self.max_seconds, self.modality.unit)
                return cut
        raise DataError(
            f"{medium} has {size:.1f} {self.modality.unit}; this model of type {self.family.model_type!r} takes "
            f"{self.max_seconds:g} and would ignore the rest. Shorten the file, or give --long-sounds cut."
        )

    def _encode(self, example: Example) -> EncodedExample:
        answer: tuple[int, ...] = ()
        if example.answer is None:
            text = self.template.render_prompt(example)
        else:
            text, reply = self.template.render(example)
            answer = self._encode_answer(reply)
        prompt = self._cached_encode_prompt(text, example.medium)
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
        if medium is None:
            outputs = self.tokenizer(prompt, return_tensors="pt", **self.template.list_options(prompt))
        else:
            outputs = self._process(prompt, medium)[0]
        ids = tuple(outputs["input_ids"][0].tolist())
        token_types = {name: tuple(outputs[name][0].tolist()) for name in TOKEN_TYPES if name in outputs}
        if self.family.answer_token_type:
            token_types.setdefault("token_type_ids", (0,) * len(ids))
        return EncodedExample(ids, len(ids), token_types)

    def _encode_answer(self, reply: str) -> tuple[int, ...]:
        """Return the ids of an answer, as the chat template writes it, with one end token."""
        end = self.tokenizer.eos_token_id
        if end is None:
            raise ModelError(
                f"The tokenizer of the model (type {self.family.model_type!r}) has no end token, so no answer can be "
                "trained or scored. Set eos_token in its tokenizer_config.json."
            )
        ids = tuple(self.tokenizer(reply.rstrip("\n"), add_special_tokens=False)["input_ids"])
        return ids if ids[-1:] == (end,) else (*ids, end)

    def _process(self, prompt: str, medium: Medium, fit: bool = False) -> tuple[Inputs, Inputs]:
        """Run the processor on a prompt with one medium. Return all its outputs, and those of the medium, which are cached."""
        loaded = self.load(medium, fit=fit)
        media = {self.modality.argument: [loaded], **self.modality.settings, **self.template.list_options(prompt)}
        try:
            outputs = self.processor(text=[prompt], **media, return_tensors="pt")
        except Exception as error:  # a medium that the processor cannot take must not stop the others
            reason = str(error).rstrip(".") or type(error).__name__
            if medium is BLANK and self._chosen:
                raise ModelError(
                    f"The processor cannot take a blank of {self.blank_size:g} {self.modality.unit}: {reason}. Give another size as "
                    "--blank."
                ) from error
            if medium is BLANK:
                raise
            raise DataError(f"{medium} is no {self.modality.name} for this model: {reason}.") from error
        text = ("input_ids", "attention_mask", "labels", *TOKEN_TYPES)
        inputs = {name: value for name, value in outputs.items() if name not in text}
        self._media.put((medium, fit), inputs)
        return outputs, inputs
