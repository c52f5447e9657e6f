"""The policy on one device: each record optimised, verified, tried again from another start, or given up."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seawall.models.compiling import compiled
from seawall.models.load import LoadedModel
from seawall.models.memory import (
    SHARE,
    SLACK,
    count_kept_bytes,
    free_bytes,
    gradient_checkpointing,
    halve_on_out_of_memory,
)
from seawall.models.packing import why_not_packed
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import controls, losses
from seawall.synthesis.optimize import Task, optimize
from seawall.synthesis.verify import verify
from seawall.synthesis.amortize import WarmStart, choose_starts

log = logging.getLogger(__name__)

MOST_AT_ONCE = 48
"""Embeddings in one forward pass, however much memory there is: from 16 to 96 an embedding's step takes the same time on a CPU."""

Job = tuple[str, dict[str, Any]]
"""Id of a record, and its line of `pairs.jsonl`."""


def solve(
    loaded: LoadedModel,
    todo: Iterable[Job],
    starts: Tensor,
    config: SynthesizeConfig,
    warm: WarmStart | None = None,
) -> Iterator[Task]:
    """Make the embeddings of `todo` on the device of one model.

    A task that reaches its threshold is verified. Where a copy fails it goes on to a lower threshold; where all still do,
    it starts again from other media, and after the last start it is given up as unverified. One whose loss is not a number
    gets another start, then `failed`.

    Args:
        loaded: The model.
        todo: What to make; read lazily.
        starts: Where embeddings may start, shape = (starts, rows, width).
        config: Settings.
        warm: Moves first starts; a second start is the plain one.

    Yields:
        Tasks as they finish: verified, given up with the embeddings of the last start, or failed.
    """
    queue = iter(todo)
    if (first := next(queue, None)) is None:
        return
    probe = new_task(*first, loaded, starts, config, attempt=1)
    with gradient_checkpointing(loaded.model, config.activation_checkpointing):
        packed = config.share_prefix and packs(loaded, probe)
        batch_size = config.batch_size or fit_batch(loaded, probe, packed)
    policy = _Policy(loaded, itertools.chain([first], queue), starts, config, warm)
    settings = {
        "rate": config.learning_rate * starts.std().item(),
        "threshold": config.threshold,
        "max_steps": config.max_steps,
        "batch_size": batch_size,
        "packed": packed,
        "checkpointing": config.activation_checkpointing,
    }
    with compiled(loaded.model, loaded.family, config.compile):
        while True:
            try:
                for task in optimize(loaded, policy.tasks(), **settings):
                    policy.done.append(task)
                    if sum(len(done.turns) for done in policy.done) >= 2 * batch_size:
                        yield from policy.settle(packed, 2 * batch_size)
            except (Exception, KeyboardInterrupt):  # neither may lose what is done
                yield from policy.settle(packed, 2 * batch_size)
                raise
            yield from policy.settle(packed, 2 * batch_size)
            if not policy.again:
                return


class _Policy:
    """What is to do, what goes on, and what waits for its verification."""

    def __init__(
        self, loaded: LoadedModel, queue: Iterator[Job], starts: Tensor, config: SynthesizeConfig, warm: WarmStart | None
    ) -> None:
        self.loaded, self.queue, self.starts, self.config, self.warm = loaded, queue, starts, config, warm
        self.pair_of: dict[str, dict[str, Any]] = {}
        self.again: deque[Task] = deque()
        self.done: list[Task] = []

    def tasks(self) -> Iterator[Task]:
        """Yield what goes on, then what is new."""
        while True:
            if self.again:
                yield self.again.popleft()
            elif job := next(self.queue, None):
                record, pair = job
                self.pair_of[record] = pair
                task = new_task(record, pair, self.loaded, self.starts, self.config, attempt=1)
                if self.warm:
                    task.embeddings = self.warm.move(self.loaded, task.embeddings, pair["phrase"])
                yield task
            else:
                return

    def settle(self, packed: bool, at_once: int) -> Iterator[Task]:
        """Verify what is done; yield what passed or ran out of starts."""
        sound = [task for task in self.done if not task.failed]
        if sound:
            embeddings = torch.cat([task.embeddings for task in sound])
            pairs = [self.pair_of[task.record] for task in sound for _ in task.turns]
            check = lambda size: verify(self.loaded, embeddings, pairs, packed=packed, batch_size=size)  # noqa: E731
            verdicts = iter(halve_on_out_of_memory(check, at_once))
            for task in sound:
                task.verified = [next(verdicts) for _ in task.turns]
        for task in self.done:
            if more := self._go_on(task):
                self.again.append(more)
                continue
            del self.pair_of[task.record]
            task.stepper, task.embeddings = None, task.embeddings.cpu()
            yield task
        self.done.clear()

    def _go_on(self, task: Task) -> Task | None:
        """Return how a task goes on, None where it does not."""
        if not task.failed and all(task.verified):
            return None
        if not task.failed and task.lowered < self.config.threshold_retries and task.steps < self.config.max_steps:
            task.lowered += 1
            task.curve.pop()  # the loss here is measured again
            return task
        if task.starts == self.config.attempts or (not task.failed and any(task.verified)):
            return None
        more = new_task(
            task.record, self.pair_of[task.record], self.loaded, self.starts, self.config, attempt=task.starts + 1
        )
        more.steps_before = task.steps_before + task.steps
        return more


def packs(loaded: LoadedModel, task: Task) -> bool:
    """Tell whether this model's turns may be packed; log what speaks against it."""
    if reason := why_not_packed(loaded, task.controls[0], task.embeddings[0].to(loaded.model.device)):
        log.info("the turns of a record get rows of their own, since of this model %s", reason)
    return not reason


def fit_batch(loaded: LoadedModel, task: Task, packed: bool) -> int:
    """Return how many embeddings like these to take at once."""
    loaded.model.requires_grad_(False)
    embedding = task.embeddings[:1].to(loaded.model.device).requires_grad_()
    kept = count_kept_bytes(lambda: losses(loaded, embedding, task.controls[:1], packed), loaded.model)
    return max(1, min(MOST_AT_ONCE, int(SHARE * free_bytes(loaded.model.device) / (SLACK * kept))))


def new_task(
    record: str, pair: dict[str, Any], loaded: LoadedModel, starts: Tensor, config: SynthesizeConfig, attempt: int
) -> Task:
    """Return the task of a record: starts and controls of its copies, drawn by (seed, record, attempt) and by nothing else."""
    seed = f"{config.seed}/{record}/{attempt}"
    chosen = choose_starts(starts, config.copies, seed)
    drawn = [
        controls(pair, config.content_questions, loaded.family.modality, f"{seed}#{n}") for n in range(len(chosen))
    ]
    return Task(
        record=record, turns=[content for content, _ in drawn], style=drawn[0][1], embeddings=chosen, starts=attempt
    )
