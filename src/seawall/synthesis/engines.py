"""The local engine: every visible device of this machine, one process each where there are several.

Records draw from seeds of their own, so the result does not depend on which device or batch a record was in.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seawall.errors import EngineError, ModelError, SeawallError
from seawall.models.encode import encode_media
from seawall.models.families import is_registered_here_only
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import Job, solve
from seawall.synthesis.amortize import fit_warm_start


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a worker in another process needs to solve records as this one would."""

    model: str
    """Name of the model; a folder must be there under the same path."""
    fingerprint: str
    """What the worker's model must have."""
    modality: str
    """What the media are."""
    media: Sequence[Path | str]
    """Media to start from, or `[BLANK]`."""
    config: SynthesizeConfig
    """Settings."""
    block: tuple[Sequence[str], Tensor] | None = None
    """Phrase of each embedding of the first block, and these, shape = (embeddings, rows, width), where there is a warm start."""

    def load(self) -> LoadedModel:
        """Load the model.

        Raises:
            ModelError: It is another one than that of the process that hands out the work.
        """
        config = self.config
        loaded = load_model(
            self.model, modality=self.modality, precision=config.precision, device_map=config.device_map
        )
        if loaded.fingerprint != self.fingerprint:
            raise ModelError(
                f"A worker found another model under {self.model} (fingerprint {loaded.fingerprint}, wanted {self.fingerprint}). "
                "Give every machine the same folder."
            )
        return loaded

    def equip(self, loaded: LoadedModel, device: str) -> Tensor:
        """Move the model to a device; return the starts, shape = (starts, rows, width), on it."""
        if not is_placed(loaded.model):
            loaded.model.to(device)
        return encode_media(loaded, self.media)

    def solve(self, loaded: LoadedModel, todo: Iterable[Job], starts: Tensor) -> Iterator[Task]:
        """Yield the tasks of `todo` as they finish; see `solve`."""
        warm = fit_warm_start(loaded, *self.block, starts) if self.block else None
        yield from solve(loaded, todo, starts, self.config, warm)


def find_devices() -> list[str]:
    """Return every visible device: CUDA's, or else the CPU."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def solve_local(workshop: WorkerSpec, loaded: LoadedModel, todo: Sequence[Job]) -> Iterator[Task]:
    """Solve records on this machine; with one device, or a model that only this process knows, in this very process.

    Args:
        workshop: What to work with.
        loaded: The model, loaded in this process.
        todo: What to make.

    Yields:
        Tasks as they finish.

    Raises:
        EngineError: A worker died.
    """
    devices = find_devices()
    if len(devices) == 1 or is_registered_here_only(workshop.model) or is_placed(loaded.model):
        starts = workshop.equip(loaded, devices[0])
        yield from workshop.solve(loaded, todo, starts)
    else:
        loaded.model.to("meta")  # each worker loads its own; this process has no more use for the weights
        yield from solve_in_processes(workshop, todo, devices)


def solve_in_processes(workshop: WorkerSpec, todo: Sequence[Job], devices: Sequence[str]) -> Iterator[Task]:
    """Solve records in one process for each device; all take from one queue.

    Raises:
        EngineError: A worker died.
    """
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    for job in [*todo, *[None] * len(devices)]:
        jobs.put(job)
    workers = [context.Process(target=_work, args=(workshop, d, jobs, results), daemon=True) for d in devices]
    try:
        for worker in workers:
            worker.start()
        left = len(todo)
        while left:
            try:
                result = pickle.loads(results.get(timeout=1))
            except queue.Empty:
                _require_alive(workers, devices)
                continue
            if isinstance(result, BaseException):
                raise result
            left -= 1
            yield result
    finally:
        for worker in workers:
            worker.terminate()
        jobs.cancel_join_thread()


def _work(workshop: WorkerSpec, device: str, jobs: Any, results: Any) -> None:
    """Solve what comes through `jobs` until None comes; pickled by hand, because queues would share tensors' memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        loaded = workshop.load()
        for task in workshop.solve(loaded, iter(jobs.get, None), workshop.equip(loaded, device)):
            task.embeddings = task.embeddings.cpu()
            results.put(pickle.dumps(task))
    except SeawallError as error:
        results.put(pickle.dumps(error))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _require_alive(workers: Sequence[Any], devices: Sequence[str]) -> None:
    dead = [(d, w.exitcode) for d, w in zip(devices, workers, strict=True) if w.exitcode]
    if dead:
        raise EngineError(
            f"The worker on {dead[0][0]} died (exit code {dead[0][1]}; -9 is most often a lack of memory). What was finished is kept: "
            "lower --batch-size, and run the same command again."
        )
