"""Time and memory of work.

Those of a run are in its `usage.json`, apart from the results, which stay the same when a run is resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from seawall.store.artifacts import MANIFEST, read_manifest
from seawall.store.files import read_json, write_json

USAGE = "usage.json"
_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of `ru_maxrss`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    """Wall time."""
    memory: int
    """Peak of main memory, in bytes."""
    gpu_memory: int
    """Peak of GPU memory, over all GPUs, in bytes."""


@contextlib.contextmanager
def record_usage(out: Path, stage: str, folder: Path) -> Iterator[None]:
    """Record `seconds`, `memory` and `gpu_memory` (peaks in bytes) of a stage, unless its folder was finished before.

    Args:
        out: Folder of the run.
        stage: Name of the stage.
        folder: Folder that the stage writes.
    """
    finished = (folder / MANIFEST).is_file() and read_manifest(folder).complete
    gc.collect()  # the model of the stage before
    reset_peaks()
    started = time.perf_counter()
    yield
    if not finished:
        memory, gpu = read_peaks()
        used = {"seconds": round(time.perf_counter() - started, 1), "memory": memory, "gpu_memory": gpu}
        before = read_json(out / USAGE) if (out / USAGE).is_file() else {}
        write_json(out / USAGE, {**before, stage: used})


@contextlib.contextmanager
def measure(costs: list[Cost]) -> Iterator[None]:
    """Append what the work within the context takes."""
    reset_peaks()
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    memory, gpu = read_peaks()
    costs.append(Cost(seconds=seconds, memory=memory, gpu_memory=gpu))


def scale_memory(cost: Cost, before: tuple[int, int], factor: float) -> Cost:
    """Return a cost whose memory above the level before it is multiplied by a factor."""
    levels = zip((cost.memory, cost.gpu_memory), before, strict=True)
    memory, gpu = (int(level + max(0, peak - level) * factor) for peak, level in levels)
    return dataclasses.replace(cost, memory=memory, gpu_memory=gpu)


def reset_peaks() -> None:
    """Let the peaks of memory begin at the present values."""
    import torch

    with contextlib.suppress(OSError):  # Linux only; elsewhere the peak is that of the process
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)


def read_peaks() -> tuple[int, int]:
    """Return the peaks of main memory and of GPU memory, over all GPUs, in bytes."""
    import torch

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        memory = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), memory)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return memory, sum(torch.cuda.max_memory_allocated(device) for device in devices)


def read_memory() -> tuple[int, int]:
    """Return the present main memory and GPU memory, over all GPUs, in bytes."""
    import torch

    memory = 0
    with contextlib.suppress(OSError):
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return memory, sum(torch.cuda.memory_allocated(device) for device in devices)


def measure_folder(folder: Path) -> int:
    """Return the size of all files of a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def format_bytes(number: float) -> str:
    """Return a size as text, such as 1.2 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e6:.0f} MB"


def format_seconds(seconds: float) -> str:
    """Return a duration as text, such as 40 s, 2.5 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
