"""What users see of long work, on standard error: bars on a terminal, elsewhere a line a stage in the log."""

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

log = logging.getLogger(__name__)


QUIET_SECONDS = 30
"""Where no bar can be seen, the log gets a line so often."""


class Bar:
    """What `track` gives: call `advance` as work is done."""

    def __init__(self, what: str, total: int, done: int, progress: Any) -> None:
        self.what, self.total, self.done = what, total, done
        self.note = ""
        self._before, self._begun = done, time.perf_counter()
        self._said = self._begun
        self._progress = progress
        self._task = progress.add_task(what, total=total, completed=done, note="", left="")

    def advance(self, number: int = 1, note: str = "") -> None:
        """Count `number` more as done; `note` is shown beside the count."""
        self.done, self.note = self.done + number, note
        left = self.describe_time_left()
        self._progress.update(self._task, advance=number, note=note, left=left)
        now = time.perf_counter()
        if not shows_bars() and now - self._said >= QUIET_SECONDS:
            log.info("%s: %d of %d%s, %s", self.what, self.done, self.total, f", {note}" if note else "", left)
            self._said = now

    def describe_time_left(self) -> str:
        """Return the time left at the mean pace of this session, as in "0:01:20 left"."""
        each = (time.perf_counter() - self._begun) / max(1, self.done - self._before)
        return f"{datetime.timedelta(seconds=round(each * (self.total - self.done)))} left"


def set_up_log(level: int = logging.INFO) -> None:
    """Let a process of the command line log plainly, from `level` on, and keep libraries' warnings to each other quiet."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("seawall").setLevel(level)


def shows_bars() -> bool:
    """Tell whether bars can be seen: on a terminal, and not from a worker process beside others."""
    return sys.stderr.isatty() and multiprocessing.parent_process() is None


@contextlib.contextmanager
def track(what: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show progress while the context lasts: on a terminal a bar, elsewhere a line every `QUIET_SECONDS`; a line at the end.

    Args:
        what: What is being done.
        total: How much there is, ...
        done: ... and how much of it was done before.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    left, note = TextColumn("{task.fields[left]}"), TextColumn("{task.fields[note]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), left, note)
    started = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shows_bars()) as progress:
        bar = Bar(what, total, done, progress)
        yield bar
    log.info(
        "%s: %d in %.1f s%s",
        what, bar.done - done, time.perf_counter() - started, f" ({bar.note})" if bar.note else "",
    )  # fmt: skip
