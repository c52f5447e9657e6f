"""The Ray engine: one actor a device of a cluster, work in small blocks, a lost actor's block done again.

Only the driver writes. Actors need the model and the bank under the same paths as the driver.
"""

from __future__ import annotations

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
from seawall.synthesis.engines import WorkerSpec, find_devices
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import Job

BLOCK = 128
"""Most records in a block: enough to keep a batch full, few enough to lose."""
ATTEMPTS = 3
"""How often a block is handed out before the run gives up."""


class Solver:
    """An actor: a model on a device, loaded with its first block, so that a fault is that block's and keeps its message."""

    def __init__(self, workshop: WorkerSpec) -> None:
        self.workshop = workshop

    @functools.cached_property
    def equipment(self) -> tuple[LoadedModel, Tensor]:
        """The model and the starts, on the device that Ray shows to the actor."""
        loaded = self.workshop.load()
        return loaded, self.workshop.equip(loaded, find_devices()[0])

    def solve(self, block: Sequence[Job]) -> Iterator[Task]:
        """Yield the tasks of a block as they finish."""
        for task in self.workshop.solve(self.equipment[0], block, self.equipment[1]):
            task.embeddings = task.embeddings.cpu()
            yield task


def import_ray() -> Any:
    """Return Ray, which never sends usage statistics from here.

    Raises:
        ConfigError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray, which is not installed: pip install 'seawall[ray]'") from error
    return ray


def solve_ray(workshop: WorkerSpec, todo: Sequence[Job]) -> Iterator[Task]:
    """Solve records on the Ray cluster that `RAY_ADDRESS` or `ray start` names, else on this machine.

    Args:
        workshop: What to work with.
        todo: What to make.

    Yields:
        Tasks as they finish.

    Raises:
        ConfigError: Ray is not installed, or the model is one that only this process knows.
        EngineError: A block was lost with its actor `ATTEMPTS` times.
    """
    ray = import_ray()
    if is_registered_here_only(workshop.model):
        raise ConfigError(f"The model {workshop.model!r} is registered in this process only; use --engine local.")
    own = not ray.is_initialized()
    if own:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield from _hand_out(ray, workshop, todo)
    finally:
        if own:
            ray.shutdown()


def start_solver(ray: Any, workshop: WorkerSpec) -> Any:
    """Start one actor on a GPU of the cluster, or on a CPU where the cluster has no GPU."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    return ray.remote(num_cpus=1, num_gpus=gpus)(Solver).remote(workshop)


def _hand_out(ray: Any, workshop: WorkerSpec, todo: Sequence[Job]) -> Iterator[Task]:
    resources = ray.cluster_resources()
    workers = int(resources.get("GPU") or resources.get("CPU", 1))
    size = min(BLOCK, math.ceil(len(todo) / workers))
    blocks = deque((1, list(todo[first : first + size])) for first in range(0, len(todo), size))
    running: dict[Any, tuple[Any, int, dict[str, Job]]] = {}

    def hand_to(solver: Any) -> None:
        attempt, block = blocks.popleft()
        running[solver.solve.remote(block)] = (solver, attempt, {job[0]: job for job in block})

    try:
        for _ in range(min(workers, len(blocks))):
            hand_to(start_solver(ray, workshop))
        while running:
            (stream,), _ = ray.wait(list(running), num_returns=1)
            solver, attempt, missing = running[stream]
            try:
                task = ray.get(next(stream))
            except StopIteration:
                del running[stream]
                if blocks:
                    hand_to(solver)
            except ray.exceptions.RayActorError as error:
                del running[stream]
                ray.kill(solver)  # where it is only out of reach, it must not keep its device
                if attempt == ATTEMPTS:
                    raise EngineError(
                        f"A worker was lost {ATTEMPTS} times with the records {', '.join(list(missing)[:3])}, ... "
                        f"({str(error).splitlines()[0]}). What was finished is kept: look for a lack of memory, lower --batch-size, and run "
                        "the same command again."
                    ) from error
                blocks.appendleft((attempt + 1, list(missing.values())))
                hand_to(start_solver(ray, workshop))
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, SeawallError) else error from None
            else:
                del missing[task.record]
                yield task
    finally:
        for solver, *_ in running.values():
            ray.kill(solver)
