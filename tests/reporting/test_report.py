"""`report`: which folders it accepts, and the page writer that it calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seawall.errors import ArtifactError, DataError, SeawallError
from seawall.reporting.results import read_results
from seawall.reporting.run import PAGES, register_page, report
from seawall.store.files import write_json


def write_run(folder: Path, *, stage: str = "tested", complete: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    manifest = {"schema": 2, "stage": stage, "config": {}, "inputs": {}, "complete": complete}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def written(monkeypatch):
    """Register a page writer for the stage `tested`; return the lists of runs that it was called with."""
    calls = []

    def write(runs):
        calls.append(list(runs))
        return [run / "report.html" for run in runs]

    monkeypatch.setattr(PAGES, "_values", dict(PAGES._values))
    monkeypatch.setattr(PAGES, "_local", set(PAGES._local))
    register_page("tested", write)
    return calls


def test_the_writer_of_the_stage_gets_all_runs(written, tmp_path):
    runs = [write_run(tmp_path / name) for name in "ab"]
    assert report([str(run) for run in runs]) == [run / "report.html" for run in runs]
    assert written == [runs]


def test_a_folder_without_a_finished_run_is_refused(written, tmp_path):
    with pytest.raises(DataError, match="No run was given"):
        report([])
    with pytest.raises(ArtifactError, match=r"holds no result of Seawall.*`seawall evaluate`"):
        report([tmp_path])
    with pytest.raises(ArtifactError, match="has not finished"):
        report([write_run(tmp_path / "open", complete=False)])
    with pytest.raises(ArtifactError, match=r"There is no report page for stage 'align'. Known: .*evaluate"):
        report([write_run(tmp_path / "adapter", stage="align")])
    assert not written


def test_all_folders_are_checked_before_a_page_is_written(written, tmp_path):
    done = write_run(tmp_path / "done")
    with pytest.raises(ArtifactError, match="holds no result of `seawall tested`"):
        report([done, tmp_path / "missing"])
    with pytest.raises(ArtifactError, match="made by `seawall align`; a result of `seawall tested` is needed"):
        report([done, write_run(tmp_path / "adapter", stage="align")])
    with pytest.raises(ArtifactError, match="has not finished"):
        report([done, write_run(tmp_path / "open", complete=False)])
    assert not written


def test_results_that_are_missing_are_an_error_with_advice(tmp_path):
    with pytest.raises(ArtifactError, match=r"results\.json is missing\. Restore the file, or run the stage again"):
        read_results(tmp_path, 1)


@pytest.mark.parametrize("found", [{"schema": 2}, {}, []])
def test_results_of_another_schema_are_refused(tmp_path, found):
    write_json(tmp_path / "results.json", found)
    with pytest.raises(SeawallError, match=r"has schema (2|None); this version of Seawall reads schema 1"):
        read_results(tmp_path, 1)


def test_importing_the_stage_imports_no_heavy_library():
    code = "import sys, seawall.reporting.run; print({'matplotlib', 'jinja2', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
