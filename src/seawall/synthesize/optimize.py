"""The optimisation of synthetic embeddings: many records in one batch, each stopped at its own threshold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from seawall.errors import TrainingError
from seawall.models.chat import Turn
from seawall.models.load import Loaded
from seawall.synthesize.objective import losses


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
    """Why there is no good embedding ("the loss became nan after 3 steps"); empty where the optimisation ended well."""
    starts: int = 1
    """How many starts it took."""
    steps_before: int = 0
    """Steps taken from earlier starts."""

    @property
    def steps(self) -> int:
        """Steps taken from this start."""
        return max(0, len(self.curve) - 1)


def optimize(
    loaded: Loaded,
    tasks: Iterable[Task],
    *,
    rate: float,
    threshold: float,
    max_steps: int,
    batch_size: int,
) -> Iterator[Task]:
    """Optimise each task's embedding; yield a task as soon as it is done, so that the next takes its place.

    Args:
        loaded: The model; its parameters are frozen.
        tasks: What to do; read lazily.
        rate: Adam's learning rate, in the units of `E`.
        threshold: A task is done when the loss of its content controls is below this, in nats a token. 0 runs all
            `max_steps`.
        max_steps: ... or after so many steps.
        batch_size: Tasks in one forward pass.

    Raises:
        TrainingError: A loss became NaN or infinite. What was yielded before stays good.
    """
    loaded.model.requires_grad_(False)
    queue, active = iter(tasks), []
    while True:
        while len(active) < batch_size and (task := next(queue, None)) is not None:
            parameter = task.embedding.detach().clone().float().requires_grad_()
            active.append((task, parameter, torch.optim.Adam([parameter], lr=rate, betas=(0.9, 0.95))))
        if not active:
            return
        batch = torch.stack([parameter for _, parameter, _ in active])
        loss = losses(loaded, batch, [[*task.turns, *([task.style] if task.style else [])] for task, _, _ in active])
        loss.mean(1).sum().backward()
        going_on = []
        for (task, parameter, adam), each in zip(active, loss.tolist(), strict=True):
            value = sum(each[: len(task.turns)]) / len(task.turns)
            if not math.isfinite(sum(each)):
                raise TrainingError(
                    f"The synthesis of {task.key!r} reached a loss of {sum(each)} after {task.steps} steps. Finished embeddings "
                    "are kept; lower the rate, or check the model's precision, and run again with another --out."
                )
            task.curve.append(value)
            if value < threshold or task.steps >= max_steps:
                task.embedding = parameter.detach()
                yield task
            else:
                adam.step()
                adam.zero_grad()
                going_on.append((task, parameter, adam))
        active = going_on
