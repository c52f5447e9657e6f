"""`seawall doctor`: what is installed, which hardware there is, and whether a built-in model works here.

Nothing heavy is imported at the top, so that a broken installation of torch becomes a line of the report.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seawall.compat import find_versions_outside_bounds
from seawall.lab.organisms.self_test import SelfTest, hide_home, run_self_test

CONTRIBUTING = ("dev", "docs")
"""Extras for work on Seawall itself, which the report leaves out."""
SHOWN = ("transformers", "accelerate", "peft", "trl", "inspect_ai", "datasets")
"""Packages whose versions the table shows. JSON has all."""
GB = 1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU that torch can use."""

    name: str
    memory_gb: float
    free_gb: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Torch:
    """The installed torch."""

    version: str | None
    """None if it is missing or broken."""
    cuda: str | None = None
    """CUDA version that it was built for. None for a build without CUDA."""
    gpus: tuple[Gpu, ...] = ()
    error: str = ""
    """Why it cannot be used. Empty if it can."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disk:
    """The disk of a folder that Seawall writes to."""

    use: str
    """`here`, `hub cache` or `seawall cache`."""
    folder: str
    """The folder, with the home folder as `~`. It need not exist."""
    free_gb: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extra:
    """An optional part of Seawall, such as `ray`."""

    name: str
    missing: tuple[str, ...]
    """Packages that are not installed, or not in the needed version. Empty if the extra is complete."""
    install: str
    """Command that installs it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hub:
    """The settings of the Hugging Face hub."""

    token: bool
    """Whether a token is there. Its value is never read into the report."""
    offline: bool
    """Whether `HF_HUB_OFFLINE` forbids downloads."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The content of the report."""

    seawall: str
    """Version."""
    python: str
    """Version."""
    system: str
    """Operating system and architecture."""
    torch: Torch
    cores: int
    """CPU cores that this process may use."""
    memory_gb: float
    """Main memory that this process may use."""
    free_gb: float
    """What is free of it."""
    disks: tuple[Disk, ...]
    packages: dict[str, str | None]
    """Version of each dependency, None if it is missing."""
    outside_bounds: list[str]
    """A sentence for each dependency in another version than the tested ones."""
    extras: tuple[Extra, ...]
    hub: Hub
    self_test: SelfTest


def diagnose() -> Diagnosis:
    """Return the report. It includes the self-test, which takes a few seconds."""
    found = _inspect_torch()
    memory, free = _measure_memory()
    return Diagnosis(
        seawall=importlib.metadata.version("seawall"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        torch=found,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=memory,
        free_gb=free,
        disks=tuple(_measure_disk(use, folder) for use, folder in _list_folders().items()),
        packages={requirement.name: _find_version(requirement.name) for requirement in _list_requirements("")},
        outside_bounds=find_versions_outside_bounds(),
        extras=tuple(_list_extras()),
        hub=_inspect_hub(),
        self_test=run_self_test(),
    )


def list_rows(diagnosis: Diagnosis) -> list[dict[str, str]]:
    """Return the report as a table: what was checked, what was found, and whether there is something to do."""
    d, test = diagnosis, diagnosis.self_test
    rows = [
        ("seawall", f"{d.seawall}, Python {d.python}, {d.system}", "ok"),
        (
            "torch",
            d.torch.error or f"{d.torch.version}, {_describe_cuda(d.torch)}",
            "failed" if d.torch.error else "ok",
        ),
        *(("GPU", f"{gpu.name}, {gpu.free_gb:.1f} of {gpu.memory_gb:.1f} GB free", "ok") for gpu in d.torch.gpus),
        ("CPU", f"{d.cores} cores, {d.free_gb:.1f} of {d.memory_gb:.1f} GB memory free", "ok"),
        *((f"disk, {disk.use}", f"{disk.free_gb:.1f} GB free in {disk.folder}", "ok") for disk in d.disks),
        ("packages", ", ".join(f"{name} {d.packages.get(name) or 'missing'}" for name in SHOWN), "ok"),
        *(("package", sentence, "warning") for sentence in d.outside_bounds),
        *(("package", f"{name} is missing", "failed") for name, version in d.packages.items() if not version),
    ]
    for extra in d.extras:
        found = f"no {', '.join(extra.missing)}: {extra.install}" if extra.missing else "installed"
        rows.append((f"extra {extra.name}", found, "optional" if extra.missing else "ok"))
    token = "token present" if d.hub.token else "no token (only gated models need one)"
    rows.append(("hub", token + (", offline mode" if d.hub.offline else ""), "ok"))
    result = f"passed in {test.seconds:.1f} s on {test.device}" if test.passed else test.error
    rows.append(("self-test", result, "ok" if test.passed else "failed"))
    return [{"check": check, "found": found, "status": status} for check, found, status in rows]


def _inspect_torch() -> Torch:
    try:
        import torch
    except Exception as error:  # a broken installation raises ImportError or OSError, among others
        return Torch(version=None, error=f"torch cannot be imported ({error}). Install it: https://pytorch.org")
    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        gpus.append(Gpu(name=name, memory_gb=round(total / GB, 1), free_gb=round(free / GB, 1)))
    return Torch(version=torch.__version__, cuda=torch.version.cuda, gpus=tuple(gpus))


def _describe_cuda(found: Torch) -> str:
    if found.cuda is None:
        return "built without CUDA: it uses the CPU only"
    return f"CUDA {found.cuda}" + ("" if found.gpus else ", but it finds no GPU: check the driver")


def _measure_memory() -> tuple[float, float]:
    """Return the main memory that this process may use, and what is free of it, in GB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (maximum := limit.read_text().strip()) != "max":
        total = min(total, int(maximum))
    try:
        import torch

        from seawall.models.memory import get_free_bytes

        free = get_free_bytes(torch.device("cpu"))
    except Exception:  # a broken torch, which has a line of its own
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(total / GB, 1), round(free / GB, 1)


def _list_folders() -> dict[str, Path]:
    from huggingface_hub import constants
    from platformdirs import user_cache_path

    return {"here": Path.cwd(), "hub cache": Path(constants.HF_HUB_CACHE), "seawall cache": user_cache_path("seawall")}


def _measure_disk(use: str, folder: Path) -> Disk:
    """Return the free space where a folder is or would be created."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Disk(use=use, folder=hide_home(str(folder)), free_gb=round(shutil.disk_usage(existing).free / GB, 1))


def _list_requirements(extra: str) -> Iterator[Any]:
    """Yield the requirements of an extra, or for an empty name those of Seawall without extras."""
    from packaging.requirements import Requirement

    for requirement in map(Requirement, importlib.metadata.requires("seawall") or ()):
        needed_always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if needed and needed_always == (not extra):
            yield requirement


def _list_extras() -> Iterator[Extra]:
    for name in importlib.metadata.metadata("seawall").get_all("Provides-Extra") or ():
        if name in CONTRIBUTING:
            continue
        missing = []
        for requirement in _list_requirements(name):
            version = _find_version(requirement.name)
            if version is None:
                missing.append(requirement.name)
            elif not requirement.specifier.contains(version, prereleases=True):
                missing.append(f"{requirement.name}{requirement.specifier} (found {version})")
        yield Extra(name=name, missing=tuple(missing), install=f'pip install "seawall[{name}]"')


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _inspect_hub() -> Hub:
    from huggingface_hub import constants, get_token

    return Hub(token=get_token() is not None, offline=constants.HF_HUB_OFFLINE)
