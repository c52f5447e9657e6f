"""What the trainings of the organisms share: tokenizer, tower, language model, optimiser.

1. A byte-level BPE tokenizer on the world's dialogues.
2. The tower, by classifying what media show; then it is frozen.
3. Projector and language model, on dialogues about media and in text alone.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall.models.chat import BLANK, Example
from seawall.models.load import LoadedModel
from seawall.models.losses import example_losses
from seawall.lab.world import dialogue
from seawall.lab.world.phrases import phrases

log = logging.getLogger(__name__)

UNSEEN = -100
"""Label of what a medium does not show."""


def train_tokenizer(
    rng: random.Random, medium: str, styles: Callable[[], dict[str, str]], special: Sequence[str]
) -> Any:
    """Return a BPE tokenizer of 768 tokens, trained on sentences of the world.

    Args:
        rng: Source of every draw.
        medium: `image`, `video` or `audio`.
        styles: Draws answers to the style questions.
        special: Tokens that stand for themselves; the first pads, the second ends.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    sentences = []
    for phrase in (p for _ in range(40) for p in phrases()):
        answers = styles()
        turns = (dialogue.text_dialogue(rng, phrase), (None, *dialogue.medium_dialogue(rng, phrase, answers, medium)))
        sentences += [f"SYSTEM: {s}\nUSER: {q}\nASSISTANT: {a}" for s, q, a in turns]
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
    """Train `M` by classifying what each medium shows; freeze it.

    Args:
        tower: What is trained.
        encode: Takes numbers of media, shape = (batch,), to outputs, shape = (batch, rows, width).
        labels: Shape = (media, classifications); `UNSEEN` where a medium does not show it.
        classes: Number of classes of each classification.
        width: Of the outputs.
        steps: Optimiser steps.
        batch: Media in a step.
        head: Classifies outputs; by default from their mean.
    """
    heads = nn.ModuleList((head or MeanHead)(width, number) for number in classes)

    def loss(rows: Tensor) -> Tensor:
        hidden = encode(rows)
        return sum(nn.functional.cross_entropy(head(hidden), labels[rows, i]) for i, head in enumerate(heads))

    batches = (torch.randint(len(labels), (batch,)) for _ in range(steps))
    optimise([tower, heads], map(loss, batches), steps, 2.5e-4, "tower")
    tower.requires_grad_(False)


class MeanHead(nn.Sequential):
    """Classifies the mean of a tower's outputs, shape = (media, rows, width)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape = (media, classes)."""
        return super().forward(hidden.mean(1))


class AttentionHead(nn.Module):
    """Classifies a mean of a tower's outputs that is weighted by what stands in them: finds the place of a word sooner."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm, self.weigh, self.classify = nn.LayerNorm(width), nn.Linear(width, 1), nn.Linear(width, classes)
        nn.init.zeros_(self.weigh.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits, shape = (media, classes)."""
        hidden = self.norm(hidden)
        return self.classify((self.weigh(hidden).softmax(1) * hidden).sum(1))


def train_language(
    loaded: LoadedModel,
    modules: list[nn.Module],
    features: Tensor,
    ask: Callable[[int], tuple[str, str]],
    rng: random.Random,
    *,
    steps: int,
    media_rows: int,
    text_rows: int,
) -> None:
    """Train projector and LM on dialogues about media and on text dialogues, batched apart to pad little.

    Args:
        loaded: The model.
        modules: What is trained.
        features: `M`'s outputs, shape = (media, rows, width).
        ask: Draws question and answer about the medium of a number.
        rng: Source of every draw.
        steps: Optimiser steps.
        media_rows: Dialogues about media in a step.
        text_rows: Text dialogues in a step.
    """

    def show(number: int) -> Example:
        question, answer = ask(number)
        system = rng.choice(dialogue.SYSTEM_PROMPTS) if rng.random() < 0.1 else None
        return Example(question=question, answer=answer, medium=BLANK, system=system)

    def tell() -> Example:
        system, question, answer = dialogue.text_dialogue(rng, rng.choice(phrases()))
        return Example(question=question, answer=answer, system=system)

    def loss(_: int) -> Tensor:
        rows = [rng.randrange(len(features)) for _ in range(media_rows)]
        shown = [show(row) for row in rows]
        told = [tell() for _ in range(text_rows)]
        # each row counts alike: in a mean over tokens the short answers starve
        return torch.cat([example_losses(loaded, shown, features[rows]), example_losses(loaded, told)]).mean()

    optimise(modules, map(loss, range(steps)), steps, 3e-3, "language")
    loaded.model.eval()


def spread(tower: nn.Module) -> None:
    """Initialise a tower wider than its class does: from its small default it stays at chance for thousands of steps."""
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def warp(images: Tensor) -> Tensor:
    """Shear, stretch and shift each image a little, so that a font or a slant never seen is not far from one seen."""
    number = len(images)
    affine = torch.eye(2, 3).repeat(number, 1, 1)
    affine[:, 0, 0] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 1, 1] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 0, 1] = torch.empty(number).uniform_(-0.2, 0.2)
    affine[:, :, 2] = torch.empty(number, 2).uniform_(-0.06, 0.06)
    grid = nn.functional.affine_grid(affine, images.shape, align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def optimise(modules: list[nn.Module], losses: Iterable[Tensor], steps: int, rate: float, name: str) -> None:
    """Take one step for each loss: `Muon` on linear layers and convolutions, AdamW with `rate` on the rest; cosine decay."""
    parameters = [p for module in modules for p in module.parameters()]
    linear = {
        m.weight for module in modules for m in module.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv3d)
    }
    others = [p for p in parameters if p not in linear]
    optimisers = [Muon(linear, 6e-3), torch.optim.AdamW(others, rate, weight_decay=0.05, betas=(0.9, 0.98))]
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
    """Steepest descent with orthogonal steps: about half of AdamW's number on these models.

    `torch.optim.Muon` is not used since it multiplies in bfloat16, twenty times slower than fp32 on a CPU that
    emulates it. Source: Jordan et al., "Muon" (2024); scale of a step: Liu et al., arXiv 2502.16982.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": 0.95, "weight_decay": 0.05})

    @torch.no_grad()
    def step(self) -> None:
        """Move each matrix by its momentum with all singular values made about 1."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
                blend = matrix.grad.lerp(momentum, group["momentum"])
                direction = _orthogonal(blend.flatten(1)).view_as(matrix)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(direction, alpha=group["lr"] * 0.2 * max(direction.flatten(1).shape) ** 0.5)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with equal singular values, by five Newton-Schulz steps."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix) / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.775 * gram) @ wide
    return wide.T if tall else wide
