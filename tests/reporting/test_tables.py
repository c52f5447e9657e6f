"""The page of evaluations: scores side by side, and the paired difference of two."""

from __future__ import annotations

from pathlib import Path

import pytest

from seawall.errors import ArtifactError, DataError
from seawall.reporting import tables
from seawall.reporting.card import add_to_card
from seawall.reporting.run import report
from seawall.store.files import write_json


def make_share(share, *, n=20, all=20):
    found = {"share": share, "low": None, "high": None} if share is None else {"share": share, "low": 0.1, "high": 0.9}
    return {**found, "n": n, "all": all}


def write_evaluation(folder, *, asr=0.5, judges=("refusal", "reference"), benchmark="mm_safetybench", adapter=None):
    scores = {
        "macro": {"share": asr, "low": 0.2, "high": 0.8, "scenarios": 1, "without_verdict": []},
        "micro": make_share(asr, n=18),
        "by_type": {"SD": make_share(asr), "TYPO": make_share(None, n=0)},
        "by_scenario": {"06-Fraud": make_share(asr)},
        "refused": make_share(0.25),
    }
    agreement = [{"judges": [*judges], "n": 20, "share": 0.9, "kappa": 0.8}] if len(judges) == 2 else []
    folder.mkdir()
    results = {
        "schema": tables.SCHEMA,
        "benchmark": benchmark,
        "model": "boats",
        "adapter": adapter,
        "agreement": agreement,
    }
    write_json(folder / "results.json", {**results, "judges": dict.fromkeys(judges, scores)})
    manifest = {"schema": 2, "stage": "evaluate", "config": {}, "inputs": {}, "complete": True}
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture
def differences(monkeypatch):
    """Replace the comparison of logs. Its real results are tested in tests/evaluation."""
    found = {"difference": -0.3, "low": -0.4, "high": -0.2, "p": 0.012}
    monkeypatch.setattr(tables, "_compare", lambda runs: {"refusal": {"asr": found}})
    monkeypatch.setattr(tables, "_show_changes", lambda runs, judges: {"refusal": "<p>changed</p>"})


def test_the_page_has_every_score_of_every_judge(tmp_path, capsys):
    run = write_evaluation(tmp_path / "run")
    assert report([run]) == [run / "report.html"]
    page, out = (run / "report.html").read_text(), capsys.readouterr().out
    for text in ("judge refusal", "judge reference", "ASR, mean of scenarios", "06-Fraud", "TYPO", "no verdict"):
        assert text in page and text in out
    assert "0.500 [0.100, 0.900] n = 18, 2 unscored" in out
    assert "refusal and reference agree on 0.90, kappa 0.80" in out
    assert "difference" not in out, "one evaluation has no difference"


def test_two_evaluations_get_their_paired_difference(differences, tmp_path, capsys):
    runs = [write_evaluation(tmp_path / "before", asr=0.8), write_evaluation(tmp_path / "after", judges=("refusal",))]
    assert report(runs) == [tmp_path / "after" / "report.html"]
    page = (tmp_path / "after" / "report.html").read_text()
    assert page.index("judge refusal") < page.index("<svg") < page.index("<p>changed</p>") < page.index("</body>")
    out = capsys.readouterr().out
    assert "judge reference" not in out, "only judges that all evaluations have"
    (line,) = [line for line in out.splitlines() if "ASR, all answers" in line]
    assert "0.800" in line and "0.500" in line and "-0.300 [-0.400, -0.200], p = 0.012" in line
    (line,) = [line for line in out.splitlines() if "harmless items refused" in line]
    assert "p =" not in line, "the comparison has no difference for this score"


def test_three_evaluations_are_not_compared_in_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report([write_evaluation(Path(name)) for name in ("first", "second", "third")])
    out = capsys.readouterr().out
    assert "difference" not in out and all(name in out for name in ("first", "second", "third"))


def test_a_single_judge_gets_advice(tmp_path, capsys):
    report([write_evaluation(tmp_path / "run", judges=("refusal",))])
    assert "Add a second one (docs/how_to/judges.md)" in capsys.readouterr().out


def test_evaluations_of_two_benchmarks_are_refused(tmp_path):
    runs = [write_evaluation(tmp_path / "a"), write_evaluation(tmp_path / "b", benchmark="xstest")]
    with pytest.raises(DataError, match=r"different benchmarks \(.*a: mm_safetybench, .*b: xstest\)"):
        report(runs)
    assert not (tmp_path / "b" / "report.html").exists()


def test_the_card_of_the_adapter_gets_the_main_scores(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("seawall.alignment.card.add_results", lambda *given: calls.append(given))
    results = {"adapter": None, "benchmark": "xstest", "judges": {"refusal": {"micro": make_share(0.5)}}}
    add_to_card(results)
    assert not calls, "no adapter, no card"
    add_to_card({**results, "adapter": str(tmp_path)})
    ((adapter, benchmark, figures),) = calls
    assert (adapter, benchmark) == (tmp_path, "xstest")
    assert figures["attack success, by refusal"].mean == 0.5 and figures["attack success, by refusal"].n == 20


def test_a_card_that_cannot_be_written_does_not_end_an_evaluation(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise ArtifactError("README.md cannot be written: Read-only file system.")

    monkeypatch.setattr("seawall.alignment.card.add_results", refuse)
    add_to_card({"adapter": str(tmp_path), "benchmark": "xstest", "judges": {"refusal": {"micro": make_share(0.5)}}})
    assert "not added to the model card of the adapter: README.md cannot be written: Read-only" in caplog.text
