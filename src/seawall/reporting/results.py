"""The results of a finished run, from which its page is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seawall.errors import ArtifactError, DataError
from seawall.store.files import read_json

RESULTS, PAGE = "results.json", "report.html"


def read_results(run: Path, schema: int) -> dict[str, Any]:
    """Return the content of `results.json` of a finished run.

    Args:
        run: Folder of the run.
        schema: Schema number that the caller can read.

    Raises:
        ArtifactError: The file is missing.
        DataError: It is not JSON, or has another schema.
    """
    path = run / RESULTS
    if not path.is_file():
        raise ArtifactError(
            f"{run} is marked as finished, but its {RESULTS} is missing. Restore the file, or run the stage again with "
            "another --out."
        )
    results = read_json(path)
    found = results.get("schema") if isinstance(results, dict) else None
    if found != schema:
        raise DataError(
            f"{path} has schema {found!r}; this version of Seawall reads schema {schema}. Use the version that wrote the "
            "file, or run the stage again with another --out."
        )
    return dict(results)
