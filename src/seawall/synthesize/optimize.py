"""The optimisation of synthetic embeddings: many records in one batch, each stopped at its own threshold."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from seawall.models.chat import Turn
from seawall.models.load import Loaded
from seawall.models.memory import gradient_checkpointing, halved, is_out_of_memory
from seawall.synthesize.objective import losses

log = logging.getLogger(__name__)

LOWERING = 0.3
"""By what the threshold of a task is multiplied when it is met and the phrase does not come back."""


class Stepper:
    """The update rule: one embedding on its way, with the state of its optimiser.

    Args:
        start: Where it starts, shape = (rows, width).
        rate: Adam's learning rate, in the units of `E`.
        device: Where it is kept.
    """

    def __init__(self, start: Tensor, rate: float, device: torch.device) -> None:
        self.embedding = start.detach().to(device, torch.float32, copy=True).requires_grad_()
        self._adam = torch.optim.Adam([self.embedding], lr=rate, betas=(0.9, 0.95))

    def step(self) -> None:
        """Move along the gradient that was accumulated."""
        self._adam.step()
        self._adam.zero_grad()


@dataclasses.dataclass(kw_only=True)
class Task:
    """One embedding in the making."""

    key: str
    """`<record id>#<copy>`."""
    turns: list[Turn]
    """Its content controls: they say when it is done."""
    style: Turn | None = None
    """Its style control: it varies `E`, and a model that cannot answer it must not keep the record from being done."""
    embedding: Tensor
    """`E`, shape = (rows, width), fp32; the start until it is optimised."""
    curve: list[float] = dataclasses.field(default_factory=list)
    """Loss of the content controls before each step and at the end, in nats a token."""
    verified: bool = False
    """Whether the model recovered the phrase under the held-out questions."""
    failed: str = ""
    """Why no embedding could be made; empty where one was."""
    starts: int = 1
    """How many starts it took."""
    steps_before: int = 0
    """Steps taken from earlier starts."""
    lowered: int = 0
    """How often its threshold was lowered since this start."""
    stepper: Stepper | None = None
    """What it goes on with, where it is continued."""

    @property
    def steps(self) -> int:
        """Steps taken from this start."""
        return max(0, len(self.curve) - 1)

    @property
    def controls(self) -> list[Turn]:
        """All its auxiliary turns."""
        return [*self.turns, *([self.style] if self.style else [])]


def optimize(
    loaded: Loaded,
    tasks: Iterable[Task],
    *,
    rate: float,
    threshold: float,
    max_steps: int,
    batch_size: int,
    packed: bool = False,
    checkpointing: bool = False,
) -> Iterator[Task]:
    """Optimise each task's embedding; yield a task as soon as it is done, so that the next takes its place.

    A task whose loss becomes NaN or infinite is yielded at once, with the reason in `failed` and its start as `embedding`.

    Args:
        loaded: The model; its parameters are frozen.
        tasks: What to do; read lazily.
        rate: The learning rate, in the units of `E`.
        threshold: A task is done when the loss of its content controls is below this, in nats a token. 0 runs all
            `max_steps`.
        max_steps: ... or after so many steps.
        batch_size: Tasks in one forward pass; halved where memory does not suffice.
        packed: See `score_records`.
        checkpointing: See `gradient_checkpointing`.

    Raises:
        ModelError: Not even one task fits into memory.
    """
    loaded.model.requires_grad_(False)
    queue, waiting, active = iter(tasks), deque[Task](), list[Task]()
    while True:
        while len(active) < batch_size and (task := waiting.popleft() if waiting else next(queue, None)) is not None:
            task.stepper = task.stepper or Stepper(task.embedding, rate, loaded.model.device)
            active.append(task)
        if not active:
            return
        if (each := _backward(loaded, active, packed, checkpointing)) is None:
            batch_size = halved(len(active))
            waiting.extendleft(reversed(active[batch_size:]))
            del active[batch_size:]
            log.warning("out of memory: going on with %d records at a time", batch_size)
            continue
        going_on = []
        for task, values in zip(active, each, strict=True):
            if not math.isfinite(sum(values)):
                task.failed = f"its loss became {sum(values)} after {task.steps} steps"
                yield task
                continue
            task.curve.append(sum(values[: len(task.turns)]) / len(task.turns))
            if task.curve[-1] < threshold * LOWERING**task.lowered or task.steps >= max_steps:
                task.embedding = task.stepper.embedding.detach()
                yield task
            else:
                task.stepper.step()
                going_on.append(task)
        active = going_on


def _backward(loaded: Loaded, tasks: list[Task], packed: bool, checkpointing: bool) -> list[list[float]] | None:
    """Add to each task's embedding the gradient of its loss; return the losses of its controls, None without memory."""
    try:
        batch = torch.stack([task.stepper.embedding for task in tasks])
        with gradient_checkpointing(loaded.model, checkpointing):
            loss = losses(loaded, batch, [task.controls for task in tasks], packed)
            loss.mean(1).sum().backward()
        return loss.tolist()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    for task in tasks:  # a backward pass that was cut short may have left some
        task.stepper.embedding.grad = None
    return None
