"""The Ray engine: one actor per device of a cluster. The block of a lost actor is made again by another one.

Only the driver writes to disk. Actors need the model and the bank under the same paths as the driver.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from seawall.errors import ConfigError, EngineError, SeawallError
from seawall.models.families import is_registered_here_only
from seawall.synthesis.engines import LostBlock, Planner, WorkerSpec, find_devices
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import Block, BlockSolver

ATTEMPTS = 3
"""Attempts at a block before the run ends with an error."""


class Actor:
    """An actor with a model on one device. It loads the model with its first call, so that errors belong to that call.

    Args:
        spec: What the actor needs.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec

    @functools.cached_property
    def solver(self) -> BlockSolver:
        """What makes blocks on the device that Ray shows to the actor."""
        return self.spec.make_solver(self.spec.load(), find_devices()[0])

    def get_batch_size(self) -> int:
        """Return the batch size that fits into memory."""
        return self.solver.batch_size

    def solve(self, block: Block) -> Iterator[Task]:
        """Yield the tasks of a block as they finish."""
        for task in self.solver.solve([block]):
            task.embeddings = task.embeddings.cpu()
            yield task


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """An attempt at a block."""

    block: Block
    number: int = 1


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


def solve_ray(spec: WorkerSpec, plan: Planner) -> Iterator[Task | LostBlock]:
    """Make blocks on the Ray cluster of `RAY_ADDRESS` or `ray start`, or on this machine if there is no cluster.

    Args:
        spec: What the workers need.
        plan: Returns the blocks.

    Yields:
        Tasks as they finish. `LostBlock` if an actor was lost with its block.

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
        resources = ray.cluster_resources()
        workers = int(resources.get("GPU") or resources.get("CPU", 1))
        actors = [] if spec.config.batch_size else [start_actor(ray, spec) for _ in range(workers)]
        blocks = plan(spec.config.batch_size or _find_batch_size(ray, actors), workers)
        yield from _solve_blocks(ray, spec, blocks, workers, actors)
    finally:
        if own:
            ray.shutdown()


def start_actor(ray: Any, spec: WorkerSpec) -> Any:
    """Start one actor on a GPU of the cluster, or on a CPU if the cluster has no GPU."""
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    return ray.remote(num_cpus=1, num_gpus=gpus)(Actor).remote(spec)


def _find_batch_size(ray: Any, actors: list[Any]) -> int:
    """Return the batch size that fits into the memory of every device. Remove actors that are lost from the list.

    Raises:
        EngineError: All are lost.
    """
    answers = {actor: actor.get_batch_size.remote() for actor in actors}
    sizes = []
    for actor, answer in answers.items():
        try:
            sizes.append(ray.get(answer))
        except ray.exceptions.RayActorError as error:
            actors.remove(actor)
            if not actors:
                raise EngineError(
                    f"Every worker was lost while it loaded the model ({str(error).splitlines()[0]}). Check whether "
                    "memory ran out, and rerun the same command."
                ) from error
        except ray.exceptions.RayTaskError as error:
            raise _get_cause(error) from None
    return min(sizes)


def _solve_blocks(
    ray: Any, spec: WorkerSpec, blocks: Sequence[Block], workers: int, idle: list[Any]
) -> Iterator[Task | LostBlock]:
    todo = deque(_Attempt(block) for block in blocks)
    running: dict[Any, tuple[Any, _Attempt]] = {}

    def assign_to(actor: Any) -> None:
        attempt = todo.popleft()
        running[actor.solve.remote(attempt.block)] = actor, attempt

    try:
        for _ in range(min(workers, len(todo))):
            assign_to(idle.pop() if idle else start_actor(ray, spec))
        while running:
            (stream,), _ = ray.wait(list(running), num_returns=1)
            actor, attempt = running[stream]
            try:
                task = ray.get(next(stream))
            except StopIteration:
                del running[stream]
                if todo:
                    assign_to(actor)
            except ray.exceptions.RayActorError as error:
                del running[stream]
                ray.kill(actor)  # an actor that is only unreachable must release its device
                todo.appendleft(_retry(attempt, error))
                yield LostBlock(attempt.block.name)
                assign_to(start_actor(ray, spec))
            except ray.exceptions.RayTaskError as error:
                raise _get_cause(error) from None
            else:
                yield task
    finally:
        for actor in [*idle, *(actor for actor, _ in running.values())]:
            ray.kill(actor)


def _get_cause(error: Any) -> Exception:
    """Return the error of the user's input behind an error of Ray, or else the error of Ray."""
    return error.cause if isinstance(error.cause, SeawallError) else error


def _retry(attempt: _Attempt, error: Exception) -> _Attempt:
    """Return the next attempt at a block whose actor was lost.

    Raises:
        EngineError: It was the last attempt.
    """
    if attempt.number == ATTEMPTS:
        records = ", ".join(pair.id for pair in attempt.block.pairs[:3])
        raise EngineError(
            f"A worker was lost {ATTEMPTS} times with the records {records}, ... "
            f"({str(error).splitlines()[0]}). Finished work is kept. Check whether memory ran out, lower --batch-size, "
            "and rerun the same command to resume."
        ) from error
    return _Attempt(attempt.block, attempt.number + 1)
