"""What users see of long work, on standard error: bars on a terminal, elsewhere a line a stage in the log."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator

log = logging.getLogger(__name__)


class Bar:
    """What `track` gives: call `advance` as work is done."""

    def __init__(self, progress: object, task: object) -> None:
        self._progress, self._task = progress, task

    def advance(self, number: int = 1) -> None:
        """Count `number` more as done."""
        self._progress.advance(self._task, number)


def set_up_log(level: int = logging.INFO) -> None:
    """Let a process of the command line log plainly, from `level` on, and keep libraries' warnings to each other quiet."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("seawall").setLevel(level)


def shows_bars() -> bool:
    """Tell whether bars can be seen: on a terminal, and not from a worker process beside others."""
    return sys.stderr.isatty() and multiprocessing.parent_process() is None


@contextlib.contextmanager
def track(what: str, total: int) -> Iterator[Bar]:
    """Show a bar with count, rate and time left while the context lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    started = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shows_bars()) as progress:
        yield Bar(progress, progress.add_task(what, total=total))
    log.info("%s: %d in %.1f s", what, total, time.perf_counter() - started)
