"""The local engine: every visible device of this machine, with one process per device if there are several.

Every record draws from its own random seed, so the result does not depend on the device or the batch it was in.
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
from seawall.models.chat import Blank
from seawall.models.encode import encode_media
from seawall.models.families import is_registered_here_only
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.store.pair import Pair
from seawall.synthesis.amortize import SolvedEmbeddings, fit_warm_start
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import solve


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
    solved: SolvedEmbeddings | None = None
    """What to fit a warm start on. None starts without one."""

    def load(self) -> LoadedModel:
        """Load the model.

        Raises:
            ModelError: It is not the model of the main process.
        """
        config = self.config
        loaded = load_model(
            self.model, modality=self.modality, precision=config.precision, device_map=config.device_map
        )
        if loaded.fingerprint != self.fingerprint:
            raise ModelError(
                f"A worker found another model under {self.model} (fingerprint {loaded.fingerprint}, expected "
                f"{self.fingerprint}). Give every machine the same folder."
            )
        return loaded

    def encode_starts(self, loaded: LoadedModel, device: str) -> Tensor:
        """Move the model to a device. Return the starting points there, shape = (starts, rows, width)."""
        if not is_placed(loaded.model):
            loaded.model.to(device)
        return encode_media(loaded, self.media)

    def solve(self, loaded: LoadedModel, pairs: Iterable[Pair], starts: Tensor) -> Iterator[Task]:
        """Yield the tasks of pairs as they finish; see `synthesis.solve.solve`."""
        warm_start = fit_warm_start(loaded, self.solved, starts) if self.solved else None
        yield from solve(loaded, pairs, starts, self.config, warm_start)


def find_devices() -> list[str]:
    """Return the visible devices: all CUDA devices, or the CPU if there is none."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def solve_local(spec: WorkerSpec, loaded: LoadedModel, pairs: Sequence[Pair]) -> Iterator[Task]:
    """Solve pairs on this machine, in this process if there is one device or other processes cannot load the model.

    Args:
        spec: What the workers need.
        loaded: The model, loaded in this process.
        pairs: The pairs.

    Yields:
        Tasks as they finish.

    Raises:
        EngineError: A worker died.
    """
    devices = find_devices()
    if len(devices) == 1 or is_registered_here_only(spec.model) or is_placed(loaded.model):
        starts = spec.encode_starts(loaded, devices[0])
        yield from spec.solve(loaded, pairs, starts)
    else:
        loaded.model.to("meta")  # frees its memory: each worker loads its own copy
        yield from solve_in_processes(spec, pairs, devices)


def solve_in_processes(spec: WorkerSpec, pairs: Sequence[Pair], devices: Sequence[str]) -> Iterator[Task]:
    """Solve pairs in one process per device. All take from one queue.

    Raises:
        EngineError: A worker died.
    """
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    for item in [*pairs, *[None] * len(devices)]:
        todo.put(item)
    workers = [context.Process(target=_work, args=(spec, d, todo, results), daemon=True) for d in devices]
    try:
        for worker in workers:
            worker.start()
        left = len(pairs)
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
        todo.cancel_join_thread()


def _work(spec: WorkerSpec, device: str, todo: Any, results: Any) -> None:
    """Solve the pairs from a queue until None arrives. Results are pickled, since a queue would share tensor memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        loaded = spec.load()
        for task in spec.solve(loaded, iter(todo.get, None), spec.encode_starts(loaded, device)):
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
