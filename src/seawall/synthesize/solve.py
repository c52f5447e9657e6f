"""The policy on one device: each record optimised, verified, tried again from another start, or given up."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seawall.models.load import Loaded
from seawall.models.memory import (
    SHARE,
    SLACK,
    count_kept_bytes,
    free_bytes,
    gradient_checkpointing,
    halve_on_out_of_memory,
)
from seawall.models.packing import why_not_packed
from seawall.synthesize import SynthesizeConfig
from seawall.synthesize.objective import controls, losses
from seawall.synthesize.optimize import Task, optimize
from seawall.synthesize.verify import verify
from seawall.synthesize.warmstart import choose_starts

log = logging.getLogger(__name__)

MOST_AT_ONCE = 48
"""Embeddings in one forward pass, however much memory there is: a larger batch is no faster on any machine measured."""

Job = tuple[str, dict[str, Any]]
"""Id of a record, and its line of `pairs.jsonl`."""


def solve(loaded: Loaded, todo: Iterable[Job], starts: Tensor, config: SynthesizeConfig) -> Iterator[Task]:
    """Make the embeddings of `todo` on the device of one model.

    A task that reaches its threshold is verified. Where a copy fails it goes on to a lower threshold; where all still do
    it starts again from other media, and after the last start they are given up as unverified. One whose loss is not a number
    gets another start, then `failed`.

    Args:
        loaded: The model.
        todo: What to make; read lazily.
        starts: Where embeddings may start, shape = (starts, rows, width).
        config: Settings.

    Yields:
        Tasks as they finish: verified, given up with the embeddings of the last start, or failed.
    """
    queue = iter(todo)
    first = next(queue, None)
    if first is None:
        return
    queue = itertools.chain([first], queue)
    pair_of: dict[str, dict] = {}
    again: deque[Task] = deque()
    done: list[Task] = []
    probe = new_task(*first, loaded, starts, config, attempt=1)
    packed = config.packing and packs(loaded, probe)
    batch_size = config.batch_size or fit_batch(loaded, probe, packed, config.activation_checkpointing)

    def tasks() -> Iterator[Task]:
        while True:
            if again:
                yield again.popleft()
            elif job := next(queue, None):
                record, pair_of[record] = job
                yield new_task(*job, loaded, starts, config, attempt=1)
            else:
                return

    def settle() -> Iterator[Task]:
        """Verify what is done; what passed or ran out of starts is final."""
        sound = [task for task in done if not task.failed]
        if sound:
            embeddings = torch.cat([task.embeddings for task in sound])
            pairs = [pair_of[task.record] for task in sound for _ in task.turns]
            check = lambda size: verify(loaded, embeddings, pairs, packed=packed, batch_size=size)  # noqa: E731
            verdicts = iter(halve_on_out_of_memory(check, 2 * batch_size))
            for task in sound:
                task.verified = [next(verdicts) for _ in task.turns]
        for task in done:
            if more := _go_on(task, pair_of[task.record], loaded, starts, config):
                again.append(more)
                continue
            del pair_of[task.record]
            task.stepper, task.embeddings = None, task.embeddings.cpu()
            yield task
        done.clear()

    settings = {
        "rate": config.rate * starts.std().item(),
        "threshold": config.threshold,
        "max_steps": config.max_steps,
        "batch_size": batch_size,
        "packed": packed,
        "checkpointing": config.activation_checkpointing,
    }
    while True:
        try:
            for task in optimize(loaded, tasks(), **settings):
                done.append(task)
                if sum(len(ready.turns) for ready in done) >= 2 * batch_size:
                    yield from settle()
        except (Exception, KeyboardInterrupt):  # neither may lose what is done
            yield from settle()
            raise
        yield from settle()
        if not again:
            return


def packs(loaded: Loaded, task: Task) -> bool:
    """Tell whether this model's turns may be packed; log what speaks against it."""
    if reason := why_not_packed(loaded, task.controls[0], task.embeddings[0].to(loaded.model.device)):
        log.info("the turns of a record get rows of their own, since of this model %s", reason)
    return not reason


def fit_batch(loaded: Loaded, task: Task, packed: bool, checkpointing: bool = False) -> int:
    """Return how many embeddings like these to take at once."""
    loaded.model.requires_grad_(False)
    embedding = task.embeddings[:1].to(loaded.model.device).requires_grad_()
    with gradient_checkpointing(loaded.model, checkpointing):
        kept = count_kept_bytes(lambda: losses(loaded, embedding, task.controls[:1], packed), loaded.model)
    return max(1, min(MOST_AT_ONCE, int(SHARE * free_bytes(loaded.model.device) / (SLACK * kept))))


def _go_on(task: Task, pair: dict[str, Any], loaded: Loaded, starts: Tensor, config: SynthesizeConfig) -> Task | None:
    """Return how a task goes on, None where it does not."""
    if not task.failed and all(task.verified):
        return None
    if not task.failed and task.lowered < config.lowerings and task.steps < config.max_steps:
        task.lowered += 1
        task.curve.pop()  # the loss here is measured again
        return task
    if task.starts == config.starts or (not task.failed and any(task.verified)):
        return None
    more = new_task(task.record, pair, loaded, starts, config, attempt=task.starts + 1)
    more.steps_before = task.steps_before + task.steps
    return more


def new_task(
    record: str, pair: dict[str, Any], loaded: Loaded, starts: Tensor, config: SynthesizeConfig, attempt: int
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
