"""The benchmark of `prepare`: the accuracy of the rules on 200 requests in the forms of public safety data."""

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


def test_the_rules_find_the_phrases_of_200_requests(benchmark, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--json", "--records", "400"])
    benchmark.main()
    result = json.loads(capsys.readouterr().out)
    assert result["all"]["right"] >= 0.85 and result["held_out"]["right"] >= 0.8
    assert result["all"]["leaks"] == 0 and result["all"]["wrong"] <= 0.05
    assert sum(result["all"][name] for name in ("right", "wrong", "rejected")) == pytest.approx(1)
    speed = result["speed"]
    assert speed["records"] == 400 == speed["pairs"] + speed["rejected"] and speed["records_per_second"] > 500


def test_the_200_requests_are_distinct_and_marked(benchmark):
    rows = benchmark.read_instructions()
    assert len(rows) == len({instruction for instruction, *_ in rows}) == 200
    assert all(category in ("activity", "product") for *_, category in rows)
    within = [len(phrase.split()) <= MAX_WORDS for _, phrase, _ in rows]
    assert sum(within) > 190, "only a few phrases are longer than a pair allows"
    assert all(content_words(phrase) for _, phrase, _ in rows)
