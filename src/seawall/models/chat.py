"""From questions to a batch: chat template, token ids, labels, pixels. The same for training, synthesis and answers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seawall.errors import DataError

IGNORED = -100
"""Label of a position without loss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """One question, and where it is trained on, its answer."""

    question: str
    answer: str | None = None
    medium: Path | str | None = None
    """`BLANK`, the file of a real medium, or None for text alone."""
    system: str | None = None


BLANK = "blank"
"""The medium in whose place a synthetic embedding will stand."""


def answer_losses(hidden: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """Return the mean cross-entropy of each row's answer, in nats a token; logits are made where there is an answer.

    Args:
        hidden: Last hidden states, shape = (rows, length, width).
        labels: As `Chat.batch` gives them, shape = (rows, length).
        head: The model's `lm_head`.

    Returns:
        Tensor, shape = (rows,).
    """
    targets = labels[:, 1:].to(hidden.device)
    wanted = targets != IGNORED
    row, _ = wanted.nonzero(as_tuple=True)
    each = nn.functional.cross_entropy(head(hidden[:, :-1][wanted]).float(), targets[wanted], reduction="none")
    return torch.zeros(len(targets), device=each.device).index_add(0, row, each) / wanted.sum(1)


class Chat:
    """Encodes turns for one processor; remembers what it has encoded."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", None)
        self.encode = functools.lru_cache(maxsize=20_000)(self._encode)
        self.pixels = functools.lru_cache(maxsize=2_000)(self._pixels)

    def batch(self, turns: Sequence[Turn], *, side: str = "right") -> dict[str, Tensor]:
        """Return model inputs for the turns.

        Args:
            turns: One for each row. Turns without an answer end where the answer would begin.
            side: Where the padding goes: "right" to train, "left" to generate.

        Returns:
            `input_ids`, `attention_mask`, `labels` of shape (rows, length), and `pixel_values`, one entry for each
            medium, if there is any.
        """
        encoded = [self.encode(turn) for turn in turns]
        length = max(len(ids) for ids, _ in encoded)
        shape = (len(turns), length)
        batch = {
            "input_ids": torch.full(shape, self.tokenizer.pad_token_id),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORED),
        }
        for row, (ids, start) in enumerate(encoded):
            place = slice(0, len(ids)) if side == "right" else slice(length - len(ids), length)
            batch["input_ids"][row, place] = torch.tensor(ids)
            batch["attention_mask"][row, place] = 1
            batch["labels"][row, place][start:] = torch.tensor(ids[start:], dtype=torch.long)
        media = [self.pixels(turn.medium) for turn in turns if turn.medium is not None]
        if media:
            batch["pixel_values"] = torch.cat(media)
        return batch

    def decode(self, ids: Tensor) -> list[str]:
        """Return the texts of generated ids, shape = (rows, length)."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _encode(self, turn: Turn) -> tuple[tuple[int, ...], int]:
        """Return the ids of prompt and answer, and where the answer begins."""
        content = [{"type": "image"}] * (turn.medium is not None) + [{"type": "text", "text": turn.question}]
        messages = [{"role": "user", "content": content}]
        if turn.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": turn.system}]})
        prompt = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        images = None if turn.medium is None else [open_image(turn.medium, self._blank_size())]
        ids = self.processor(text=prompt, images=images)["input_ids"][0]
        start = len(ids)
        if turn.answer is not None:
            ids = [*ids, *self._answer_ids(messages, prompt, turn.answer)]
        return tuple(ids), start

    def _answer_ids(self, messages: list[dict], prompt: str, answer: str) -> list[int]:
        reply = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        whole = self.processor.apply_chat_template([*messages, reply])
        target = whole.removeprefix(prompt) if whole.startswith(prompt) else f" {answer}"
        ids = self.tokenizer(target.rstrip("\n"), add_special_tokens=False)["input_ids"]
        return ids if ids[-1] == self.tokenizer.eos_token_id else [*ids, self.tokenizer.eos_token_id]

    def _pixels(self, medium: Path | str) -> Tensor:
        images = [open_image(medium, self._blank_size())]
        return self.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]

    def _blank_size(self) -> int:
        size = self.processor.image_processor.size
        return int(size.get("shortest_edge") or size["height"])


def open_image(medium: Path | str, blank_size: int) -> Any:
    """Return an image file, or the mid-grey blank, as an RGB `PIL.Image`.

    Raises:
        DataError: The file is missing or is no readable image.
    """
    from PIL import Image, UnidentifiedImageError

    if medium == BLANK:
        return Image.new("RGB", (blank_size, blank_size), (128, 128, 128))
    try:
        return Image.open(medium).convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"There is no image {medium}. Check the folder that the media list stands in.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(
            f"{medium} is not a readable image ({error}). Replace the file or take it off the list."
        ) from error
