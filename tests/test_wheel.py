"""The wheel: complete, small, and at work in an environment of its own, outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import seawall
from seawall.store.files import read_json

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")
MAX_BYTES = 25 * 2**20

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command offline, without the settings of this process. Return its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", out)
    call(sys.executable, "-m", "pip", "wheel", *options, source, cwd=out)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_is_complete_and_under_25_mb(wheel):
    assert wheel.stat().st_size < MAX_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"seawall-{seawall.__version__}.dist-info/METADATA").decode())
        entry_points = archive.read(f"seawall-{seawall.__version__}.dist-info/entry_points.txt").decode()
    package = Path(seawall.__file__).parent
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(package.parent).as_posix() for path in files} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    assert metadata["Version"] == seawall.__version__ and metadata["License-Expression"] == "Apache-2.0"
    assert "[seawall.plugins]" in entry_points and "[inspect_ai]" in entry_points


def test_the_wheel_runs_the_demo_outside_the_checkout(wheel, tmp_path):
    """The environment is empty but for the wheel. A path file adds the dependencies that are installed here."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    home = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (home / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel, cwd=tmp_path)
    assert Path(call(python, "-c", "import seawall; print(seawall.__file__)", cwd=tmp_path)).is_relative_to(home)
    command = tmp_path / "venv" / "bin" / "seawall"
    assert call(command, "--version", cwd=tmp_path).strip() == seawall.__version__
    few = ("--steps", "4", "--phrases", "4", "--arms", "base", "--arms", "seawall", "--workers", "1")
    printed = call(command, "demo", *few, "--out", "demo", cwd=tmp_path)
    results = read_json(tmp_path / "demo" / "results.json")
    assert set(results["arms"]) == {"base", "seawall"} and results["versions"]["seawall"] == seawall.__version__
    assert "seawall" in printed and (tmp_path / "demo" / "report.html").is_file()
