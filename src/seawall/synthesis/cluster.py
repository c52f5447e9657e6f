"""The Ray engine: one actor per device of a cluster, work in small blocks. The block of a lost actor is solved again.

Only the driver writes to disk. Actors need the model and the bank under the same paths as the driver.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from seawall.errors import ConfigError, EngineError, SeawallError
from seawall.models.families import is_registered_here_only
from seawall.models.load import LoadedModel
from seawall.store.pair import Pair
from seawall.synthesis.engines import WorkerSpec, find_devices
from seawall.synthesis.optimize import Task

MAX_BLOCK_SIZE = 128
"""Maximum pairs per block: enough to keep batches full, and little work to lose with an actor."""
ATTEMPTS = 3
"""Attempts at a block before the run ends with an error."""


class Solver:
    """An actor with a model on one device. It loads the model with its first block, so that errors belong to it.

    Args:
        spec: What the actor needs.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec

    @functools.cached_property
    def equipment(self) -> tuple[LoadedModel, Tensor]:
        """The model and the starting points, on the device that Ray shows to the actor."""
        loaded = self.spec.load()
        return loaded, self.spec.encode_starts(loaded, find_devices()[0])

    def solve(self, block: Sequence[Pair]) -> Iterator[Task]:
        """Yield the tasks of a block as they finish."""
        loaded, starts = self.equipment
        for task in self.spec.solve(loaded, block, starts):
            task.embeddings = task.embeddings.cpu()
            yield task


@dataclasses.dataclass
class _Block:
    """Pairs that one actor solves."""

    missing: dict[str, Pair]
    """Record id -> pair, of those that have no result yet."""
    attempt: int = 1
    """Number of this attempt."""


def import_ray() -> Any:
    """Return the module `ray`, with its usage statistics switched off.

    Raises:
        ConfigError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray, which is not installed: pip install 'seawall[ray]'") from error
    return ray


def solve_ray(spec: WorkerSpec, pairs: Sequence[Pair]) -> Iterator[Task]:
    """Solve pairs on the Ray cluster of `RAY_ADDRESS` or `ray start`, or on this machine if there is no cluster.

    Args:
        spec: What the workers need.
        pairs: The pairs.

    Yields:
        Tasks as they finish.

    Raises:
        ConfigError: Ray is not installed, or the model is registered in this process only.
        EngineError: A block was lost with its actor `ATTEMPTS` times.
    """
    ray = import_ray()
    if is_registered_here_only(spec.model):
        raise ConfigError(
            f"The model {spec.model!r} is registered in this process only, so Ray's workers cannot load it. "
            "Use --engine local."
        )
    own = not ray.is_initialized()
    if own:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield from _solve_blocks(ray, spec, pairs)
    finally:
        if own:
            ray.shutdown()


def start_solver(ray: Any, spec: WorkerSpec) -> Any:
    """Start one actor on a GPU of the cluster, or on a CPU if the cluster has no GPU."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    return ray.remote(num_cpus=1, num_gpus=gpus)(Solver).remote(spec)


def _solve_blocks(ray: Any, spec: WorkerSpec, pairs: Sequence[Pair]) -> Iterator[Task]:
    resources = ray.cluster_resources()
    workers = int(resources.get("GPU") or resources.get("CPU", 1))
    size = min(MAX_BLOCK_SIZE, math.ceil(len(pairs) / workers))
    parts = [pairs[first : first + size] for first in range(0, len(pairs), size)]
    blocks = deque(_Block({pair.id: pair for pair in part}) for part in parts)
    running: dict[Any, tuple[Any, _Block]] = {}

    def assign_to(solver: Any) -> None:
        block = blocks.popleft()
        running[solver.solve.remote([*block.missing.values()])] = solver, block

    try:
        for _ in range(min(workers, len(blocks))):
            assign_to(start_solver(ray, spec))
        while running:
            (stream,), _ = ray.wait(list(running), num_returns=1)
            solver, block = running[stream]
            try:
                task = ray.get(next(stream))
            except StopIteration:
                del running[stream]
                if blocks:
                    assign_to(solver)
            except ray.exceptions.RayActorError as error:
                del running[stream]
                ray.kill(solver)  # an actor that is only unreachable must release its device
                blocks.appendleft(_retry(block, error))
                assign_to(start_solver(ray, spec))
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, SeawallError) else error from None
            else:
                del block.missing[task.record]
                yield task
    finally:
        for solver, _ in running.values():
            ray.kill(solver)


def _retry(block: _Block, error: Exception) -> _Block:
    """Return what is left of a block whose actor was lost.

    Raises:
        EngineError: It was the last attempt.
    """
    if block.attempt == ATTEMPTS:
        raise EngineError(
            f"A worker was lost {ATTEMPTS} times with the records {', '.join(list(block.missing)[:3])}, ... "
            f"({str(error).splitlines()[0]}). Finished work is kept. Check whether memory ran out, lower --batch-size, "
            "and rerun the same command to resume."
        ) from error
    return _Block(block.missing, block.attempt + 1)
