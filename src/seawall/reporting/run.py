"""The last stage, `report`: what a demo or evaluations left on disk -> one HTML page and a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.store.artifacts import MANIFEST, read_manifest, require
from seawall.store.files import read_json
from seawall.errors import ArtifactError, DataError

RESULTS, PAGE = "results.json", "report.html"
SCHEMA = 1


def report(runs: Sequence[Path]) -> list[Path]:
    """Write `report.html` in each folder of a finished demo; or of evaluations of one benchmark, one page with all side by side in the last.

    Args:
        runs: Folders that `seawall demo` wrote, or that `seawall evaluate` wrote: of two, the page tells the paired difference. All are
            checked before the first page is written.

    Returns:
        Paths of the pages.

    Raises:
        ArtifactError: A folder is not that of a finished demo or evaluation, or something is missing from it.
        DataError: No folder was given, or its results are of another schema or cannot be read.
    """
    from seawall.lab.pages import build_page

    if not runs:
        raise DataError(
            "No run was given, so there is nothing to report. Give the folder of a finished `seawall demo`."
        )
    runs = [*map(Path, runs)]
    if (runs[0] / MANIFEST).is_file() and read_manifest(runs[0])["stage"] == "evaluate":
        from seawall.reporting.tables import make_tables, read_evaluations, write_page

        for run in runs:
            require(run, "evaluate")
        return [write_page(runs[-1], make_tables(runs, read_evaluations(runs)))]
    pages = []
    for run, results in [(run, read_results(run)) for run in runs]:
        pages.append(run / PAGE)
        pages[-1].write_text(build_page(run, results), encoding="utf-8")
    return pages


def read_results(run: Path) -> dict[str, Any]:
    """Return the results of a finished demo.

    Raises:
        ArtifactError: The folder is not that of a finished demo.
        DataError: The results are of another schema or cannot be read.
    """
    require(run, "demo")
    path = run / RESULTS
    if not path.is_file():
        raise ArtifactError(
            f"{run} says that its demo is finished, but {RESULTS} is missing, so there is nothing to report. "
            "Bring the file back, or run `seawall demo` with another --out."
        )
    results = read_json(path)
    found = results.get("schema") if isinstance(results, dict) else None
    if found != SCHEMA:
        raise DataError(
            f"{path} has schema {found!r}; this version of seawall reads schema {SCHEMA} alone. "
            "Use the version that wrote it, or run `seawall demo` again with another --out."
        )
    return results
