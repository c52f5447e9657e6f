"""Caches: private, and in a temporary folder where the usual one cannot be written, for root as well."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from seawall.errors import ArtifactError, ConfigError
from seawall.store import caches

CODE = """
import logging, os, sys
logging.basicConfig()
from seawall.store.caches import provide_caches
provide_caches()
import platformdirs
from huggingface_hub import constants
print(platformdirs.user_cache_path("seawall"), platformdirs.user_data_path("inspect_ai"), constants.HF_HOME, sep="\\n")
"""
NAMES = {*caches.VARIABLES, *caches.OWN_VARIABLES, "HF_HOME", "HF_HUB_CACHE"}


def run(home, **more):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= {"HOME": str(home), "PYTHONPATH": ":".join(sys.path), **more}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_a_home_that_cannot_be_written_is_replaced_with_a_warning(tmp_path):
    (cache, data, hub), errors = run("/proc/nowhere", TMPDIR=str(tmp_path))
    assert all(path.startswith(str(tmp_path / "seawall-caches-")) for path in (cache, data, hub))
    assert "/proc/nowhere/.cache" in errors and "set HOME or XDG_CACHE_HOME" in errors
    assert not list(tmp_path.iterdir()), "it is removed at the end"


def test_a_home_that_can_be_written_is_not_touched(tmp_path):
    (cache, data, hub), errors = run(tmp_path)
    assert (cache, data) == (f"{tmp_path}/.cache/seawall", f"{tmp_path}/.local/share/inspect_ai")
    assert hub == f"{tmp_path}/.cache/huggingface" and not errors and not list(tmp_path.iterdir())


def test_models_of_a_hub_cache_that_can_only_be_read_are_still_found(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    for name in NAMES - {"HF_HOME"}:
        monkeypatch.delenv(name, raising=False)
    for name in NAMES:  # restored afterwards, whatever `provide_caches` sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(caches, "_can_write", lambda folder: home not in folder.parents)
    caches.provide_caches()
    assert os.environ["HF_HOME"] == str(home / ".cache" / "huggingface")
    assert not os.environ["XDG_CACHE_HOME"].startswith(str(home))


def test_without_a_temporary_folder_the_variables_are_named(monkeypatch):
    def refuse(**_):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(caches, "_can_write", lambda _: False)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(ConfigError, match="Set XDG_CACHE_HOME, XDG_DATA_HOME, XDG_CONFIG_HOME or TMPDIR"):
        caches.provide_caches()


def test_only_the_owner_can_enter_a_cache(tmp_path):
    folder = caches.make_private(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "old").mkdir(mode=0o755)
    assert caches.make_private(tmp_path / "old").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ArtifactError, match=r"cache /proc/nowhere/b cannot be created .*Set XDG_CACHE_HOME"):
        caches.make_private(caches.Path("/proc/nowhere/b"))
