"""The local engine: every visible device of this machine, with one process per device if there are several.

The unit of work is a block of records, so the result does not depend on which process makes a block, and when.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from seawall.errors import EngineError, ModelError, SeawallError
from seawall.models.chat import Blank
from seawall.models.encode import encode_media
from seawall.models.families import is_registered_here_only
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.store.artifacts import read_manifest, record
from seawall.store.pair import Pair
from seawall.synthesis.amortize import SolvedEmbeddings, fit_warm_start
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import Block, BlockSolver

BLOCKS = "blocks"
"""Fact in the manifest of a store: `batch_size`, and the `first` and `rest` records per block, so that a resumed run has
the same blocks."""
BATCHES_PER_BLOCK = 5
"""Maximum size of a block in batches. The last records of a block do not fill a batch, so larger blocks save time. A run
that is killed loses its unfinished blocks, so smaller blocks save work."""

Planner = Callable[[int, int], Sequence[Block]]
"""Returns the blocks to make, given the batch size that fits into memory and the number of workers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a worker process needs to solve pairs exactly as the main process would."""

    model: str
    """Name of the model. A folder must exist under the same path on the worker's machine."""
    fingerprint: str
    """Fingerprint that the worker's model must have."""
    modality: str
    """Modality of the media."""
    media: Sequence[Path | Blank]
    """Media to start from, or `[BLANK]`."""
    config: SynthesizeConfig
    """Settings."""
    probe: Pair
    """Pair on which prefix sharing is checked and memory is measured."""
    solved: SolvedEmbeddings | None = None
    """What to fit a warm start on. None starts without one."""

    def load(self) -> LoadedModel:
        """Load the model.

        Raises:
            ModelError: It is not the model of the main process.
        """
        config = self.config
        loaded = load_model(
            self.model,
            modality=self.modality,
            blank=config.blank,
            precision=config.precision,
            device_map=config.device_map,
        )
        if loaded.fingerprint != self.fingerprint:
            raise ModelError(
                f"A worker found another model under {self.model} (fingerprint {loaded.fingerprint}, expected "
                f"{self.fingerprint}). Give every machine the same folder."
            )
        return loaded

    def make_solver(self, loaded: LoadedModel, device: str) -> BlockSolver:
        """Move the model to a device. Return what makes blocks there."""
        if not is_placed(loaded.model):
            loaded.model.to(device)
        starts = encode_media(loaded, self.media)
        warm_start = fit_warm_start(loaded, self.solved, starts) if self.solved else None
        return BlockSolver(loaded, starts, self.config, self.probe, warm_start)


@dataclasses.dataclass(frozen=True)
class LostBlock:
    """Yielded by an engine between tasks: what it yielded of a block is void, and the block is made again."""

    block: str
    """Name of the block."""


def recall_blocks(out: Path, config: SynthesizeConfig, inputs: Mapping[str, str]) -> dict[str, int]:
    """Return the blocks that an earlier session recorded, if it had the same pairs and the same batch size was asked."""
    before = read_manifest(out)
    same = before.inputs == inputs and before.config.get("batch_size") == config.batch_size
    return dict(before.facts.get(BLOCKS, {})) if same else {}


def plan_blocks(
    folder: Path, phase: Literal["first", "rest"], todo: Sequence[Pair], batch_size: int, workers: int
) -> list[Block]:
    """Return the blocks of `todo`, with the sizes of an earlier session of the same run. Record those of a first one.

    All blocks of a phase but its last have the same size, so those that are left are the same in a resumed run. In a
    first session each worker gets equally many.

    Args:
        folder: Folder of the store.
        phase: Whether these are the first records or the rest.
        todo: The pairs to make.
        batch_size: Batch size of a first session.
        workers: Number of workers.
    """
    known = read_manifest(folder).facts.get(BLOCKS, {})
    batch_size = known.get("batch_size", batch_size)
    each = math.ceil(len(todo) / (workers * BATCHES_PER_BLOCK * batch_size))
    size = known.get(phase, math.ceil(len(todo) / (workers * each)))
    record(folder, **{BLOCKS: {**known, "batch_size": batch_size, phase: size}})
    return [Block(pairs=todo[at : at + size], batch_size=batch_size) for at in range(0, len(todo), size)]


def find_devices() -> list[str]:
    """Return the visible devices: all CUDA devices, or the CPU if there is none."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def solve_local(spec: WorkerSpec, loaded: LoadedModel, plan: Planner) -> Iterator[Task]:
    """Make blocks on this machine, in this process if there is one device or other processes cannot load the model.

    Args:
        spec: What the workers need.
        loaded: The model, loaded in this process.
        plan: Returns the blocks.

    Yields:
        Tasks as they finish.

    Raises:
        EngineError: A worker died.
    """
    devices = find_devices()
    if len(devices) == 1 or is_registered_here_only(spec.model) or is_placed(loaded.model):
        solver = spec.make_solver(loaded, devices[0])
        yield from solver.solve(plan(solver.batch_size, 1))
    else:
        loaded.model.to("meta")  # frees its memory: each worker loads its own copy
        yield from solve_in_processes(spec, plan, devices)


def solve_in_processes(spec: WorkerSpec, plan: Planner, devices: Sequence[str]) -> Iterator[Task]:
    """Make blocks in one process per device. All take from one queue.

    Raises:
        EngineError: A worker died.
    """
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    workers = [context.Process(target=_work, args=(spec, d, todo, results), daemon=True) for d in devices]

    def receive() -> Any:
        while True:
            with contextlib.suppress(queue.Empty):
                result = pickle.loads(results.get(timeout=1))
                if isinstance(result, BaseException):
                    raise result
                return result
            _require_alive(workers, devices)

    try:
        for worker in workers:
            worker.start()
        blocks = plan(min(receive() for _ in workers), len(workers))
        for item in [*blocks, *[None] * len(workers)]:
            todo.put(item)
        for _ in range(sum(len(block.pairs) for block in blocks)):
            yield receive()
    finally:
        for worker in workers:
            worker.terminate()
        todo.cancel_join_thread()


def _work(spec: WorkerSpec, device: str, todo: Any, results: Any) -> None:
    """Send the batch size that fits, then solve blocks from a queue until None arrives.

    Results are pickled, since a queue would share tensor memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        solver = spec.make_solver(spec.load(), device)
        results.put(pickle.dumps(solver.batch_size))
        for task in solver.solve(iter(todo.get, None)):
            task.embeddings = task.embeddings.cpu()
            results.put(pickle.dumps(task))
    except SeawallError as error:
        results.put(pickle.dumps(error))


def _exit_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _require_alive(workers: Sequence[Any], devices: Sequence[str]) -> None:
    dead = [(d, w.exitcode) for d, w in zip(devices, workers, strict=True) if w.exitcode]
    if dead:
        raise EngineError(
            f"The worker on {dead[0][0]} died (exit code {dead[0][1]}; -9 usually means that memory ran out). "
            "Finished work is kept. Lower --batch-size and rerun the same command to resume."
        )
