"""Folders that released versions wrote are continued: `tests/fixtures/<version>`, made by `tests/fixtures/make.py`."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import seawall
from seawall.errors import ArtifactError
from seawall.store.artifacts import MANIFEST

FOLDER = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__")

spec = importlib.util.spec_from_file_location("make_fixtures", FOLDER / "make.py")
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)

STAGES: dict[str, Callable[[Path], object]] = {
    "pairs": lambda f: seawall.prepare(f / "records.jsonl", f / "pairs", made.PREPARE),
    "embeddings": lambda f: seawall.synthesize(made.MODEL, f / "pairs", f / "embeddings", made.SYNTHESIZE),
    "adapter": lambda f: seawall.align(made.MODEL, f / "pairs", f / "embeddings", f / "adapter", made.ALIGN),
    "evaluation": lambda f: seawall.evaluate(
        made.MODEL, f / "benchmark", f / "evaluation", made.BENCHMARK, made.EVALUATE
    ),
}
OPTIONS = {
    "pairs": "duplicates",
    "embeddings": "threshold_retries",
    "adapter": "weight_decay",
    "evaluation": "system_prompt",
}
"""An option of each stage that has its default value in the fixtures."""


@pytest.fixture(params=VERSIONS)
def folder(request, tmp_path) -> Path:
    """A copy of one version's folders."""
    return Path(shutil.copytree(FOLDER / request.param, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture(params=STAGES)
def stage(request, folder) -> str:
    """Each stage of which the version has a folder."""
    if not (folder / request.param).is_dir():
        pytest.skip("TRL did not fit that version of transformers")
    return request.param


def test_a_finished_folder_is_returned_as_it_is(folder, stage):
    before = snapshot(folder / stage)
    assert STAGES[stage](folder)
    assert snapshot(folder / stage) == before


def test_a_folder_from_before_an_option_existed_is_returned_as_it_is(folder, stage):
    edit(folder / stage, lambda manifest: manifest["config"].pop(OPTIONS[stage]))
    before = snapshot(folder / stage)
    assert STAGES[stage](folder)
    assert snapshot(folder / stage) == before


def test_an_option_of_another_version_must_be_at_its_default(folder, stage):
    def add(manifest: dict, *, default: bool) -> None:
        manifest["config"]["new_option"] = 3
        manifest["defaults"] += ["new_option"] if default else []

    edit(folder / stage, lambda manifest: add(manifest, default=True))
    assert STAGES[stage](folder)
    edit(folder / stage, lambda manifest: manifest["defaults"].remove("new_option"))
    with pytest.raises(ArtifactError, match="new_option: 3 there, not known now"):
        STAGES[stage](folder)


def test_index_lines_of_another_version_are_read(folder):
    index = folder / "embeddings" / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    for line in lines:
        line["new_field"] = 1
        del line["seconds"], line["curve"]
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert seawall.synthesize(made.MODEL, folder / "pairs", folder / "embeddings", made.SYNTHESIZE)["verified"]


def test_a_store_that_lost_a_shard_is_completed(folder):
    for shard in (folder / "embeddings").glob("*.safetensors"):
        shard.unlink()
    summary = seawall.synthesize(made.MODEL, folder / "pairs", folder / "embeddings", made.SYNTHESIZE)
    assert summary["verified"] == summary["embeddings"] == 8


def test_a_folder_of_version_0_1_is_refused_in_one_sentence(folder):
    edit(folder / "pairs", lambda manifest: manifest.pop("schema"))
    with pytest.raises(ArtifactError, match=r"another version of Seawall \(schema 1, this version reads schema 2\)"):
        STAGES["embeddings"](folder)
