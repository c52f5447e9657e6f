"""`seawall run`: all stages of a recipe, resumed at any point, and its dry run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import seawall
from seawall.errors import ArtifactError, ConfigError
from seawall.lab.world.data import write_data
from seawall.recipes import commands, estimate, pipeline
from seawall.recipes.estimate import Estimate, StageEstimate
from seawall.recipes.read import read_recipe
from seawall.recipes.usage import format_bytes, format_seconds, measure_folder
from seawall.store.files import read_json
from small_run import assert_equal_embeddings

RECIPE = Path(__file__).parent.parent / "recipes" / "organism-image.toml"
TINY = {
    "synthesis.copies": "1",
    "alignment.steps": "4",
    "alignment.num_checkpoints": "2",
    "alignment.batch_size": "8",
    "evaluation.limit": "12",
}
"""Overrides for a run of seconds."""
RUN = "import json, pathlib, seawall, sys; seawall.run(*map(pathlib.Path, sys.argv[1:3]), json.loads(sys.argv[3]))"
"""A process that runs a recipe."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What a user of the built-in image model has: two phrases of each kind."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, phrases=2)
    return folder


@pytest.fixture(scope="module")
def overrides(data):
    """Overrides of the project's recipe: a tiny run on the data."""
    places = {"data.sources": f'["{data}/records.jsonl"]', "data.bank": str(data / "media")}
    places |= {"data.media": f'["{data}/media"]', "evaluation.data": str(data / "benchmark")}
    return {**TINY, **places}


@pytest.fixture(scope="module")
def finished(overrides, tmp_path_factory):
    """A finished run, and what it returned."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, seawall.run(RECIPE, out, overrides)


@pytest.fixture(scope="module")
def foreseen(overrides, tmp_path_factory):
    """The estimate of the same run."""
    out = tmp_path_factory.mktemp("dry")
    return estimate.estimate(read_recipe(RECIPE, overrides), out), out


@pytest.mark.slow
def test_a_recipe_goes_through_all_stages(finished):
    out, results = finished
    assert results == read_json(out / "results.json")
    kinds = {
        kind: {"pairs": 4, "rejected": 0, "refusing": float(kind == "harmful")} for kind in ("harmful", "harmless")
    }
    assert results["preparation"] == {"pairs": 8, "rejected": 0} | kinds
    assert results["synthesis"]["records"] == results["synthesis"]["embeddings"] == 8
    assert results["alignment"]["synthetic_harmful"]["per_batch"] == 2
    for name in ("before", "after"):
        judged = results[name]["organism"]
        assert judged["micro"]["n"] + judged["refused"]["n"] == 12
    assert "seconds" not in json.dumps(results)
    page = (out / "report.html").read_text()
    assert all(text in page for text in ("before", "after", "difference, p"))
    assert "### mm_safetybench" in (out / "adapter" / "README.md").read_text(), "the model card has the figures"


@pytest.mark.slow
def test_a_finished_run_prints_its_report_again_and_measures_nothing(finished, overrides, monkeypatch, capsys):
    out, results = finished
    used = read_json(out / "usage.json")
    assert list(used) == ["before", "prepare", "synthesize", "align", "after"]
    assert all(stage["memory"] > 1e8 and stage["gpu_memory"] >= 0 for stage in used.values())
    monkeypatch.setattr(commands, "parse_overrides", lambda tokens: overrides)
    commands.run(RECIPE, out=out)
    assert capsys.readouterr().out.endswith(f"Report: {out / 'report.html'}\n")
    assert read_json(out / "results.json") == results and read_json(out / "usage.json") == used


@pytest.mark.slow
def test_a_run_killed_twice_gives_the_same_results(finished, overrides, tmp_path):
    out = tmp_path / "run"
    argv = [sys.executable, "-c", RUN, str(RECIPE), str(out), json.dumps(overrides)]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    for reached in ("embeddings/.lock", "adapter/checkpoint-2/complete.json"):
        running = subprocess.Popen(argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        while not (out / reached).exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not (out / "results.json").exists()
    assert seawall.run(RECIPE, out, overrides) == finished[1]
    for name in ("results.json", "pairs/pairs.jsonl", "adapter/adapter_model.safetensors", "adapter/training.json"):
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes(), name
    assert_equal_embeddings(out / "embeddings", finished[0] / "embeddings")


@pytest.mark.slow
def test_a_recipe_without_evaluation_and_without_synthetic_media(overrides, tmp_path):
    shares = {
        f"alignment.mixture.{name}": "0" for name in ("synthetic_harmful", "synthetic_harmless", "media_harmless")
    }
    text = '[model]\nname = "organism:image"\n[data]\nsources = ["x"]\n[alignment]\nsteps = 1\nbatch_size = 4\n'
    (tmp_path / "recipe.toml").write_text(text)
    sources = {"data.sources": overrides["data.sources"]}
    results = seawall.run(tmp_path / "recipe.toml", tmp_path / "out", {**sources, **shares})
    assert set(results) == {"schema", "model", "preparation", "alignment"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter",
        "pairs",
        "results.json",
        "usage.json",
    ]


@pytest.mark.slow
def test_the_folder_of_a_run_with_other_settings_is_refused(finished, overrides):
    with pytest.raises(ArtifactError, match=r"holds the result of another run.*copies: 1 there, 2 now"):
        seawall.run(RECIPE, finished[0], {**overrides, "synthesis.copies": "2"})


def test_missing_files_are_named_before_anything_is_done(overrides, tmp_path):
    with pytest.raises(ConfigError, match=r"data.bank: there is no .*nothing"):
        seawall.run(RECIPE, tmp_path / "out", {**overrides, "data.bank": "nothing"})
    assert not (tmp_path / "out").exists()


def test_overrides_need_a_file(overrides, tmp_path):
    with pytest.raises(ConfigError, match="Overrides need the recipe's file"):
        seawall.run(read_recipe(RECIPE, overrides), tmp_path, {"alignment.steps": "1"})


@pytest.mark.slow
def test_the_dry_run_foresees_what_will_be_made(foreseen, finished):
    (made, out), (run, _) = foreseen, finished
    assert not any(out.iterdir()), "nothing is written"
    stages = {stage.stage: stage for stage in made.stages}
    assert list(stages) == list(read_json(run / "usage.json"))
    assert stages["prepare"].makes == "4 harmful and 4 harmless pairs"
    assert stages["synthesize"].makes == "8 embeddings, 1 per record"
    assert stages["align"].makes == "adapter, 4 steps of 8 examples by SFT"
    assert stages["before"].makes == stages["after"].makes == "12 answers"
    for name, folder in (("synthesize", "embeddings"), ("align", "adapter")):
        assert 0.5 < stages[name].disk / measure_folder(run / folder) < 2
    used = read_json(run / "usage.json")
    for name, stage in stages.items():
        assert 0.4 < stage.memory / used[name]["memory"] < 2.5, name
    assert made.missing_disk == 0 and not made.notes
    rows = made.list_rows()
    assert [row["stage"] for row in rows] == [*stages, "all"] and "GPU memory" not in rows[0]


@pytest.mark.slow
def test_a_dry_run_of_preferences_and_of_a_slow_model_on_a_full_disk(overrides, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=1_000))
    monkeypatch.setattr("seawall.recipes.probe.SYNTHESIS_SECONDS", 0.0)
    changes = {
        "alignment.method": "dpo",
        "evaluation.judges": '["strongreject=openai/x"]',
        "data.extractor": "openai/x",
    }
    made = estimate.estimate(read_recipe(RECIPE, {**overrides, **changes}), tmp_path / "not" / "there")
    assert any("30 steps per record are assumed; at most 120" in note for note in made.notes)
    assert any("12 requests each to strongreject=openai/x" in note for note in made.notes)
    assert any("requests to openai/x is not included" in note for note in made.notes)
    size = next(stage.disk for stage in made.stages if stage.stage == "synthesize")
    assert tmp_path in asked and made.missing_disk == size - 1_000


def make_estimate(missing: int) -> Estimate:
    stage = StageEstimate(stage="synthesize", makes="embeddings", seconds=5, memory=2 * 10**9, disk=3 * 10**9)
    return Estimate(stages=[stage], notes=["a note"], free_disk=10**9, missing_disk=missing)


def test_a_dry_run_without_room_for_the_embeddings_says_how_much_is_missing(overrides, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(estimate, "estimate", lambda recipe, out: make_estimate(2 * 10**9))
    monkeypatch.setattr(commands, "parse_overrides", lambda tokens: overrides)
    with pytest.raises(ArtifactError, match=r"take 3.0 GB, but the disk has 1.0 GB free: 2.0 GB are missing"):
        commands.run(RECIPE, out=tmp_path / "out", dry_run=True)
    out = capsys.readouterr().out
    assert "synthesize" in out and "Note: a note." in out, "the table is printed first"
    make_estimate(0).require_disk()


def test_a_run_without_evaluation_prints_its_results(overrides, monkeypatch, capsys, tmp_path):
    recipe = dataclasses.replace(read_recipe(RECIPE, overrides), evaluation=None, benchmark=None)
    monkeypatch.setattr("seawall.recipes.read.read_recipe", lambda path, changes: recipe)
    monkeypatch.setattr(pipeline, "run", lambda recipe, out: {"alignment": 1})
    commands.run(RECIPE, out=tmp_path)
    assert json.loads(capsys.readouterr().out) == {"alignment": 1}


def test_numbers_as_text():
    assert [format_bytes(n) for n in (0, 5e6, 1.26e9, 3e12)] == ["0 MB", "5 MB", "1.3 GB", "3.0 TB"]
    assert [format_seconds(n) for n in (0.2, 89, 150, 7_200)] == ["0 s", "89 s", "2.5 min", "2.0 h"]
