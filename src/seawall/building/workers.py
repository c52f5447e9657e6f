"""Worker processes that share the media of a run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from seawall.building.media import MediaBuilder
from seawall.building.plan import MediaFile
from seawall.errors import EngineError


def make_groups(builder: MediaBuilder, groups: list[list[MediaFile]], workers: int) -> Iterator[list[dict[str, Any]]]:
    """Make groups of media in worker processes. Yield the lines of each group when it is finished.

    Args:
        builder: Makes the media.
        groups: See `group_media`.
        workers: Number of processes. With 1, everything runs in this process.

    Raises:
        EngineError: A worker died.
    """
    if workers == 1 or len(groups) < 2:
        yield from (builder.make(group) for group in groups)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(groups)), mp_context=context, initializer=_start_worker) as pool:
        try:
            for done in as_completed([pool.submit(builder.make, group) for group in groups]):
                yield done.result()
        except BrokenProcessPool as error:
            raise EngineError(
                "A worker process died, most often because memory ran out. Finished media are kept: rerun the command with fewer "
                '--workers to resume. In a script, call build under `if __name__ == "__main__":`, because each worker imports '
                "the script, or use workers=1."
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    """Make a worker ignore Ctrl-C, which its parent handles, and exit when its parent does, even after `kill -9`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_with_parent, daemon=True).start()


def exit_with_parent() -> None:
    """Wait for the parent of this worker process, and end the worker with it."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
