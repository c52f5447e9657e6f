"""Checkpoints of a training: which one is complete, and the error of a disk that is full while one is saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from seawall.errors import DataError
from seawall.store.files import read_json, write_json

COMPLETE = "complete.json"
"""File of a complete checkpoint with the size of each of its other files, written after them."""


class MarkComplete(TrainerCallback):
    """Marks each checkpoint as complete when every process has saved its files."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the mark of the checkpoint of this step."""
        processes = PartialState()  # the state that the training has set up
        processes.wait_for_everyone()
        if processes.is_main_process:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def mark_complete(checkpoint: Path) -> None:
    """Write the mark of a checkpoint, after its files have reached the disk."""
    for path in _list_files(checkpoint):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    write_json(checkpoint / COMPLETE, _measure_files(checkpoint))


def find_checkpoint(out: Path) -> str | None:
    """Return the last complete checkpoint in a folder, or None.

    A process that is killed, or a disk that is full, leaves a checkpoint without its mark, or with files of other sizes.
    """
    complete = [folder for folder in out.glob("checkpoint-*") if _is_complete(folder)]
    return str(max(complete, key=_get_step)) if complete else None


def forget_incomplete(out: Path) -> None:
    """Remove the marks of checkpoints that are not complete, before they are saved again."""
    for folder in out.glob("checkpoint-*"):
        if not _is_complete(folder):
            (folder / COMPLETE).unlink(missing_ok=True)


def _is_complete(checkpoint: Path) -> bool:
    try:
        return bool(read_json(checkpoint / COMPLETE) == _measure_files(checkpoint))
    except DataError:
        return False


def _measure_files(checkpoint: Path) -> dict[str, int]:
    """Return path -> size in bytes."""
    return {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in _list_files(checkpoint)}


def _list_files(checkpoint: Path) -> list[Path]:
    names = (COMPLETE, f"{COMPLETE}.partial")
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name not in names)


def _get_step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
