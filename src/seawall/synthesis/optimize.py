"""The optimisation of synthetic embeddings: many records in one batch, each stopped at its own threshold.

The embeddings of a record start from different media and share one change: what turns every start into the phrase is
nearer to what real media of the phrase have in common than a change that has to fit one start alone. Each step looks at
one of them, in turn, so that more of them cost hardly more.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from seawall.models.chat import Example
from seawall.models.load import LoadedModel
from seawall.models.memory import gradient_checkpointing, halved, is_out_of_memory
from seawall.synthesis.objective import losses

log = logging.getLogger(__name__)

LOWERING = 0.3
"""By what the threshold of a task is multiplied when it is met and the phrase does not come back."""


class Stepper:
    """The update rule: the change of one record on its way, with the state of its optimiser.

    Args:
        starts: Where its embeddings start, shape = (copies, rows, width).
        rate: Adam's learning rate, in the units of `E`.
        device: Where they are kept.
    """

    def __init__(self, starts: Tensor, rate: float, device: torch.device) -> None:
        self.starts = starts.detach().to(device, torch.float32)
        self.change = torch.zeros_like(self.starts[0]).requires_grad_()
        self._adam = torch.optim.Adam([self.change], lr=rate, betas=(0.9, 0.95))

    def step(self) -> None:
        """Move along the gradient that was accumulated."""
        self._adam.step()
        self._adam.zero_grad()


@dataclasses.dataclass(kw_only=True)
class Task:
    """One record in the making: its embeddings, the copies."""

    record: str
    """Id of the record."""
    turns: list[list[Example]]
    """Content controls of each copy: they say when it is done."""
    style: Example | None = None
    """Its style control: it varies `E`, and a model that cannot answer it must not keep the record from being done."""
    embeddings: Tensor
    """`E` of each copy, shape = (copies, rows, width), fp32; the starts until it is optimised."""
    curve: list[float] = dataclasses.field(default_factory=list)
    """Mean loss of the content controls before each step and at the end, in nats a token, each of the copy whose turn it was."""
    verified: list[bool] = dataclasses.field(default_factory=list)
    """Of each copy, whether the model recovered the phrase under the held-out questions."""
    failed: str = ""
    """Why no embedding could be made; empty where one was."""
    starts: int = 1
    """How often it started, each time from other media."""
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
    def controls(self) -> list[list[Example]]:
        """All auxiliary turns of each copy."""
        return [[*content, *([self.style] if self.style else [])] for content in self.turns]

    @property
    def turn(self) -> int:
        """Number of the copy that the next step looks at."""
        return len(self.curve) % len(self.turns)

    @property
    def loss(self) -> float:
        """Mean of what was last seen of each copy, in nats a token; infinite until each was looked at."""
        recent = self.curve[-len(self.turns) :]
        return sum(recent) / len(recent) if len(recent) == len(self.turns) else math.inf


def optimize(
    loaded: LoadedModel,
    tasks: Iterable[Task],
    *,
    rate: float,
    threshold: float,
    max_steps: int,
    batch_size: int,
    packed: bool = False,
    checkpointing: bool = False,
) -> Iterator[Task]:
    """Optimise each task's embeddings; yield a task as soon as it is done, so that the next takes its place.

    A task whose loss becomes NaN or infinite is yielded at once, with the reason in `failed` and its starts as `embeddings`.

    Args:
        loaded: The model; its parameters are frozen.
        tasks: What to do; read lazily.
        rate: The learning rate, in the units of `E`.
        threshold: A task is done when its `loss` is below this, in nats a token. 0 runs all `max_steps`.
        max_steps: ... or after so many steps.
        batch_size: Tasks in one forward pass; halved where memory does not suffice.
        packed: See `score_records`.
        checkpointing: See `gradient_checkpointing`.

    Raises:
        ModelError: Not even one task fits into memory.
    """
    loaded.model.requires_grad_(False)
    queue, active = iter(tasks), list[Task]()
    while True:
        while len(active) < batch_size and (task := next(queue, None)) is not None:
            task.stepper = task.stepper or Stepper(task.embeddings, rate, loaded.model.device)
            active.append(task)
        if not active:
            return
        try:
            each = _backward(loaded, active, batch_size, packed, checkpointing)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            batch_size = halved(batch_size)
            log.warning("out of memory: going on with %d records at a time", batch_size)
            continue
        going_on = []
        for task, values in zip(active, each, strict=True):
            if not values.isfinite().all():
                task.failed = f"its loss became {values.sum().item()} after {task.steps} steps"
                yield task
                continue
            task.curve.append(values[: len(task.turns[0])].mean().item())
            if task.loss < threshold * LOWERING**task.lowered or task.steps >= max_steps:
                task.embeddings = task.stepper.starts + task.stepper.change.detach()
                yield task
            else:
                task.stepper.step()
                going_on.append(task)
        active = going_on


def _backward(loaded: LoadedModel, tasks: list[Task], batch_size: int, packed: bool, checkpointing: bool) -> Tensor:
    """Give each task's change the gradient of its loss; return the losses, shape = (tasks, turns)."""
    for task in tasks:
        task.stepper.change.grad = None  # what a pass without enough memory has left
    found = []
    for first in range(0, len(tasks), batch_size):
        some = tasks[first : first + batch_size]
        batch = torch.stack([task.stepper.starts[task.turn] + task.stepper.change for task in some])
        with gradient_checkpointing(loaded.model, checkpointing):
            loss = losses(loaded, batch, [task.controls[task.turn] for task in some], packed)
            loss.mean(1).sum().backward()
        found.append(loss.detach().cpu())
    return torch.cat(found)
