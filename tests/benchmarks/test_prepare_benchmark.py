"""The benchmark of `prepare`: the accuracy of the rules on requests marked by hand, and the speed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from seawall.preparation.extract import MAX_WORDS, content_words

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "prepare.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("prepare_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_of_the_marked_requests(benchmark, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--json", "--records", "400"])
    benchmark.main()
    result = json.loads(capsys.readouterr().out)
    for part in ("development", "held_out", "earlier"):
        assert result[part]["right"] >= 0.9 and result[part]["kept"] >= 0.75
        assert result[part]["wrong"] <= 0.03 and result[part]["deictic"] == result[part]["leaks"] == 0
    assert result["development"]["auc"] <= 0.6 and result["held_out"]["auc"] <= 0.6
    assert result["earlier"]["auc"] is None, "those requests have no kind"
    speed = result["speed"]
    assert speed["records"] == 400 == speed["pairs"] + speed["rejected"] and speed["records_per_second"] > 500


def test_the_200_requests_are_distinct_and_marked(benchmark):
    rows = benchmark.read_instructions()
    assert len(rows) == len({row.instruction for row in rows}) == 200
    phrases = [row.phrase for row in rows if row.category != "reject"]
    assert all(row.category in ("activity", "product", "reject") for row in rows) and len(phrases) > 185
    assert all(len(phrase.split()) <= MAX_WORDS and content_words(phrase) for phrase in phrases)
