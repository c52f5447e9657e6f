"""What the laboratory registers, and that registering it is light."""

from __future__ import annotations

import subprocess
import sys

from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.judges.registry import JUDGES, make_scorers
from seawall.lab.organisms import ORGANISMS, find_organism
from seawall.models.families import MODELS
from seawall.reporting.run import PAGES


def test_models_benchmark_judge_and_page_are_registered_as_those_of_a_package():
    for name in ORGANISMS:
        assert MODELS.find(f"organism:{name}") == find_organism(name) and not MODELS.is_local(f"organism:{name}")
    assert BENCHMARKS.find("organism").judges == ("organism",)
    assert not JUDGES.find("organism").needs_model and len(make_scorers(["organism"])) == 1
    assert "demo" in PAGES


def test_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, seawall.lab.plugin; print({'torch', 'inspect_ai', 'transformers', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
