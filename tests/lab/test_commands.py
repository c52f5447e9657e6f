"""The settings of the demo, and the commands of the laboratory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import seawall
from seawall.alignment.mixture import read_media
from seawall.errors import ArtifactError, ConfigError
from seawall.evaluation.benchmarks.read import read_benchmark
from seawall.evaluation.config import BenchmarkConfig
from seawall.lab import commands, demo, pages
from seawall.lab.arms import DemoConfig
from seawall.lab.organisms import FETCHED, ORGANISMS, find_organism


def test_a_demo_without_workers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="workers is 0; it must be at least 1"):
        demo.run_demo(tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modality": "smell"}, "modality is 'smell'; it must be one of 'image', 'video', 'audio', 'reader', 'all'"),
        ({"seeds": 0, "steps": 3}, "seeds is 0; it must be at least 1; steps is 3; it must be at least 4"),
        ({"num_checkpoints": 0}, "num_checkpoints is 0"),
        ({"arms": ("seawall", "nope")}, "arms contains 'nope'; choose from base"),
    ],
)
def test_settings_that_cannot_work_are_named_together(settings, message):
    with pytest.raises(ConfigError, match=message):
        DemoConfig(**settings)


def test_all_modalities_run_in_turn(monkeypatch, tmp_path, capsys):
    ran = []
    monkeypatch.setattr(demo, "run_demo", lambda out, config, workers: ran.append((out, config)))
    monkeypatch.setattr(pages, "print_results", lambda results: None)
    commands.demo(out=tmp_path, config=DemoConfig(modality="all"))
    assert [(out, config.modality) for out, config in ran] == [(tmp_path / name, name) for name in ORGANISMS]
    assert all((config.steps, config.num_checkpoints) == (120, 1) for _, config in ran)
    out = capsys.readouterr().out
    assert all(str(tmp_path / name / "report.html") in out for name in ORGANISMS)
    given = DemoConfig(modality="all", steps=9, num_checkpoints=2).list_demos()
    assert [(config.steps, config.num_checkpoints) for config in given.values()] == [(9, 2)] * len(ORGANISMS)
    one = DemoConfig(modality="video")
    assert one.list_demos() == {"": one}


def test_sounds_train_longer_by_sft():
    assert [DemoConfig(modality="audio", method=method).get_steps() for method in ("sft", "dpo")] == [480, 240]
    assert DemoConfig().get_steps() == 240 and DemoConfig(modality="audio", steps=9).get_steps() == 9


def test_built_in_models_are_listed_and_exported(tmp_path, capsys):
    commands.list_organisms(json=True)
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == [
        f"organism:{name}" for name in (*ORGANISMS, *FETCHED)
    ]
    commands.export_organism("image", tmp_path / "parent" / "image")
    exported, built_in = tmp_path / "parent" / "image", find_organism("image")
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == {
        path.name: path.read_bytes() for path in built_in.iterdir()
    }
    with pytest.raises(ArtifactError, match="exists and is not overwritten"):
        commands.export_organism("image", exported)
    with pytest.raises(ArtifactError, match="exists and is not overwritten"):
        commands.train_organism("image", out=exported)


def test_data_of_a_built_in_model_fit_every_stage(tmp_path, capsys):
    commands.write_organism_data("image", out=tmp_path / "data", phrases=2)
    places = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(places) == ["records", "media", "benchmark"]
    seawall.prepare(places["records"], tmp_path / "pairs")
    assert list(read_media(Path(places["media"]), "image"))
    assert read_benchmark(BenchmarkConfig(benchmark="mm_safetybench"), Path(places["benchmark"]))
    with pytest.raises(ArtifactError, match="exists and is not overwritten"):
        commands.write_organism_data("image", out=tmp_path / "data")
    with pytest.raises(ConfigError, match="phrases is 0"):
        commands.write_organism_data("image", out=tmp_path / "other", phrases=0)
