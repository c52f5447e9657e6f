"""Registries, and plugins that extend them through the entry-point group `seawall.plugins`."""

from __future__ import annotations

import importlib.metadata
import logging
import sys

import pytest

from seawall import registry
from seawall.errors import ConfigError, ModelError
from seawall.models import families
from seawall.models.families import MODELS, is_registered_here_only, register_model
from seawall.registry import GROUP, Registry

PLUGIN = """
import seawall

seawall.register_model("plugin-model", lambda: None)
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forget which plugins are loaded, and undo registrations after the test."""
    MODELS.names()  # the built-in models stay registered
    monkeypatch.setattr(MODELS, "_values", dict(MODELS._values))
    monkeypatch.setattr(MODELS, "_local", set(MODELS._local))
    monkeypatch.setattr(registry, "_plugins", registry._Plugins())


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs a plugin: a module of this text, named by an entry point."""
    entries = []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: entries if group == GROUP else pytest.fail(group)
    )

    def install(module: str, text: str) -> None:
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
        entries.append(importlib.metadata.EntryPoint(module, module, GROUP))

    return install


def test_a_plugin_is_loaded_on_the_first_lookup_of_an_unknown_name(install):
    install("my_plugin", PLUGIN)
    known = next(iter(MODELS._values))
    assert MODELS.find(known) and "my_plugin" not in sys.modules
    assert callable(MODELS.find("plugin-model"))
    assert "plugin-model" in MODELS.names()
    assert not is_registered_here_only("plugin-model"), "worker processes load the plugin too"


def test_a_broken_plugin_only_logs_a_warning(install, caplog):
    install("broken_plugin", "raise RuntimeError('no such device')")
    install("my_plugin", PLUGIN)
    with caplog.at_level(logging.WARNING):
        assert "plugin-model" in MODELS.names()
    assert "the plugin 'broken_plugin'" in caplog.text and "no such device" in caplog.text
    caplog.clear()
    assert "other-model" not in MODELS and not caplog.text, "plugins are loaded once"


def test_the_laboratory_is_a_plugin():
    names = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
    assert names["lab"] == "seawall.lab.plugin"
    assert "organism:image" in MODELS


def test_a_name_registered_in_this_process_is_local_and_replaces_the_earlier_one():
    register_model("mine", lambda: 1)
    register_model("mine", lambda: 2)
    assert MODELS.find("mine")() == 2 and is_registered_here_only("mine")
    assert not is_registered_here_only("unknown")


def test_an_unknown_name_is_refused_with_the_known_names_and_advice(install):
    colours = Registry("colour", ConfigError, "Add it with register_colour(...).")
    with pytest.raises(
        ConfigError, match=r"There is no colour 'red'. Known: none. Add it with register_colour\(\.\.\.\)\."
    ):
        colours.find("red")
    colours.register("blue", 1)
    colours.register("green", 2)
    with pytest.raises(ConfigError, match="Known: blue, green"):
        colours.find("red")
    assert colours.names() == ["blue", "green"] and "blue" in colours and "red" not in colours


def test_models_are_refused_with_a_model_error(install):
    with pytest.raises(ModelError, match="There is no model 'zork'"):
        families.MODELS.find("zork")
