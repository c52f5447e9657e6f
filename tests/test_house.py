"""The rules of the house that linters do not check: sizes, and who may know of the laboratory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import seawall

SOURCE = Path(seawall.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_has_at_most_300_lines_and_its_functions_60(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    }
    assert not long


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_has_at_most_ten_files(folder):
    files = [path.name for path in folder.iterdir() if path.is_file()]
    assert len(files) <= 10, files


@pytest.mark.parametrize(
    "path", [path for path in FILES if "lab" not in path.parts and path.name != "cli.py"], ids=name
)
def test_only_the_laboratory_and_the_command_line_name_an_organism(path):
    assert "organism" not in path.read_text(encoding="utf-8").lower()


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_verbs_and_packages_do_not_hide_each_other():
    assert callable(seawall.evaluate) and callable(seawall.evaluation.statistics.wilson)
    for verb, package in (
        ("prepare", "preparation"),
        ("synthesize", "synthesis"),
        ("align", "alignment"),
        ("steer", "steering"),
        ("report", "reporting"),
        ("build", "building"),
    ):
        assert callable(getattr(seawall, verb)) and getattr(seawall, package).__name__ == f"seawall.{package}"


def test_every_public_name_exists():
    for public in seawall.__all__:
        assert getattr(seawall, public) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = seawall.nothing


def test_import_and_configs_load_no_heavy_library():
    code = (
        "import sys, seawall; seawall.PrepareConfig(); seawall.SynthesizeConfig(); seawall.AlignConfig();"
        "seawall.EvaluateConfig(); seawall.BuildConfig(); seawall.SteerConfig();"
        "print([name for name in ('torch', 'transformers', 'inspect_ai', 'datasets', 'matplotlib') if name in sys.modules])"
    )
    assert run(code) == "[]"


def test_registered_models_need_no_import():
    assert run("import seawall; from seawall.models.families import MODELS; print(MODELS.names())") == str(
        ["organism:image", "organism:video", "organism:audio", "organism:reader"]
    )
