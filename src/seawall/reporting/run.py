"""Stage 5, `report`: results on disk -> report pages.

Each stage that has a page registers a function that writes it; see `register_page`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seawall.errors import ArtifactError, DataError
from seawall.registry import Registry
from seawall.store.artifacts import MANIFEST, read_manifest, require

PageWriter = Callable[[Sequence[Path]], list[Path]]
"""Takes the folders of finished runs of one stage, checks all of them, writes their pages and returns the paths."""

PAGES: Registry[PageWriter] = Registry(
    "report page for stage", ArtifactError, "Give the folders of runs of one of these stages."
)


def register_page(stage: str, write: PageWriter) -> None:
    """Register the function that writes the report pages of a stage.

    Args:
        stage: Name of the stage, as in `manifest.json`.
        write: Called with the folders of finished runs. It must check all of them before it writes the first page.
    """
    PAGES.register(stage, write)


def report(runs: Sequence[Path]) -> list[Path]:
    """Write the report pages of finished runs.

    Each run of `demo` gets a page of its own. Evaluations of one benchmark share a page in the last folder, which compares them;
    for two evaluations it also gives the paired difference.

    Args:
        runs: Folders of runs of one stage. All are checked before the first page is written.

    Returns:
        Paths of the pages.

    Raises:
        DataError: No folder was given, or results cannot be read.
        ArtifactError: A folder holds no finished run, or a run of a stage without a page.
    """
    if not runs:
        raise DataError("No run was given. Give the folders of finished runs of `seawall demo` or `seawall evaluate`.")
    folders = [Path(run) for run in runs]
    if not (folders[0] / MANIFEST).is_file():
        raise ArtifactError(
            f"{folders[0]} holds no result of Seawall (no {MANIFEST}). Give the folder of a finished run of "
            f"{' or '.join(f'`seawall {stage}`' for stage in PAGES.names())}."
        )
    stage = read_manifest(folders[0]).stage
    write = PAGES.find(stage)
    for folder in folders:
        require(folder, stage)
    return write(folders)


def _write_evaluation_page(runs: Sequence[Path]) -> list[Path]:
    from seawall.reporting.tables import write_page

    return [write_page(runs)]


register_page("evaluate", _write_evaluation_page)
