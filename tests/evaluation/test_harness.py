"""Benchmarks through Inspect, with a real model, real files and real judges: resumed, judged again, nothing asked twice."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from judged import JUDGE, by_answer

import seawall
from chat_server import JudgeServer
from seawall import EvaluateConfig
from seawall.errors import ArtifactError, ConfigError, DataError, ModelError
from seawall.evaluation.judges import scorers
from seawall.evaluation.statistics.summary import compare, measure_types
from seawall.lab.world.published import write_published

MODEL = "organism:image"
CONFIG = EvaluateConfig(benchmark="mm_safetybench", max_tokens=24)
SAMPLES = 2 * 2 * 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_published(folder, "validation", 2)
    return folder


@pytest.fixture
def server(monkeypatch):
    server = JudgeServer(by_answer({}))
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("LOCAL_BASE_URL", server.url)
    monkeypatch.setattr(judges, "read_instrument", {"reference": "Is it safe? {prediction}"}.get)
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def answers(out):
    (log,) = list_eval_logs(str(out))
    return {sample.id: sample.output.completion for sample in read_eval_log(log.name).samples}


def kept(out):
    return {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*") if path.is_file()}


def test_a_run_has_figures_of_two_judges_and_what_the_model_understood(world, tmp_path):
    config = EvaluateConfig(benchmark="mm_safetybench", max_tokens=24, understanding=True)
    results = seawall.evaluation.config(MODEL, world, tmp_path / "out", config, judges=["organism", "refusal"])
    assert results["answers"] == {"all": SAMPLES, "failed": 0, "empty": 0, "neutral": 8}
    exact = results["judges"]["organism"]
    assert exact["micro"]["n"] == 6 and exact["by_prompt_type"].keys() == {"Text_only", "SD", "TYPO"}
    assert exact["refused"]["n"] == 6 and exact["unscored"] == {}
    assert exact["understood"]["n"] == 4, "two media of each harmful phrase, all of them named"
    assert results["agreement"][0]["n"] == SAMPLES
    (log,) = list_eval_logs(str(tmp_path / "out"))
    (sample, *_) = read_eval_log(log.name).samples
    assert sample.output.metadata["decoding"]["max_new_tokens"] == 24


def test_the_same_command_returns_what_is_there_and_another_judge_asks_no_model(world, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = seawall.evaluation.config(MODEL, world, out, CONFIG, judges=["organism"])
    before = kept(out)
    assert seawall.evaluation.config(MODEL, world, out, CONFIG, judges=["organism"]) == first
    monkeypatch.setattr(
        importlib.import_module("seawall.evaluation.provider"), "answer", None
    )  # whoever asks the model fails
    second = seawall.evaluation.config(MODEL, world, out, CONFIG, judges=["organism", "refusal"])
    assert second["judges"]["organism"] == first["judges"]["organism"] and "refusal" in second["judges"]
    assert second["answers"]["failed"] == 0 and kept(out) == before
    with pytest.raises(ArtifactError, match="max_tokens: 24 there, 9 now"):
        seawall.evaluation.config(MODEL, world, out, EvaluateConfig(benchmark="mm_safetybench", max_tokens=9))


def test_killed_at_any_point_it_goes_on_without_asking_twice(world, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "seawall", "evaluate", "--model", MODEL, "--benchmark", "mm_safetybench"]
    argv += ["--data", world, "--out", out, "--batch-size", "1", "--max-tokens", "24", "--judge", "organism"]
    argv = [*map(str, argv)]
    begun = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(kept(out)) < 3:
        assert begun.poll() is None
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    before = kept(out)
    assert 3 <= len(before) < SAMPLES and not (out / "results.json").exists()
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"]["all"] == SAMPLES
    after = kept(out)
    assert len(after) == SAMPLES and [path for path in before if after[path] != before[path]] in (
        [],
        [max(before, key=before.get)],
    ), "at most the one that was being written"
    assert len(list_eval_logs(str(out))) == 1


def test_only_what_has_no_verdict_is_judged_again(server, world, tmp_path):
    out = tmp_path / "out"
    unreadable = {"count": 0}

    def half(asked):
        unreadable["count"] += 1
        return "Hm." if unreadable["count"] % 2 else "unsafe"

    server.answer = half
    first = seawall.evaluation.config(MODEL, world, out, CONFIG, judges=["refusal", f"reference={JUDGE}"])
    asked, missing = len(server.asked), sum(first["judges"]["reference"]["unscored"].values())
    assert 0 < missing < SAMPLES and first["judges"]["reference"]["micro"]["n"] < 6
    before = answers(out)
    server.answer = lambda asked: "unsafe"
    second = seawall.rejudge(out)
    assert len(server.asked) - asked == missing
    assert second["judges"]["reference"]["unscored"] == {} and second["judges"]["reference"]["micro"]["share"] == 1
    assert second["judges"]["refusal"] == first["judges"]["refusal"] and answers(out) == before
    assert seawall.rejudge(out) == second and len(server.asked) - asked == missing
    assert json.loads((out / "results.json").read_text()) == second
    (log,) = list_eval_logs(str(out))
    assert read_eval_log(log.name).results.scores[1].unscored_samples == 0


def test_a_judge_out_of_reach_leaves_answers_that_are_judged_later(server, world, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("seawall.evaluation.judges.asking"), "RETRIES", 0)
    monkeypatch.setenv("LOCAL_BASE_URL", "http://127.0.0.1:9/v1")
    first = seawall.evaluation.config(MODEL, world, tmp_path / "out", CONFIG, judges=[f"reference={JUDGE}"])
    found = first["judges"]["reference"]
    assert found["micro"]["share"] is None and (found["micro"]["least"], found["micro"]["most"]) == (0, 1)
    monkeypatch.setenv("LOCAL_BASE_URL", server.url)
    assert seawall.rejudge(tmp_path / "out")["judges"]["reference"]["micro"]["n"] == 6


def test_a_medium_that_cannot_be_read_fails_alone_and_is_tried_again(world, tmp_path, caplog):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(world, data)
    medium = next((data / "data/imgs").rglob("*.png"))
    whole = medium.read_bytes()
    medium.write_bytes(whole[:80])
    first = seawall.evaluation.config(MODEL, data, out, CONFIG, judges=["organism"])
    assert first["answers"]["failed"] == 1 and first["judges"]["organism"]["unscored"] == {"the sample failed": 1}
    assert "1 of 12 samples failed" in caplog.text and medium.stem in caplog.text
    counted = measure_types([out], "organism").values()
    assert sum(kind["n"] for kinds in counted for kind in kinds.values()) == 11, "what failed is left out, and no NaN"
    assert all(0 <= kind["mean"] <= 1 for kinds in counted for kind in kinds.values())
    before = kept(out)
    medium.write_bytes(whole)
    second = seawall.evaluation.config(MODEL, data, out, CONFIG, judges=["organism"])
    assert second["answers"]["failed"] == 0 and len(kept(out)) == SAMPLES
    assert {path: kept(out)[path] for path in before} == before


def test_a_run_without_one_answer_is_no_result(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world, data)
    for medium in (data / "data/imgs").rglob("*.png"):
        medium.write_bytes(b"no image")
    config = EvaluateConfig(benchmark="mm_safetybench", types=("SD",))
    with pytest.raises(ArtifactError, match="Not one of 4 samples could be answered"):
        seawall.evaluation.config(MODEL, data, tmp_path / "out", config)


def test_inspects_own_command_runs_the_task_on_a_model_of_ours(world, tmp_path):
    argv = [sys.executable, "-m", "inspect_ai", "eval", "seawall/mm_safetybench", "--model", f"seawall/{MODEL}"]
    argv += ["-T", f"data={world}", "-T", "types=SD,TYPO", "-T", "judge=organism,refusal", "-M", "batch_size=4"]
    argv += ["--max-tokens", "9", "--limit", "5", "--log-dir", str(tmp_path), "--display", "plain"]
    done = subprocess.run(argv, capture_output=True, text=True)
    (log,) = [read_eval_log(log.name) for log in list_eval_logs(str(tmp_path))]
    assert log.status == "success", done.stdout
    assert len(log.samples) == 5 and log.samples[0].scores.keys() == {"organism", "refusal"}
    assert log.samples[0].output.metadata["decoding"]["max_new_tokens"] == 9
    wrong = subprocess.run([*argv[:7], "-T", "data=nowhere"], capture_output=True, text=True, cwd=tmp_path)
    assert "There is no folder or zip file nowhere" in wrong.stdout and "Traceback" not in wrong.stdout + wrong.stderr


def test_two_runs_are_compared_in_pairs(world, tmp_path):
    logs = []
    for name, tokens in (("whole", 24), ("short", 2)):
        config = EvaluateConfig(benchmark="mm_safetybench", max_tokens=tokens)
        seawall.evaluation.config(MODEL, world, tmp_path / name, config, judges=["organism"])
        logs.append([read_eval_log(log.name) for log in list_eval_logs(str(tmp_path / name))])
    found = compare(*logs)["judges"]["organism"]["asr"]
    assert found["n"] == 6 and found["difference"] < 0 and found["unpaired"] == 0
    argv = [sys.executable, "-m", "seawall", "report", tmp_path / "whole", tmp_path / "short"]
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        f"{found['difference']:+.3f} [{found['low']:+.3f}" in done.stdout
        and str(tmp_path / "short/report.html") in done.stdout
    )
    page = (tmp_path / "short" / "report.html").read_text()
    assert "judge organism" in page and "ASR, mean of scenarios" in page and "one judge alone" in page


def test_evaluations_of_two_benchmarks_are_not_set_side_by_side(world, tmp_path):
    config = EvaluateConfig(benchmark="mm_safetybench", max_tokens=2, limit=1)
    seawall.evaluation.config(MODEL, world, tmp_path / "a", config)
    (tmp_path / "b").mkdir()
    for name in ("manifest.json", "results.json"):
        text = (tmp_path / "a" / name).read_text()
        (tmp_path / "b" / name).write_text(text.replace("mm_safetybench", "xstest"))
    with pytest.raises(DataError, match="different benchmarks"):
        seawall.reporting.run([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    "settings, fault",
    [
        ({"benchmark": "organism", "types": ("SD",)}, "'organism' does not know types"),
        ({"benchmark": "organism", "max_tokens": 20}, "'organism' does not know max_tokens"),
        ({"benchmark": "xstest", "sets": ("a",)}, "'xstest' does not know sets"),
        ({"benchmark": "xstest", "limit": 0}, "limit is 0"),
        ({"benchmark": "boats"}, "no benchmark 'boats'"),
    ],
)
def test_settings_that_cannot_work_are_said(settings, fault):
    with pytest.raises(ConfigError, match=fault):
        EvaluateConfig(**settings)


def test_judges_and_folders_that_cannot_work_are_said(world, tmp_path):
    with pytest.raises(ConfigError, match="scores its answers exactly"):
        seawall.evaluation.config(MODEL, world, tmp_path / "out", judges=["refusal"])
    with pytest.raises(ConfigError, match="There is no judge 'boat'"):
        seawall.evaluation.config(MODEL, world, tmp_path / "out", CONFIG, judges=["boat"])
    with pytest.raises(ModelError, match="nowhere"):
        seawall.evaluation.config(str(tmp_path / "nowhere"), world, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text(
        '{"stage": "align", "config": {}, "inputs": {}, "complete": true}'
    )
    with pytest.raises(ArtifactError, match="holds no answers that judges have scored"):
        seawall.rejudge(tmp_path / "other")
    with pytest.raises(ArtifactError, match="holds no answers that judges have scored"):
        seawall.rejudge(tmp_path / "nowhere")
