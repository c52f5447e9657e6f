"""Training of the reader's tower: each patch of an image names the word piece whose centre it holds.

The classes are pieces of the language model's own tokenizer, so that the projector can later turn a patch into the
input embedding of the piece that the tower reads there. Two more classifications, ink colour and background, keep
what style questions ask about.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seawall.lab.organisms.training import MeanHead, initialize, minimise
from seawall.lab.reader.world.lettering import PATCH, SIDE, draw_mask, find_centres, lay_out
from seawall.lab.reader.world.phrases import MAX_LETTERS, TABLES, list_all_phrases, list_named
from seawall.lab.world.drawing import COLOURS, POOLS, draw_style, paint_background

log = logging.getLogger(__name__)

GRID = SIDE // PATCH
COMMON_WORDS = 3_000
"""Frequent words of the language model's vocabulary that the tower reads too."""
BACKGROUNDS = 1_500
FEW = 2_000
"""Fewer texts are drawn in this process."""
SHIFT = 8
"""Largest random shift of a text in training, in pixels."""
STYLES = {name: [v for pool in ("train", "encoder") for v in POOLS[pool][name]] for name in ("colour", "texture")}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The word pieces that the tower reads."""

    tokens: tuple[int, ...]
    """Token of each class. Class 0 is "no piece here"."""
    common: tuple[str, ...]
    """Frequent words of one piece."""

    @classmethod
    def make(cls, tokenizer: Any) -> Vocabulary:
        """Return the pieces of all words of the open world and the most frequent words of the tokenizer.

        A byte-pair tokenizer lists its pieces roughly by frequency.
        """
        common = []
        for index in range(len(tokenizer)):
            piece = tokenizer.convert_ids_to_tokens(index)
            word = piece[1:]
            if piece.startswith("Ġ") and word.isalpha() and word.isascii() and word.islower() and 1 < len(word) <= 12:
                common.append(word)
            if len(common) == COMMON_WORDS:
                break
        words = {word for kind in TABLES for phrase in list_all_phrases(kind) for word in phrase.text.split()}
        tokens = {t for word in (*words, *common) for t in split_word(tokenizer, word)[0]}
        space = tokenizer.convert_tokens_to_ids("Ġ")
        return cls((space, *sorted(tokens - {space})), tuple(common))


@dataclasses.dataclass(frozen=True)
class Texts:
    """Drawn texts: masks of ink, and the pieces in them."""

    words: tuple[str, ...]
    """The texts."""
    masks: Tensor
    """Shape = (texts, SIDE, SIDE), uint8, 255 where there is ink."""
    centres: Tensor
    """Centre of each piece in pixels, (x, y), shape = (texts, pieces, 2)."""
    classes: Tensor
    """Class of each piece, 0 where a text has fewer, shape = (texts, pieces)."""
    boxes: Tensor
    """First and last column and row with ink, shape = (texts, 4)."""

    def to(self, device: str) -> Texts:
        """Return the same texts on a device."""
        return Texts(self.words, *(part.to(device) for part in (self.masks, self.centres, self.classes, self.boxes)))


@dataclasses.dataclass(frozen=True)
class Papers:
    """Backgrounds with the ink that fits each of them."""

    papers: Tensor
    """Shape = (backgrounds, 3, SIDE, SIDE), uint8."""
    inks: Tensor
    """Shape = (backgrounds, 3), from 0 to 255."""
    styles: Tensor
    """Classes of ink colour and texture, shape = (backgrounds, 2)."""

    def to(self, device: str) -> Papers:
        """Return the same backgrounds on a device."""
        return Papers(self.papers.to(device), self.inks.to(device), self.styles.to(device))


def split_word(tokenizer: Any, word: str) -> tuple[list[int], list[str]]:
    """Return the tokens of a word inside a sentence, and the letters of each."""
    tokens = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
    return tokens, [tokenizer.decode([token]).strip() for token in tokens]


def draw_texts(rng: random.Random, vocabulary: Vocabulary, number: int) -> list[str]:
    """Draw texts to read: half of them phrases that are not held out, half of them random words."""
    named = [phrase.text for kind in TABLES for phrase in list_named(kind)]
    words = sorted({word for text in named for word in text.split()})
    held_out = {p.text for kind in TABLES for p in list_all_phrases(kind)} - set(named)
    texts: list[str] = []
    while len(texts) < number:
        text = rng.choice(named)
        if rng.random() < 0.5:
            pools = rng.choices((words, vocabulary.common), (1, 2), k=rng.choices(range(1, 7), (1, 2, 3, 3, 2, 1))[0])
            text = " ".join(rng.choice(pool) for pool in pools)
        if len(text) <= MAX_LETTERS and text not in held_out:
            texts.append(text)
    return texts


def draw_masks(texts: Sequence[str], vocabulary: Vocabulary, tokenizer: Any, seed: int) -> Texts:
    """Draw texts in random layouts and fonts of the pools `train` and `encoder`, on all cores."""
    split = {word: split_word(tokenizer, word) for word in {word for text in texts for word in text.split()}}
    jobs = [(text, [split[word][1] for word in text.split()], seed + i) for i, text in enumerate(texts)]
    if len(jobs) < FEW:
        drawn = [_draw_mask(job) for job in jobs]
    else:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = [*pool.map(_draw_mask, jobs, chunksize=500)]
    index = {token: number for number, token in enumerate(vocabulary.tokens)}
    rows = [(one, text) for one, text in zip(drawn, texts, strict=True) if one is not None]
    longest = max(len(centres) for (_, centres), _ in rows)
    centres, classes = torch.zeros(len(rows), longest, 2), torch.zeros(len(rows), longest, dtype=torch.long)
    for row, ((_, places), text) in enumerate(rows):
        centres[row, : len(places)] = torch.tensor(places)
        classes[row, : len(places)] = torch.tensor([index[t] for word in text.split() for t in split[word][0]])
    masks = torch.from_numpy(np.stack([np.frombuffer(mask, np.uint8) for (mask, _), _ in rows]).copy())
    masks = masks.view(-1, SIDE, SIDE)
    return Texts(tuple(text for _, text in rows), masks, centres, classes, _find_boxes(masks))


def _draw_mask(job: tuple[str, list[list[str]], int]) -> tuple[bytes, list[tuple[float, float]]] | None:
    text, pieces, seed = job
    style = draw_style(random.Random(seed), "train", "encoder")
    try:
        words = lay_out(text, style)
    except ValueError:  # random words can be too long for any layout
        return None
    return draw_mask(words, style.font).tobytes(), find_centres(words, pieces, style.font)


def _find_boxes(masks: Tensor) -> Tensor:
    columns, rows = (masks.amax(axis) > 0 for axis in (1, 2))
    edges = [(inked.int().argmax(1), SIDE - 1 - inked.flip(1).int().argmax(1)) for inked in (columns, rows)]
    return torch.stack([edge for pair in edges for edge in pair], 1)


def paint_papers(seed: int) -> Papers:
    """Paint backgrounds of the pools `train` and `encoder`."""
    rng = random.Random(seed)
    styles = [draw_style(rng, "train", "encoder") for _ in range(BACKGROUNDS)]
    papers = np.stack([paint_background(s, np.random.default_rng(s.seed))[:SIDE, :SIDE] for s in styles])
    labels = [[STYLES["colour"].index(s.colour), STYLES["texture"].index(s.texture)] for s in styles]
    return Papers(
        torch.from_numpy(papers.transpose(0, 3, 1, 2).copy()),
        torch.tensor([COLOURS[s.colour] for s in styles], dtype=torch.float32),
        torch.tensor(labels),
    )


def compose(texts: Texts, papers: Papers, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch of images, of texts shifted at random on random backgrounds with noise.

    Args:
        texts: Drawn texts.
        papers: Backgrounds.
        rows: Which texts, shape = (batch,).

    Returns:
        Images from 0 to 1, shape = (batch, 3, SIDE, SIDE); class of each patch, shape = (batch, patches); classes of
        ink colour and texture, shape = (batch, 2).
    """
    device, boxes = texts.masks.device, texts.boxes[rows]
    random_shift = torch.randint(-SHIFT, SHIFT + 1, (2, len(rows)), device=device)
    right = random_shift[0].clamp(min=-boxes[:, 0]).minimum(SIDE - 1 - boxes[:, 1])
    down = random_shift[1].clamp(min=-boxes[:, 2]).minimum(SIDE - 1 - boxes[:, 3])
    line = torch.arange(SIDE, device=device)
    from_row, from_column = ((line[None] - shift[:, None]) % SIDE for shift in (down, right))
    masks = texts.masks[rows[:, None, None], from_row[:, :, None], from_column[:, None, :]]
    chosen = torch.randint(len(papers.papers), (len(rows),), device=device)
    ink = masks[:, None].float() / 255
    images = papers.papers[chosen].float() * (1 - ink) + papers.inks[chosen][:, :, None, None] * ink
    noise = 12 * torch.randint(0, 3, (len(rows), 1, 1, 1), device=device) / 2
    images = (images + noise * torch.randn(len(rows), 1, SIDE, SIDE, device=device)).clamp(0, 255) / 255
    centres = texts.centres[rows] + torch.stack([right, down], 1)[:, None]
    return images, label_patches(centres, texts.classes[rows]), papers.styles[chosen]


def label_patches(centres: Tensor, classes: Tensor) -> Tensor:
    """Return the class of each patch, shape = (batch, patches).

    A piece belongs to the patch that holds its centre, or to the next free one, so that the order is kept.

    Args:
        centres: Shape = (batch, pieces, 2), in pixels.
        classes: Shape = (batch, pieces).
    """
    cells = (centres / PATCH).long().clamp(0, GRID - 1)
    wanted = cells[..., 1] * GRID + cells[..., 0]
    labels = torch.zeros(len(classes), GRID * GRID + classes.shape[1], dtype=torch.long, device=classes.device)
    last = torch.full((len(classes),), -1, device=classes.device)
    for piece in range(classes.shape[1]):
        place = torch.maximum(wanted[:, piece], last + 1)
        used = classes[:, piece] > 0
        labels[used, place[used]] = classes[used, piece]
        last = torch.where(used, place, last)
    return labels[:, : GRID * GRID]


def initialize_tower(tower: Any) -> None:
    """Set random weights from which a tower of this size trains fast."""
    initialize(tower)
    nn.init.normal_(tower.embeddings.patch_embedding.weight, std=0.04)
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.3)


class PieceHead(nn.Module):
    """Classifies each patch. Its weight is no `nn.Linear`, so that AdamW trains it, not Muon."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight, self.bias = nn.Parameter(0.02 * torch.randn(classes, width)), nn.Parameter(torch.zeros(classes))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape = (..., classes), for outputs of shape (..., width)."""
        return nn.functional.linear(self.norm(hidden), self.weight, self.bias)


def train_reading_tower(
    encode: Any, tower: nn.Module, width: int, texts: Texts, papers: Papers, classes: int, *, steps: int, batch: int
) -> PieceHead:
    """Train the tower to name the piece of each patch, and ink colour and texture of the image.

    Args:
        encode: Maps images to the tower's outputs, shape = (batch, patches, width).
        tower: The module to train.
        width: Width of the outputs.
        texts: Drawn texts.
        papers: Backgrounds.
        classes: Number of pieces.
        steps: Optimiser steps.
        batch: Images per step.

    Returns:
        The trained head.
    """
    device = texts.masks.device
    head = PieceHead(width, classes).to(device)
    style_heads = nn.ModuleList(MeanHead(width, len(values)) for values in STYLES.values()).to(device)

    def losses() -> Iterator[Tensor]:
        for _ in range(steps):
            rows = torch.randint(len(texts.masks), (batch,), device=device)
            images, labels, styles = compose(texts, papers, rows)
            hidden = encode(images)
            piece = nn.functional.cross_entropy(head(hidden).float().flatten(0, 1), labels.flatten(), reduction="none")
            some = labels.flatten() > 0
            style = [
                nn.functional.cross_entropy(one(hidden).float(), styles[:, i]) for i, one in enumerate(style_heads)
            ]
            yield piece[some].mean() + 0.5 * piece[~some].mean() + 0.2 * sum(style)

    minimise([tower, head, style_heads], losses(), steps, 1.5e-3, "tower")
    return head


@torch.no_grad()
def measure_reading(encode: Any, head: PieceHead, texts: Texts, papers: Papers) -> float:
    """Return the share of texts that the tower reads without a fault, on new backgrounds."""
    right = 0
    for rows in torch.arange(len(texts.masks), device=texts.masks.device).split(500):
        images, labels, _ = compose(texts, papers, rows)
        right += int((head(encode(images)).argmax(-1) == labels).all(1).sum())
    return right / len(texts.masks)
