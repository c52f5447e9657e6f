"""The fingerprint, which tells whether a store fits a model: it survives an upgrade of transformers."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from seawall.models.load import compute_fingerprint, load_model


def test_it_does_not_depend_on_the_version_of_transformers(tiny, tiny_path, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.configuration_utils.__version__", "99.0.0")
    assert tiny.model.config.to_diff_dict()["transformers_version"] == "99.0.0"
    assert compute_fingerprint(tiny.model) == tiny.fingerprint
    shutil.copytree(tiny_path, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "transformers_version": "4.0.0", "use_cache": False, "unknown": 1}))
    assert load_model(str(tmp_path / "model")).fingerprint == tiny.fingerprint


def test_it_does_not_depend_on_the_names_of_the_parameters(tiny):
    """New versions of transformers move modules."""
    named = [(f"model.{name}", parameter) for name, parameter in tiny.model.named_parameters()]
    renamed = type("Renamed", (), {"config": tiny.model.config, "named_parameters": lambda _: reversed(named)})()
    assert compute_fingerprint(renamed) == tiny.fingerprint


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("text_config", "rms_norm_eps", 1e-2),
        ("text_config", "rope_parameters", {"rope_type": "default", "rope_theta": 77.0}),
        ("vision_config", "hidden_act", "quick_gelu"),
        ("", "vision_feature_layer", -2),
    ],
)
def test_it_changes_with_a_setting_that_no_shape_shows(tiny_path, tiny, tmp_path, part, setting, value):
    shutil.copytree(tiny_path, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    (config[part] if part else config)[setting] = value
    path.write_text(json.dumps(config))
    assert load_model(str(tmp_path / "model")).fingerprint != tiny.fingerprint


@pytest.mark.parametrize("change", ["weight", "type"])
def test_it_changes_with_the_weights_and_the_architecture(tiny, change):
    if change == "weight":
        with torch.no_grad():
            next(iter(tiny.model.parameters())).view(-1)[0] += 1
    else:
        tiny.model.config.model_type = "another"
    assert compute_fingerprint(tiny.model) != tiny.fingerprint
