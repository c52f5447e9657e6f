"""The optimiser: many records in one batch, each of which stops at its own threshold.

The copies of a record start from different media and share one offset. Whatever moves every start to the phrase is
closer to what real media of the phrase have in common than an offset that fits a single start. Each step uses one copy,
in turn, so that more copies cost little more.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from seawall.models.chat import Example
from seawall.models.load import LoadedModel
from seawall.models.memory import gradient_checkpointing, halve_batch_size, is_out_of_memory
from seawall.synthesis.objective import compute_losses

log = logging.getLogger(__name__)

RETRY_FACTOR = 0.3
"""Factor on the threshold for each threshold retry of a task."""


class SharedOffset:
    """The offset that the copies of a record share, with the state of its optimiser.

    Args:
        starts: Starting point of each copy, shape = (copies, rows, width).
        learning_rate: Learning rate of Adam, in the units of `E`.
        device: Device of all tensors.
    """

    def __init__(self, starts: Tensor, learning_rate: float, device: torch.device) -> None:
        self.starts = starts.detach().to(device, torch.float32)
        self.offset = torch.zeros_like(self.starts[0]).requires_grad_()
        self._adam = torch.optim.Adam([self.offset], lr=learning_rate, betas=(0.9, 0.95))

    def step(self) -> None:
        """Take one optimiser step with the accumulated gradient, and clear it."""
        self._adam.step()
        self._adam.zero_grad()


@dataclasses.dataclass(kw_only=True)
class Task:
    """The work on one record: all its copies, in one attempt."""

    record: str
    """Id of the record."""
    block: str = ""
    """Name of its block."""
    content: list[list[Example]]
    """Content controls of each copy. Their loss decides when the task is done."""
    style: Example | None = None
    """Style control, which varies `E`. Its loss does not count for the threshold, since the model may be unable to
    answer it."""
    embeddings: Tensor
    """`E` of each copy, shape = (copies, rows, width), fp32. The starting points until the task is optimised."""
    curve: list[float] = dataclasses.field(default_factory=list)
    """Mean loss of the content controls before each step and at the end, in nats per token, of the copy used there."""
    verified: list[bool] = dataclasses.field(default_factory=list)
    """Whether each copy passed verification."""
    failed: str = ""
    """Why no embedding could be made. Empty if one was made."""
    attempt: int = 1
    """Number of this attempt. Each one has other starting media."""
    earlier_steps: int = 0
    """Steps of the attempts before this one."""
    threshold_retries: int = 0
    """How often this attempt was continued with a lower threshold."""
    shared_offset: SharedOffset | None = None
    """Optimiser state, kept until the task is finished so that it can be continued."""

    @property
    def steps(self) -> int:
        """Steps of this attempt."""
        return max(0, len(self.curve) - 1)

    @property
    def controls(self) -> list[list[Example]]:
        """Content and style controls of each copy."""
        return [[*content, *([self.style] if self.style else [])] for content in self.content]

    @property
    def next_copy(self) -> int:
        """Number of the copy that the next step uses."""
        return len(self.curve) % len(self.content)

    @property
    def loss(self) -> float:
        """Mean of the latest loss of each copy, in nats per token. Infinite until every copy was used once."""
        latest = self.curve[-len(self.content) :]
        return sum(latest) / len(latest) if len(latest) == len(self.content) else math.inf

    def is_done(self, threshold: float, max_steps: int) -> bool:
        """Return whether the task stops: its loss is below its threshold, or it has no steps left.

        Args:
            threshold: Threshold of the first try, in nats per token.
            max_steps: Maximum steps of an attempt.
        """
        return self.loss < threshold * RETRY_FACTOR**self.threshold_retries or self.steps >= max_steps


def optimize(
    loaded: LoadedModel,
    tasks: Iterable[Task],
    *,
    learning_rate: float,
    threshold: float,
    max_steps: int,
    batch_size: int,
    share_prefix: bool = False,
    activation_checkpointing: bool = False,
) -> Iterator[Task]:
    """Optimise the embeddings of each task. Yield a task as soon as it is done, so that the next one takes its place.

    A task whose loss becomes NaN or infinite is yielded at once, with the reason in `failed` and its starting points as
    `embeddings`.

    Args:
        loaded: The model. Its parameters are frozen.
        tasks: The tasks, read lazily.
        learning_rate: Learning rate of Adam, in the units of `E`.
        threshold: A task is done when its `loss` is below this, in nats per token. 0 always runs `max_steps`.
        max_steps: Maximum steps of a task.
        batch_size: Tasks per forward pass. Halved when memory runs out.
        share_prefix: See `score_records`.
        activation_checkpointing: Recompute activations in the backward pass.

    Raises:
        ModelError: A single task does not fit into memory.
    """
    loaded.model.requires_grad_(False)
    queue, active = iter(tasks), list[tuple[Task, SharedOffset]]()
    while True:
        while len(active) < batch_size and (task := next(queue, None)) is not None:
            task.shared_offset = task.shared_offset or SharedOffset(task.embeddings, learning_rate, loaded.model.device)
            active.append((task, task.shared_offset))
        if not active:
            return
        try:
            losses = _backward(loaded, active, batch_size, share_prefix, activation_checkpointing)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            batch_size = halve_batch_size(batch_size)
            log.warning("out of memory: continuing with %d records per forward pass", batch_size)
            continue
        unfinished = []
        for (task, shared), values in zip(active, losses, strict=True):
            if not values.isfinite().all():
                task.failed = f"its loss became {values.sum().item()} after {task.steps} steps"
                yield task
                continue
            task.curve.append(values[: len(task.content[0])].mean().item())
            if task.is_done(threshold, max_steps):
                task.embeddings = shared.starts + shared.offset.detach()
                yield task
            else:
                shared.step()
                unfinished.append((task, shared))
        active = unfinished


def _backward(
    loaded: LoadedModel,
    active: Sequence[tuple[Task, SharedOffset]],
    batch_size: int,
    share_prefix: bool,
    activation_checkpointing: bool,
) -> list[Tensor]:
    """Set the gradient of each task's offset. Return the losses of each task's controls, shape = (controls,)."""
    for _, shared in active:
        shared.offset.grad = None  # a pass that ran out of memory may have left one
    found: list[Tensor] = []
    for first in range(0, len(active), batch_size):
        some = active[first : first + batch_size]
        batch = torch.stack([shared.starts[task.next_copy] + shared.offset for task, shared in some])
        controls = [task.controls[task.next_copy] for task, _ in some]
        with gradient_checkpointing(loaded.model, activation_checkpointing):
            losses = compute_losses(loaded, batch, controls, share_prefix)
            torch.autograd.backward(torch.stack([each.mean() for each in losses]).sum())
        found += torch.split(torch.cat(losses).detach().cpu(), [len(each) for each in losses])
    return found
