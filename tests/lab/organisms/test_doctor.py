"""`seawall doctor`: the report, the self-test and its exit code."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
import torch

from seawall import cli
from seawall.lab.organisms import doctor
from seawall.lab.organisms.doctor import Gpu, Torch, diagnose, list_rows
from seawall.lab.organisms.self_test import SelfTest, run_self_test

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
PASSED = SelfTest(passed=True, seconds=1.0, device="cpu")


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `seawall doctor` in this process: (exit code, standard output)."""

    def run(*argv):
        monkeypatch.setattr(sys, "argv", ["seawall", "doctor", *argv])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        return exit.value.code or 0, capsys.readouterr().out

    return run


@pytest.fixture
def healthy(monkeypatch):
    """Skip the self-test."""
    monkeypatch.setattr(doctor, "run_self_test", lambda: PASSED)


def test_the_report_of_a_working_machine(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_thisIsSecret")
    code, out = run("--json")
    report = json.loads(out)
    assert code == 0 and "hf_thisIsSecret" not in out
    assert report["self_test"]["passed"] and 0 < report["self_test"]["seconds"] < 60
    assert report["torch"]["version"] == torch.__version__ and report["packages"]["torch"] == torch.__version__
    assert report["hub"]["token"] is True and report["cores"] >= 1
    assert 0 < report["free_gb"] <= report["memory_gb"]
    assert {disk["use"] for disk in report["disks"]} == {"here", "hub cache", "seawall cache"}


def test_the_table_is_short_and_has_the_same_facts(run, healthy, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    code, out = run()
    assert code == 0 and len(out.splitlines()) < 25
    for text in (f"{torch.__version__}, ", "self-test", "passed in 1.0 s on cpu", "no token", "GB free"):
        assert text in out


def test_a_failed_self_test_gives_exit_code_1_and_hides_the_home_folder(run, monkeypatch):
    def fail(name):
        raise OSError(f"{Path.home()}/weights is truncated\nmore lines")

    monkeypatch.setattr("seawall.models.load.load_model", fail)
    code, out = run()
    assert code == 1
    assert "OSError: ~/weights is truncated" in out and "more lines" not in out and "failed" in out


@pytest.mark.parametrize(
    ("name", "replacement", "error"),
    [
        (
            "generate.generate",
            lambda *_, **__: ["The image shows nothing."],
            "The model named 'The image shows nothing.'",
        ),
        ("encode.encode_media", lambda loaded, media: torch.zeros(1, 36, 96), "with its injected embedding"),
        ("losses.example_losses", lambda *_: torch.zeros(1, requires_grad=True), "No finite gradient reached"),
    ],
)
def test_each_step_of_the_self_test_can_fail(monkeypatch, name, replacement, error):
    monkeypatch.setattr(f"seawall.models.{name}", replacement)
    result = run_self_test()
    assert not result.passed and error in result.error


def test_missing_and_old_packages_come_with_what_installs_them(healthy, monkeypatch):
    found = importlib.metadata.version

    def version(name):
        if name in ("ray", "peft"):
            raise importlib.metadata.PackageNotFoundError(name)
        return {"inspect_evals": "0.1", "trl": "9.9"}.get(name) or found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    rows = {(row["check"], row["status"]): row["found"] for row in list_rows(diagnose())}
    assert rows["extra ray", "optional"] == 'no ray: pip install "seawall[ray]"'
    assert rows["extra judges", "optional"].startswith("no inspect_evals>=0.26 (found 0.1): pip install")
    assert rows["package", "failed"] == "peft is missing"
    assert rows["package", "warning"].startswith("trl 9.9 is outside the tested range")
    assert ("extra dev", "optional") not in rows and ("extra dev", "ok") not in rows


def test_a_broken_torch_is_a_line_of_the_report(healthy, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    row = next(row for row in list_rows(diagnose()) if row["check"] == "torch")
    assert row["status"] == "failed" and "torch cannot be imported" in row["found"]


def test_gpus_are_listed(healthy):
    gpus = (Gpu(name="H100", memory_gb=85.0, free_gb=80.5),)
    diagnosis = dataclasses.replace(diagnose(), torch=Torch(version="2.13.0", cuda="12.8", gpus=gpus))
    rows = {row["check"]: row["found"] for row in list_rows(diagnosis)}
    assert rows["GPU"] == "H100, 80.5 of 85.0 GB free" and rows["torch"] == "2.13.0, CUDA 12.8"
    without = dataclasses.replace(diagnosis, torch=Torch(version="2.13.0", cuda="12.8"))
    assert "finds no GPU: check the driver" in list_rows(without)[1]["found"]


def test_the_issue_template_asks_for_the_output():
    template = Path(__file__).parents[3] / ".github" / "ISSUE_TEMPLATE" / "bug.md"
    assert "seawall doctor" in template.read_text("utf-8")
