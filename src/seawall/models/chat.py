"""From questions to a batch: chat template, token ids, labels, media. The same for training, synthesis and answers."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from seawall.errors import DataError, ModelError
from seawall.models.families import Family
from seawall.media.modality import find_modality, read_medium

IGNORED = -100
"""Label of a position without loss."""
ALIGNED = ("token_type_ids", "mm_token_type_ids")
"""What some processors give for each token, beside its id."""


class Blank(enum.Enum):
    """The type of `BLANK`."""

    BLANK = "blank"


BLANK = Blank.BLANK
"""The blank medium, in whose place a synthetic embedding is injected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One question, and where it is trained on, its answer."""

    question: str
    answer: str | None = None
    medium: Path | Blank | None = None
    """File of a real medium, `BLANK` where a synthetic embedding is injected, or None for text alone."""
    system: str | None = None


BYTES_KEPT = 2**28
"""Memory for what the processor made of media; beyond it the first read is forgotten."""


class Chat:
    """Encodes turns for one processor; remembers what it has encoded.

    Args:
        processor: The model's processor, with a tokenizer.
        family: The model's row of the table.
        blank: Size of the blank: pixels, frames or seconds; None is the family's own.
        context_length: Most tokens that the model takes; None where it does not say.
    """

    def __init__(
        self, processor: Any, family: Family, *, blank: float | None = None, context_length: int | None = None
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", None)
        self.family = family
        self.modality = find_modality(self.family.modality)
        self.blank, self.context_length = blank or self.family.blank, context_length
        self.longest_medium = self.family.longest
        extractor = getattr(processor, "feature_extractor", None)
        if self.longest_medium and (cut := getattr(extractor, "chunk_length", None)):
            self.longest_medium = min(self.longest_medium, cut)
            self.blank = min(self.blank, self.longest_medium)
        self.encode = functools.lru_cache(maxsize=20_000)(self._encode)
        self._encode_prompt = functools.lru_cache(maxsize=20_000)(self._read_prompt)
        self._media: dict[tuple[Path | Blank, bool], dict[str, Tensor]] = {}
        self._bytes = 0

    def batch(
        self,
        turns: Sequence[Example],
        *,
        side: str = "right",
        known: Mapping[Path | Blank, dict[str, Tensor]] = MappingProxyType({}),
    ) -> dict[str, Tensor]:
        """Return model inputs for the turns.

        Args:
            turns: One for each row. Turns without an answer end where the answer would begin.
            side: Where the padding goes: "right" to train, "left" to generate.
            known: Media and what to take for their `media_inputs`.

        Returns:
            `input_ids`, `attention_mask`, `labels` and whatever else the processor gives for each token, of shape (rows,
            length); and, if there is any medium, what the processor makes of media, one entry for each.
        """
        encoded = [self.encode(turn) for turn in turns]
        length = max(len(ids) for ids, *_ in encoded)
        shape = (len(turns), length)
        batch = {
            "input_ids": torch.full(shape, self.tokenizer.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORED),
        }
        batch |= {name: torch.zeros(shape, dtype=torch.long) for *_, aligned in encoded for name in aligned}
        for row, (ids, start, aligned) in enumerate(encoded):
            place = slice(0, len(ids)) if side == "right" else slice(length - len(ids), length)
            batch["input_ids"][row, place] = torch.tensor(ids)
            batch["attention_mask"][row, place] = 1
            batch["labels"][row, place][start:] = torch.tensor(ids[start:], dtype=torch.long)
            for name, values in aligned.items():
                batch[name][row, place] = torch.tensor(values)
        shown = [turn.medium for turn in turns if turn.medium is not None]
        media = [known[medium] if medium in known else self.media_inputs(medium) for medium in shown]
        return batch | join_media(media)

    def media_inputs(self, medium: Path | Blank, fitted: bool = False) -> dict[str, Tensor]:
        """Return what the processor makes of a medium alone; `fitted` cuts or scales it to the size of the blank."""
        if (medium, fitted) not in self._media:
            self._process(self._prompt(self._messages(Example(question="", medium=medium))), medium, fitted)
        return self._media[medium, fitted]

    def forget(self) -> None:
        """Forget what was encoded and read."""
        self.encode.cache_clear()
        self._encode_prompt.cache_clear()
        self._media.clear()
        self._bytes = 0

    def decode(self, ids: Tensor) -> list[str]:
        """Return the texts of generated ids, shape = (rows, length)."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    @property
    def blank_size(self) -> float:
        """Size of the blank: pixels, frames or seconds."""
        if self.blank:
            return self.blank
        size = getattr(getattr(self.processor, "image_processor", None), "size", None) or {}
        if not (edge := size.get("shortest_edge") or size.get("height")):
            raise ModelError(
                f"The processor of {self.family.model_type!r} does not say how large its {self.modality.name}s are. Give "
                "the size of the blank in the table's row, or to `load_model`."
            )
        return edge

    def load(self, medium: Path | Blank) -> Any:
        """Return a medium, or the blank, as the processor takes it."""
        if medium == BLANK:
            return self.modality.blank(self.blank_size)
        loaded, longest = read_medium(self.modality, medium), self.longest_medium
        if longest and (size := self.modality.size(loaded)) > longest:
            raise DataError(
                f"{medium} has {size:.1f} {self.modality.unit}; this model of type {self.family.model_type!r} takes {longest} and would "
                "not hear the rest. Cut it."
            )
        return loaded

    def _encode(self, turn: Example) -> tuple[tuple[int, ...], int, dict[str, list[int]]]:
        """Return the ids of prompt and answer, where the answer begins, and the `ALIGNED` values of each id."""
        messages = self._messages(turn)
        prompt = self._prompt(messages, add_generation_prompt=True)
        known, known_aligned = self._encode_prompt(prompt, turn.medium)
        ids, aligned, start = [*known], {name: [*values] for name, values in known_aligned.items()}, len(known)
        if turn.answer is not None:
            ids += self._answer_ids(messages, prompt, turn.answer)
        if self.context_length and len(ids) > self.context_length:
            raise DataError(
                f"With {turn.medium or 'its question'} a turn has {len(ids)} tokens; the model takes {self.context_length}. "
                "Use a smaller or shorter medium, or a shorter question."
            )
        for name, values in aligned.items():
            answer_type = self.family.answer_type if name == "token_type_ids" else 0
            values += [answer_type] * (len(ids) - start)
        return tuple(ids), start, aligned

    def _read_prompt(self, prompt: str, medium: Path | Blank | None) -> tuple[list[int], dict[str, list[int]]]:
        """Return the ids of a prompt and the `ALIGNED` values of each; what its medium becomes is kept."""
        outputs = self.tokenizer(prompt, return_tensors="pt") if medium is None else self._process(prompt, medium)
        ids = outputs["input_ids"][0].tolist()
        aligned = {name: outputs[name][0].tolist() for name in ALIGNED if name in outputs}
        if self.family.answer_type:
            aligned.setdefault("token_type_ids", [0] * len(ids))
        return ids, aligned

    def _messages(self, turn: Example) -> list[dict]:
        question = turn.question
        medium = [{"type": self.modality.name}] * (turn.medium is not None)
        if medium and self.family.placeholder:
            medium, question = [], self.family.placeholder + question
        messages = [{"role": "user", "content": [*medium, {"type": "text", "text": question}]}]
        if turn.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": turn.system}]})
        return messages

    def _prompt(self, messages: list[dict], **settings: Any) -> str:
        return self.processor.apply_chat_template(messages, tokenize=False, **settings)

    def _answer_ids(self, messages: list[dict], prompt: str, answer: str) -> list[int]:
        reply = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        whole = self._prompt([*messages, reply])
        target = whole.removeprefix(prompt) if whole.startswith(prompt) else f" {answer}"
        ids = self.tokenizer(target.rstrip("\n"), add_special_tokens=False)["input_ids"]
        return ids if ids[-1] == self.tokenizer.eos_token_id else [*ids, self.tokenizer.eos_token_id]

    def _process(self, prompt: str, medium: Path | Blank, fitted: bool = False) -> dict[str, Tensor]:
        """Return what the processor makes of a prompt with one medium; that of the medium is kept."""
        loaded = self.load(medium)
        if fitted:
            loaded = self.modality.fit(loaded, self.blank_size)
        media = {self.modality.argument: [loaded], **self.modality.settings}
        try:
            outputs = self.processor(text=[prompt], **media, return_tensors="pt")
        except ValueError as error:
            if medium == BLANK:
                raise
            raise DataError(f"{medium} is no {self.modality.name} for this model: {error}.") from error
        text = ("input_ids", "attention_mask", "labels", *ALIGNED)
        self._keep((medium, fitted), {name: value for name, value in outputs.items() if name not in text})
        return outputs

    def _keep(self, key: tuple[Path | Blank, bool], inputs: dict[str, Tensor]) -> None:
        self._bytes += _size(inputs) - _size(self._media.pop(key, {}))
        self._media[key] = inputs
        while self._bytes > BYTES_KEPT and len(self._media) > 1:
            self._bytes -= _size(self._media.pop(next(iter(self._media))))


def _size(inputs: dict[str, Tensor]) -> int:
    return sum(value.nbytes for value in inputs.values())


def join_media(media: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join what a processor made of each medium along the first axis; along the others the smaller are padded with 0."""
    joined = {}
    for name in dict.fromkeys(name for inputs in media for name in inputs):
        tensors = [inputs[name] for inputs in media if name in inputs]
        largest = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
        pads = [
            [p for new, old in zip(largest[::-1], t.shape[:0:-1], strict=True) for p in (0, new - old)] for t in tensors
        ]
        joined[name] = torch.cat([nn.functional.pad(t, pad) for t, pad in zip(tensors, pads, strict=True)])
    return joined


def to_model(batch: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a batch on the model's device, its media in the model's precision."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in batch.items()
    }
