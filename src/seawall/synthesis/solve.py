"""The work on one device: optimise each record, verify it, and try again or give up.

Records are made in blocks. The records of a block share batches, and other batches add numbers in another order. So the
last digits of an embedding depend on its whole block, and on nothing outside it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from seawall.models.families import get_module
from seawall.models.load import LoadedModel
from seawall.models.memory import (
    MEMORY_SHARE,
    PEAK_FACTOR,
    compiled,
    count_kept_bytes,
    get_free_bytes,
    gradient_checkpointing,
    halve_on_out_of_memory,
)
from seawall.models.packing import find_packing_obstacle
from seawall.store.pair import Pair
from seawall.synthesis.amortize import WarmStart, choose_starts
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import compute_losses, draw_controls
from seawall.synthesis.optimize import Task, optimize
from seawall.synthesis.verify import verify_embeddings

log = logging.getLogger(__name__)

MAX_BATCH_SIZE = 48
"""Maximum embeddings per forward pass. On a CPU, larger batches save no time per embedding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Records that are made together, on one device. A block that is interrupted is made again as a whole."""

    pairs: Sequence[Pair]
    """The pairs, in order. At least one."""
    batch_size: int
    """Records per forward pass."""

    @property
    def name(self) -> str:
        """Id of the first record."""
        return self.pairs[0].id


class BlockSolver:
    """Makes the embeddings of blocks on the device of the model.

    Args:
        loaded: The model.
        starts: All possible starting points, shape = (starts, rows, width).
        config: Settings.
        probe: Pair on which prefix sharing is checked and memory is measured. The same one in every session of a run.
        warm_start: Shifts the starting points of first attempts. Later attempts use the plain ones.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        starts: Tensor,
        config: SynthesizeConfig,
        probe: Pair,
        warm_start: WarmStart | None = None,
    ) -> None:
        self.loaded, self.starts, self.config, self.warm_start = loaded, starts, config, warm_start
        task = new_task(probe, loaded, starts, config, attempt=1)
        with gradient_checkpointing(loaded.model, config.activation_checkpointing):
            self.share_prefix = config.share_prefix and can_share_prefix(loaded, task)
            self.batch_size = config.batch_size or estimate_batch_size(loaded, task, self.share_prefix)
            """Records per forward pass: that of the settings, or else as many as fit into memory."""

    def solve(self, blocks: Iterable[Block]) -> Iterator[Task]:
        """Yield the tasks of blocks as they finish: verified, unverified with their last embeddings, or failed.

        A task that reaches its threshold is verified. If a copy fails, the task continues with a lower threshold. If
        all copies still fail, the next attempt starts from other media. After the last attempt the task is unverified.
        A task whose loss becomes NaN or infinite gets another attempt, then it is failed.

        Args:
            blocks: The blocks, read lazily.
        """
        language_model = get_module(self.loaded.model, self.loaded.family, self.loaded.family.language_model)
        with compiled(language_model, self.config.compile):
            for block in blocks:
                for task in self._solve_block(block):
                    task.block = block.name
                    yield task

    def _solve_block(self, block: Block) -> Iterator[Task]:
        config = self.config
        scheduler = _Scheduler(self.loaded, iter(block.pairs), self.starts, config, self.warm_start)
        while True:
            running = optimize(
                self.loaded,
                scheduler.take_tasks(),
                learning_rate=config.learning_rate * self.starts.std().item(),
                threshold=config.threshold,
                max_steps=config.max_steps,
                batch_size=block.batch_size,
                share_prefix=self.share_prefix,
                activation_checkpointing=config.activation_checkpointing,
            )
            for task in running:
                scheduler.optimized.append(task)
                if scheduler.count_optimized() >= 2 * block.batch_size:
                    yield from scheduler.verify_optimized(self.share_prefix, 2 * block.batch_size)
            yield from scheduler.verify_optimized(self.share_prefix, 2 * block.batch_size)
            if not scheduler.retries:
                return


def solve(
    loaded: LoadedModel,
    pairs: Sequence[Pair],
    starts: Tensor,
    config: SynthesizeConfig,
    warm_start: WarmStart | None = None,
) -> Iterator[Task]:
    """Yield the tasks of pairs, made as one block, as they finish; see `BlockSolver`."""
    if pairs:
        solver = BlockSolver(loaded, starts, config, pairs[0], warm_start)
        yield from solver.solve([Block(pairs=pairs, batch_size=solver.batch_size)])


class _Scheduler:
    """Keeps the pairs that are left, the tasks to continue, and the tasks that wait for verification."""

    def __init__(
        self,
        loaded: LoadedModel,
        pairs: Iterator[Pair],
        starts: Tensor,
        config: SynthesizeConfig,
        warm_start: WarmStart | None,
    ) -> None:
        self.loaded, self.pairs, self.starts, self.config, self.warm_start = loaded, pairs, starts, config, warm_start
        self.started: dict[str, Pair] = {}
        self.retries: deque[Task] = deque()
        self.optimized: list[Task] = []

    def take_tasks(self) -> Iterator[Task]:
        """Yield the tasks to continue first, then new ones."""
        while True:
            if self.retries:
                yield self.retries.popleft()
            elif (pair := next(self.pairs, None)) is not None:
                self.started[pair.id] = pair
                task = new_task(pair, self.loaded, self.starts, self.config, attempt=1)
                if self.warm_start:
                    task.embeddings = self.warm_start.shift(self.loaded, task.embeddings, pair.phrase)
                yield task
            else:
                return

    def count_optimized(self) -> int:
        """Return the number of embeddings that wait for verification."""
        return sum(len(task.content) for task in self.optimized)

    def verify_optimized(self, share_prefix: bool, batch_size: int) -> Iterator[Task]:
        """Verify the optimised tasks. Yield those that are finished and schedule the others again."""
        finite = [task for task in self.optimized if not task.failed]
        if finite:
            embeddings = torch.cat([task.embeddings for task in finite])
            pairs = [self.started[task.record] for task in finite for _ in task.content]

            def verify(size: int) -> list[bool]:
                return verify_embeddings(self.loaded, embeddings, pairs, share_prefix=share_prefix, batch_size=size)

            verified = iter(halve_on_out_of_memory(verify, batch_size))
            for task in finite:
                task.verified = [next(verified) for _ in task.content]
        for task in self.optimized:
            if retry := self._retry(task):
                self.retries.append(retry)
                continue
            del self.started[task.record]
            task.shared_offset, task.embeddings = None, task.embeddings.cpu()
            yield task
        self.optimized.clear()

    def _retry(self, task: Task) -> Task | None:
        """Return the task that continues the work on a record, or None if the record is finished."""
        if not task.failed and all(task.verified):
            return None
        retries_left = task.threshold_retries < self.config.threshold_retries and task.steps < self.config.max_steps
        if not task.failed and retries_left:
            task.threshold_retries += 1
            task.curve.pop()  # the loss at this point is measured again
            return task
        if task.attempt == self.config.attempts or (not task.failed and any(task.verified)):
            return None
        pair = self.started[task.record]
        retry = new_task(pair, self.loaded, self.starts, self.config, attempt=task.attempt + 1)
        retry.earlier_steps = task.earlier_steps + task.steps
        return retry


def can_share_prefix(loaded: LoadedModel, task: Task) -> bool:
    """Return whether the model gives the same numbers if controls share a prefix. Log the reason if it does not."""
    if reason := find_packing_obstacle(loaded, task.controls[0], task.embeddings[0].to(loaded.model.device)):
        log.info("prefix sharing is off for this model: %s", reason)
    return not reason


def estimate_batch_size(loaded: LoadedModel, task: Task, share_prefix: bool) -> int:
    """Return how many embeddings like those of a task fit into free memory, at most `MAX_BATCH_SIZE`."""
    loaded.model.requires_grad_(False)
    embedding = task.embeddings[:1].to(loaded.model.device).requires_grad_()
    kept = count_kept_bytes(lambda: compute_losses(loaded, embedding, task.controls[:1], share_prefix), loaded.model)
    return max(1, min(MAX_BATCH_SIZE, int(MEMORY_SHARE * get_free_bytes(loaded.model.device) / (PEAK_FACTOR * kept))))


def new_task(pair: Pair, loaded: LoadedModel, starts: Tensor, config: SynthesizeConfig, attempt: int) -> Task:
    """Return the task for an attempt at a pair.

    Starting points and controls of the copies are drawn from (seed, record id, attempt) only.
    """
    seed = f"{config.seed}/{pair.id}/{attempt}"
    chosen = choose_starts(starts, config.copies, seed)
    drawn = [draw_controls(pair, config.content_questions, f"{seed}#{copy}") for copy in range(len(chosen))]
    content, style = [content for content, _ in drawn], drawn[0][1]
    return Task(record=pair.id, content=content, style=style, embeddings=chosen, attempt=attempt)
