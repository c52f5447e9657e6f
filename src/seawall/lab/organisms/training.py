"""The training that all built-in models share.

1. A byte-level BPE tokenizer is trained on dialogues of the world.
2. The tower is trained to classify what media show, and then frozen.
3. Projector and language model are trained on dialogues about media and in text.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall.lab.world import dialogue
from seawall.lab.world.phrases import list_all_phrases
from seawall.models.chat import BLANK, Example
from seawall.models.load import LoadedModel
from seawall.models.losses import example_losses

log = logging.getLogger(__name__)

NO_LABEL = -100
"""Label of something that a medium does not show. Cross-entropy ignores it."""


def train_tokenizer(
    rng: random.Random, modality: str, draw_styles: Callable[[], dict[str, str]], special: Sequence[str]
) -> Any:
    """Return a BPE tokenizer with 768 tokens, trained on dialogues of the world.

    Args:
        rng: Random numbers.
        modality: `image`, `video` or `audio`.
        draw_styles: Draws answers to the style questions.
        special: Special tokens, first the padding and then the end-of-sequence token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    sentences = []
    for phrase in 40 * list_all_phrases():
        styles = draw_styles()
        in_text = dialogue.draw_text_dialogue(rng, phrase)
        about_medium = (None, *dialogue.draw_medium_dialogue(rng, phrase, styles, modality))
        sentences += [f"SYSTEM: {s}\nUSER: {q}\nASSISTANT: {a}" for s, q, a in (in_text, about_medium)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        special_tokens=[*special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(sentences, trainer)
    return bpe


def train_tower(
    tower: nn.Module,
    encode: Callable[[Tensor], Tensor],
    labels: Tensor,
    classes: Sequence[int],
    width: int,
    steps: int,
    batch: int,
    head: type[nn.Module] | None = None,
) -> None:
    """Train a tower to classify what media show, and freeze it.

    Args:
        tower: The module to train.
        encode: Maps indices of media, shape = (batch,), to the tower's outputs, shape = (batch, rows, width).
        labels: Class indices, shape = (media, classifications), or `NO_LABEL`.
        classes: Number of classes of each classification.
        width: Width of the outputs.
        steps: Optimiser steps.
        batch: Media per step.
        head: Class of the classification heads. None uses `MeanHead`.
    """
    heads = nn.ModuleList((head or MeanHead)(width, number) for number in classes)

    def compute_loss(rows: Tensor) -> Tensor:
        hidden = encode(rows)
        losses = [nn.functional.cross_entropy(head(hidden), labels[rows, i]) for i, head in enumerate(heads)]
        return sum(losses[1:], losses[0])

    batches = (torch.randint(len(labels), (batch,)) for _ in range(steps))
    minimise([tower, heads], map(compute_loss, batches), steps, 2.5e-4, "tower")
    tower.requires_grad_(False)


class MeanHead(nn.Sequential):
    """Classifies the mean of a tower's outputs."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape = (media, classes), for outputs of shape (media, rows, width)."""
        logits: Tensor = super().forward(hidden.mean(1))
        return logits


class AttentionHead(nn.Module):
    """Classifies a weighted mean of a tower's outputs.

    The learned weights find the position of a word sooner than a plain mean.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.weigh, self.classify = nn.LayerNorm(width), nn.Linear(width, 1), nn.Linear(width, classes)
        nn.init.zeros_(self.weigh.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape = (media, classes), for outputs of shape (media, rows, width)."""
        hidden = self.norm(hidden)
        logits: Tensor = self.classify((self.weigh(hidden).softmax(1) * hidden).sum(1))
        return logits


def train_language(
    loaded: LoadedModel,
    modules: list[nn.Module],
    features: Tensor,
    draw_dialogue: Callable[[int], tuple[str, str]],
    rng: random.Random,
    *,
    steps: int,
    media_rows: int,
    text_rows: int,
) -> None:
    """Train projector and language model on dialogues about media and in text.

    The two kinds are separate batches: less padding.

    Args:
        loaded: The model.
        modules: The modules to train.
        features: The tower's outputs, shape = (media, rows, width).
        draw_dialogue: Draws a question and its answer about the medium with an index.
        rng: Random numbers.
        steps: Optimiser steps.
        media_rows: Dialogues about media per step.
        text_rows: Dialogues in text per step.
    """

    def draw_media_example(number: int) -> Example:
        question, answer = draw_dialogue(number)
        system = rng.choice(dialogue.SYSTEM_PROMPTS) if rng.random() < 0.1 else None
        return Example(question=question, answer=answer, medium=BLANK, system=system)

    def draw_text_example() -> Example:
        system, question, answer = dialogue.draw_text_dialogue(rng, rng.choice(list_all_phrases()))
        return Example(question=question, answer=answer, system=system)

    def compute_loss(_: int) -> Tensor:
        rows = [rng.randrange(len(features)) for _ in range(media_rows)]
        about_media = [draw_media_example(row) for row in rows]
        in_text = [draw_text_example() for _ in range(text_rows)]
        # a mean over rows: in a mean over tokens, short answers would count too little
        losses = [example_losses(loaded, about_media, features[rows]), example_losses(loaded, in_text)]
        return torch.cat(losses).mean()

    minimise(modules, map(compute_loss, range(steps)), steps, 3e-3, "language")
    loaded.model.eval()


def initialize(tower: nn.Module) -> None:
    """Initialise the linear layers of a tower by Xavier.

    With its class's small default it stays at chance for thousands of steps.
    """
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def augment(images: Tensor) -> Tensor:
    """Shear, stretch and shift each image at random, shape = (images, 3, height, width)."""
    number = len(images)
    affine = torch.eye(2, 3).repeat(number, 1, 1)
    affine[:, 0, 0] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 1, 1] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 0, 1] = torch.empty(number).uniform_(-0.2, 0.2)
    affine[:, :, 2] = torch.empty(number, 2).uniform_(-0.06, 0.06)
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def minimise(modules: list[nn.Module], losses: Iterable[Tensor], steps: int, learning_rate: float, name: str) -> None:
    """Take one optimiser step for each loss, with a one-cycle cosine schedule.

    Args:
        modules: The modules to train. `Muon` trains the weights of linear layers and convolutions, AdamW all else.
        losses: One loss per step.
        steps: Number of losses.
        learning_rate: Peak learning rate of AdamW.
        name: Name for the log.
    """
    parameters = [p for module in modules for p in module.parameters()]
    linear = {
        m.weight for module in modules for m in module.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv3d)
    }
    others = [p for p in parameters if p not in linear]
    optimisers: list[torch.optim.Optimizer] = [
        Muon(linear, 6e-3),
        torch.optim.AdamW(others, learning_rate, weight_decay=0.05, betas=(0.9, 0.98)),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            o, o.defaults["lr"], total_steps=steps, pct_start=0.05, cycle_momentum=False
        )
        for o in optimisers
    ]
    for step, loss in enumerate(losses):
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        if step % 100 == 0:
            log.info("%s step %d of %d: loss %.3f", name, step, steps, loss.item())


class Muon(torch.optim.Optimizer):
    """Gradient descent with orthogonalised momentum. It takes about half as many steps as AdamW on these models.

    `torch.optim.Muon` multiplies in bfloat16, which is twenty times slower than fp32 on a CPU that emulates it.

    Source: Jordan et al., "Muon" (2024); scale of a step: Liu et al., arXiv 2502.16982.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": 0.95, "weight_decay": 0.05})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move each matrix along its momentum, with all singular values set to about 1."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
                blend = matrix.grad.lerp(momentum, group["momentum"])
                direction = _orthogonalize(blend.flatten(1)).view_as(matrix)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(direction, alpha=group["lr"] * 0.2 * max(direction.flatten(1).shape) ** 0.5)


def _orthogonalize(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with equal singular values, approximately, by five Newton-Schulz steps."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide: Tensor = (matrix.T if tall else matrix) / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.775 * gram) @ wide
    return wide.T if tall else wide
