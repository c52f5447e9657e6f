"""The policy on one device: each record optimised, verified, tried again from another start, or given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seawall.models.load import Loaded
from seawall.synthesize import SynthesizeConfig
from seawall.synthesize.objective import controls
from seawall.synthesize.optimize import Task, optimize
from seawall.synthesize.verify import verify
from seawall.synthesize.warmstart import choose_start

Job = tuple[str, dict[str, Any]]
"""Key of an embedding, and its record's line of `pairs.jsonl`."""


def solve(loaded: Loaded, todo: Iterable[Job], starts: Tensor, config: SynthesizeConfig) -> Iterator[Task]:
    """Make the embeddings of `todo` on the device of one model.

    Args:
        loaded: The model.
        todo: What to make; read lazily.
        starts: Where embeddings may start, shape = (starts, rows, width).
        config: Settings.

    Yields:
        Tasks as they finish: verified, or given up with the embedding of the last start.
    """
    queue = iter(todo)
    pair_of: dict[str, dict] = {}
    retries: deque[Task] = deque()
    done: list[Task] = []

    def tasks() -> Iterator[Task]:
        while True:
            if retries:
                yield retries.popleft()
            elif job := next(queue, None):
                key, pair_of[key] = job
                yield new_task(*job, loaded, starts, config, attempt=1)
            else:
                return

    def settle() -> Iterator[Task]:
        """Verify what is done; what passed or ran out of starts is final."""
        if not done:
            return
        passed = verify(loaded, torch.stack([task.embedding for task in done]), [pair_of[t.key] for t in done])
        for task, ok in zip(done, passed, strict=True):
            task.verified = ok
            if ok or task.starts >= config.starts:
                del pair_of[task.key]
                yield task
            else:
                again = new_task(task.key, pair_of[task.key], loaded, starts, config, attempt=task.starts + 1)
                again.steps_before = task.steps_before + task.steps
                retries.append(again)
        done.clear()

    rate = config.rate * starts.std().item()
    limits = {"threshold": config.threshold, "max_steps": config.max_steps, "batch_size": config.batch_size}
    while True:
        try:
            for task in optimize(loaded, tasks(), rate=rate, **limits):
                done.append(task)
                if len(done) >= 2 * config.batch_size:
                    yield from settle()
        except (Exception, KeyboardInterrupt):  # neither may lose what is done
            yield from settle()
            raise
        yield from settle()
        if not retries:
            return


def new_task(
    key: str, pair: dict[str, Any], loaded: Loaded, starts: Tensor, config: SynthesizeConfig, attempt: int
) -> Task:
    """Return the task of a key: its controls and its start, drawn by (seed, key, attempt) and by nothing else."""
    seed = f"{config.seed}/{key}/{attempt}"
    content, style = controls(pair, config.content_questions, loaded.family.modality, seed)
    return Task(key=key, turns=content, style=style, embedding=choose_start(starts, seed), starts=attempt)
