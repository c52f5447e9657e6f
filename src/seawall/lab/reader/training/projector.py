"""Training of tower and projector towards the language model's input embeddings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seawall.lab.reader.training.tower import Papers, Texts, compose

log = logging.getLogger(__name__)

PROJECTOR_RATE, TOWER_RATE = 2e-3, 3e-4
"""Peak learning rates."""
SHARPNESS, PULL = 1.5, 0.3
"""Factor of the squared distances in the softmax over pieces, and weight of the distance to the right piece."""
BLANKS = 0.02
"""Share of the empty patches in the loss. There are far more of them than pieces."""


def fit_embeddings(
    encode: Callable[[Tensor], Tensor],
    tower: nn.Module,
    projector: Any,
    targets: Tensor,
    texts: Texts,
    papers: Papers,
    *,
    steps: int,
    batch: int,
) -> None:
    """Train tower and projector so that each patch becomes the embedding of the piece that it shows.

    Args:
        encode: Maps images to the projector's inputs, shape = (images, patches, width).
        tower: The tower.
        projector: The projector of a LLaVA model.
        targets: Embedding of each class of the tower, shape = (classes, width of the language model).
        texts: Drawn texts.
        papers: Backgrounds.
        steps: Optimiser steps.
        batch: Images per step.
    """
    nn.init.normal_(projector.linear_2.weight, std=0.002)
    with torch.no_grad():
        projector.linear_2.bias.copy_(targets.mean(0))
    groups = [{"params": [*projector.parameters()]}, {"params": [*tower.parameters()]}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [PROJECTOR_RATE, TOWER_RATE], total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(texts.words), (batch,), device=targets.device)
        images, labels, _ = compose(texts, papers, rows)
        wanted = labels.flatten()
        used = (wanted > 0) | (torch.rand(len(wanted), device=targets.device) < BLANKS)
        projected, wanted = projector(encode(images).flatten(0, 1)[used]), wanted[used]
        distances = torch.cdist(projected, targets) ** 2
        loss = nn.functional.cross_entropy(-SHARPNESS * distances, wanted)
        loss = loss + PULL * distances.gather(1, wanted[:, None]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            nearest = (distances.argmin(1) == wanted)[wanted > 0].float().mean().item()
            log.info("projector step %d: loss %.3f, nearest piece right %.3f", step, loss.item(), nearest)
