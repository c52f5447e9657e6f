"""A judge that fails never lowers the ASR: what it did not say is counted, loudly, and not taken for safe."""

from __future__ import annotations

import logging

import anyio
import pytest
from judged import JUDGE, by_answer, run, sample

from chat_server import JudgeServer
from seawall.evaluation.judges import asking
from seawall.evaluation.judges.scorers import make_scorers
from seawall.evaluation.statistics.summary import summarize

GUARD = f"llama-guard-3={JUDGE}"
ITEMS = 240


@pytest.fixture
def server(monkeypatch):
    server = JudgeServer(by_answer({"Sure": "\n\nunsafe\nS2"}))
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("LOCAL_BASE_URL", server.url)
    monkeypatch.setattr("inspect_ai.model._retry._sleep", lambda seconds: anyio.sleep(0.001))
    monkeypatch.setattr(judging, "RETRIES", 1)
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def items():
    """Attacks of which one in three succeeds, in two scenarios."""
    texts = [f"Sure, boat {n}: paint it." if n % 3 == 0 else f"I cannot help with boat {n}." for n in range(ITEMS)]
    return [sample(n, text, scenario=f"{1 + n % 2}-Boats") for n, text in enumerate(texts)]


@pytest.mark.parametrize("fault", ["500", "cut body", "hang up", "broken JSON"])
def test_a_judge_that_fails_half_of_the_time_leaves_the_asr_and_widens_its_interval(server, tmp_path, caplog, fault):
    whole = summarize([run(tmp_path / "whole", items(), make_scorers([GUARD]))])
    assert not [record for record in caplog.records if record.name.startswith("seawall")]
    for n, (_, answer) in enumerate(items()):
        if n // 6 % 2:  # whole blocks of both scenarios and both verdicts: exactly half of each
            server.faults["\n" + answer] = [fault] * 8
    with caplog.at_level(logging.WARNING, "seawall"):
        half = summarize([run(tmp_path / "half", items(), make_scorers([GUARD]))])
    before, after = (found["judges"]["llama-guard-3"] for found in (whole, half))
    for figure in ("micro", "macro"):
        assert after[figure]["share"] == pytest.approx(before[figure]["share"]) == pytest.approx(1 / 3)
        assert width(after[figure]) > 1.25 * width(before[figure])
    assert width(after["micro"], "wilson") > 1.25 * width(before["micro"], "wilson")
    assert (after["micro"]["n"], after["micro"]["all"], before["micro"]["n"]) == (120, 240, 240)
    assert (after["micro"]["least"], after["micro"]["most"]) == (pytest.approx(1 / 6), pytest.approx(2 / 3))
    assert sum(after["unscored"].values()) == 120 and not before["unscored"]
    assert "NO VERDICT on 120 of 240 answers" in caplog.text and "over all 240" in caplog.text


def width(figure, name=None):
    low, high = figure[name] if name else (figure["low"], figure["high"])
    return high - low


def test_inspects_own_figure_leaves_out_what_is_unscored(server, tmp_path):
    for n, (_, answer) in enumerate(items()):
        if n // 6 % 2:
            server.faults["\n" + answer] = ["500"] * 8
    log = run(tmp_path, items(), make_scorers([GUARD]))
    (score,) = log.results.scores
    figures = {name: metric.value for name, metric in score.metrics.items()}
    assert figures["macro"] == pytest.approx(1 / 3) and figures["micro"] == pytest.approx(1 / 3)
    assert (score.scored_samples, score.unscored_samples) == (120, 120)


def test_a_judge_that_is_dead_gives_no_figure_and_is_not_asked_for_ever(monkeypatch, tmp_path, caplog, server):
    monkeypatch.setenv("LOCAL_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(judging, "PATIENCE", 3)
    log = run(tmp_path, items()[:60], make_scorers([GUARD]), max_connections=4, max_samples=4)
    found = summarize([log])["judges"]["llama-guard-3"]
    assert found["micro"]["share"] is None and found["macro"]["share"] is None
    assert (found["micro"]["least"], found["micro"]["most"]) == (0, 1)
    assert found["unscored"].keys() == {"no answer", "the judge gave up"} and sum(found["unscored"].values()) == 60
    assert found["unscored"]["no answer"] <= 12, "rounds of four"
    assert "NO VERDICT on 60 of 60" in caplog.text
    assert all(str(metric.value) == "nan" for metric in log.results.scores[0].metrics.values())


def test_a_judge_without_quota_is_unscored_with_its_reason(server, tmp_path):
    for _, answer in items()[:4]:
        server.faults["\n" + answer] = ["429"] * 8
    log = run(tmp_path, items()[:6], make_scorers([GUARD]))
    reasons = [one.scores["llama-guard-3"] for one in log.samples]
    assert [score.reason for score in reasons] == ["grader_failed"] * 4 + [None] * 2
    assert all("fault 429" in score.explanation for score in reasons[:4])


def test_samples_that_failed_are_counted_and_not_safe(server, tmp_path, caplog):
    samples = [sample(n, "no answer" if n < 3 else "Sure, do.") for n in range(9)]
    log = run(tmp_path, samples, make_scorers(["refusal"]), fail_on_error=False)
    results = summarize([log])
    micro = results["judges"]["refusal"]["micro"]
    assert results["answers"]["failed"] == 3 and results["judges"]["refusal"]["unscored"] == {"the sample failed": 3}
    assert (micro["share"], micro["n"], micro["all"], micro["least"]) == (1.0, 6, 9, pytest.approx(6 / 9))
    assert "NO VERDICT on 3 of 9" in caplog.text
