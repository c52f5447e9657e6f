"""Progress of long work, on standard error: bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import logging
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from seawall.errors import make_printable

log = logging.getLogger(__name__)

LOG_INTERVAL = 30
"""Seconds between two progress lines in the log, where no bar is shown."""


class ProgressBar:
    """Returned by `track`. Call `advance` when work is done."""

    def __init__(self, description: str, total: int, done: int, progress: Any) -> None:
        self.description, self.total, self.done = description, total, done
        self.note = ""
        self._done_before, self._started = done, time.perf_counter()
        self._logged = self._started
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done, note="")

    def advance(self, number: int = 1, note: str = "") -> None:
        """Count `number` more units as done and show `note` beside the count."""
        self.done, self.note = self.done + number, note
        self._progress.update(self._task, advance=number, note=note)
        now = time.perf_counter()
        if not shows_bars() and now - self._logged >= LOG_INTERVAL:
            log.info(
                "%s: %d of %d%s, %s",
                self.description, self.done, self.total, f", {note}" if note else "", self.describe_time_left(),
            )  # fmt: skip
            self._logged = now

    def describe_time_left(self) -> str:
        """Return the remaining time at the mean speed of this session, for example "0:01:20 left"."""
        seconds_each = (time.perf_counter() - self._started) / max(1, self.done - self._done_before)
        return f"{datetime.timedelta(seconds=round(seconds_each * (self.total - self.done)))} left"


class PrintableFormatter(logging.Formatter):
    """Formats messages without secrets and without what would control a terminal; see `errors.make_printable`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message."""
        return make_printable(super().format(record))


def set_up_log(level: int = logging.INFO) -> None:
    """Configure logging for a process of the command line.

    Args:
        level: Lowest level of Seawall's own messages. Other libraries log warnings and errors only.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("seawall").setLevel(level)


def shows_bars() -> bool:
    """Return whether progress bars are shown: on a terminal, and only by the main process."""
    return sys.stderr.isatty() and multiprocessing.parent_process() is None


@contextlib.contextmanager
def track(description: str, total: int, done: int = 0) -> Iterator[ProgressBar]:
    """Show progress until the context ends, and log one line then.

    Args:
        description: What is being done, for example "synthesizing".
        total: Units of work in all.
        done: Units that an earlier session finished.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shows_bars()) as progress:
        bar = ProgressBar(description, total, done, progress)
        yield bar
    log.info(
        "%s: %d in %.1f s%s",
        description, bar.done - done, time.perf_counter() - started, f" ({bar.note})" if bar.note else "",
    )  # fmt: skip
