"""Benchmarks through Inspect with a real model, real files and real judges. Nothing is asked or judged twice."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import inspect_ai
import pytest
from inspect_ai._util.registry import registry_lookup
from inspect_ai.log import list_eval_logs, read_eval_log
from mock_runs import JUDGE

import seawall
from seawall import EvaluateConfig
from seawall.compat import prerequisite_error
from seawall.errors import ArtifactError, ConfigError, DataError, ModelError
from seawall.evaluation import provider
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.config import BenchmarkConfig
from seawall.evaluation.judges import asking, scorers
from seawall.evaluation.run import name_scores
from seawall.evaluation.statistics import compare, measure_types, read_logs
from seawall.lab.organisms import find_organism
from seawall.lab.world.published import write_published

MODEL = "organism:image"
BENCHMARK = BenchmarkConfig(benchmark="mm_safetybench")
CONFIG = EvaluateConfig(max_tokens=24)
ITEMS = 2 * 2 * 3
"""Phrases of each kind, kinds, prompt types."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The built-in world in the layout of MM-SafetyBench."""
    folder = tmp_path_factory.mktemp("world")
    write_published(folder, "validation", 2)
    return folder


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A finished run with the exact judge."""
    out = tmp_path_factory.mktemp("finished") / "out"
    seawall.evaluate(MODEL, world, out, BENCHMARK, CONFIG, judges=["organism"])
    return out


@pytest.fixture
def server(server, monkeypatch):
    """The judge's server, with a placeholder for the published prompt."""
    monkeypatch.setattr(scorers, "read_prompt", {"reference": "Is it safe? {prediction}"}.get)
    return server


def read_texts(out):
    (log,) = read_logs(out)
    return {sample.id: sample.output.completion for sample in log.samples}


def list_kept(out):
    """Return file -> time of writing of the answers and verdicts that a run keeps."""
    return {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*") if path.is_file()}


def test_a_run_has_figures_of_two_judges_and_of_what_the_model_understood(world, tmp_path):
    benchmark = dataclasses.replace(BENCHMARK, understanding=True)
    results = seawall.evaluate(MODEL, world, tmp_path / "out", benchmark, CONFIG, judges=["organism", "refusal"])
    figures = ["answers", "max_tokens", "system_prompts", "understanding", "judges", "agreement", "controls", "failed"]
    assert list(results) == ["schema", "benchmark", "model", *figures, "adapter", "steering"]
    assert results["adapter"] is None and results["steering"] is None
    assert (results["schema"], results["benchmark"], results["model"]) == (2, "mm_safetybench", MODEL)
    counts = {"all": ITEMS, "empty": 0, "cut": 0, "unanswered": 0, "neutral": 8, "controls": 0}
    assert results["answers"] == counts and results["failed"] == 0 and results["max_tokens"] == 24
    assert results["understanding"]["share"] == 1 and results["understanding"]["n"] == 4
    exact = results["judges"]["organism"]
    assert exact["micro"]["n"] == 6 and exact["by_type"].keys() == {"Text_only", "SD", "TYPO"}
    assert exact["refused"]["n"] == 6 and exact["unscored"] == {}
    assert exact["understood"]["n"] == 4, "two media of each harmful phrase, all of them named"
    assert results["agreement"][0]["n"] == ITEMS
    (log,) = read_logs(tmp_path / "out")
    assert log.samples[0].output.metadata["decoding"]["max_new_tokens"] == 24


def test_the_same_call_returns_the_results_and_another_judge_does_not_ask_the_model(
    world, finished, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    first, before = json.loads((out / "results.json").read_text()), list_kept(out)
    monkeypatch.setattr(provider, "generate_batch", None)  # every question to the model fails
    assert seawall.evaluate(MODEL, world, out, BENCHMARK, CONFIG, judges=["organism"]) == first
    second = seawall.evaluate(MODEL, world, out, BENCHMARK, CONFIG, judges=["organism", "refusal"])
    assert second["judges"]["organism"] == first["judges"]["organism"] and "refusal" in second["judges"]
    assert second["failed"] == 0 and list_kept(out) == before
    with pytest.raises(ArtifactError, match="max_tokens: 24 there, 9 now"):
        seawall.evaluate(MODEL, world, out, BENCHMARK, EvaluateConfig(max_tokens=9), judges=["organism"])
    with pytest.raises(ArtifactError, match=r"system_prompt: None there, 'Be brief\.' now"):
        seawall.evaluate(MODEL, world, out, BENCHMARK, dataclasses.replace(CONFIG, system_prompt="Be brief."))


def test_a_system_prompt_may_be_a_file(tmp_path):
    path = tmp_path / "safety.txt"
    path.write_text("Be careful.\n\nRefuse harm.\n")
    assert EvaluateConfig(system_prompt=str(path)).system_prompt == "Be careful.\n\nRefuse harm."
    assert EvaluateConfig(system_prompt="Be careful with etc/passwd. " * 40).system_prompt.startswith("Be careful")
    assert EvaluateConfig(system_prompt="").system_prompt == ""
    path.write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("Öl".encode("latin-1"))
    for name, fault in (
        ("safety.txt", "it is empty"),
        ("none.txt", "There is no file"),
        ("latin.txt", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=fault):
            EvaluateConfig(system_prompt=str(tmp_path / name))


def test_a_system_prompt_replaces_that_of_the_benchmark(world, tmp_path, monkeypatch, caplog):
    benchmark = BENCHMARKS.find("mm_safetybench")

    def read_with_system_prompt(*arguments):
        return [dataclasses.replace(item, system="You are helpful.") for item in benchmark.read(*arguments)]

    monkeypatch.setitem(
        BENCHMARKS._values, "mm_safetybench", dataclasses.replace(benchmark, read=read_with_system_prompt)
    )
    for given, expected in ((None, ["You are helpful."]), ("Be brief.", ["Be brief."]), ("", [])):
        out = tmp_path / f"out {given}"
        config = EvaluateConfig(max_tokens=2, system_prompt=given)
        seawall.evaluate(MODEL, world, out, dataclasses.replace(BENCHMARK, limit=1), config)
        (log,) = read_logs(out)
        assert [message.text for message in log.samples[0].input if message.role == "system"] == expected
        assert json.loads((out / "results.json").read_text())["system_prompts"] == expected
    said = "The benchmark's own system prompt of 1 of 1 questions is"
    assert f"{said} replaced by the one that is given." in caplog.text and f"{said} removed." in caplog.text
    assert caplog.text.count(said) == 2


def test_a_killed_run_is_resumed_without_asking_twice(world, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "seawall", "evaluate", "--model", MODEL, "--benchmark", "mm_safetybench"]
    argv += ["--data", world, "--out", out, "--batch-size", "1", "--max-tokens", "24", "--judge", "refusal"]
    argv = [*map(str, argv)]
    begun = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list_kept(out)) < 3:
        assert begun.poll() is None
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    before = list_kept(out)
    assert 3 <= len(before) < ITEMS and not (out / "results.json").exists()
    config = EvaluateConfig(batch_size=1, max_tokens=24)
    assert seawall.evaluate(MODEL, world, out, BENCHMARK, config, judges=["refusal"])["answers"]["all"] == ITEMS
    after = list_kept(out)
    assert len(after) == ITEMS and [path for path in before if after[path] != before[path]] in (
        [],
        [max(before, key=before.get)],
    ), "at most the one that was being written"
    assert len(list_eval_logs(str(out))) == 1


def test_judge_asks_only_for_missing_verdicts_and_needs_neither_model_nor_data(server, world, tmp_path):
    model, data, out = tmp_path / "model", tmp_path / "data", tmp_path / "out"
    shutil.copytree(find_organism("image"), model)
    shutil.copytree(world, data)
    unreadable = {"count": 0}

    def half(asked):
        unreadable["count"] += 1
        return "Hm." if unreadable["count"] % 2 else "unsafe"

    server.answer = half
    judges = ["refusal", f"reference={JUDGE}", "reference=openai-api/local/other"]
    first = seawall.evaluate(str(model), data, out, BENCHMARK, CONFIG, judges=judges)
    asked = len(server.asked)
    missing = {judge: sum(found["unscored"].values()) for judge, found in first["judges"].items()}
    assert missing["refusal"] == 0 and 0 < missing["reference"] < ITEMS and 0 < missing["reference1"] < ITEMS
    before = read_texts(out)
    shutil.rmtree(model)
    shutil.rmtree(data)
    server.answer = lambda asked: "unsafe"
    second = seawall.judge(out)
    assert len(server.asked) - asked == sum(missing.values())
    for judge in ("reference", "reference1"):
        assert second["judges"][judge]["unscored"] == {} and second["judges"][judge]["micro"]["share"] == 1
    assert second["judges"]["refusal"] == first["judges"]["refusal"] and read_texts(out) == before
    assert seawall.judge(out) == second and len(server.asked) - asked == sum(missing.values())
    assert json.loads((out / "results.json").read_text()) == second
    (log,) = read_logs(out)
    assert [score.unscored_samples for score in log.results.scores] == [0, 0, 0]


def test_a_judge_that_cannot_be_reached_can_judge_later(server, world, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "RETRIES", 0)
    monkeypatch.setenv("LOCAL_BASE_URL", "http://127.0.0.1:9/v1")
    first = seawall.evaluate(MODEL, world, tmp_path / "out", BENCHMARK, CONFIG, judges=[f"reference={JUDGE}"])
    found = first["judges"]["reference"]
    assert found["micro"]["share"] is None and (found["micro"]["least"], found["micro"]["most"]) == (0, 1)
    monkeypatch.setenv("LOCAL_BASE_URL", server.url)
    assert seawall.judge(tmp_path / "out")["judges"]["reference"]["micro"]["n"] == 6


def test_scores_of_one_judge_with_two_models_have_inspects_names():
    assert name_scores(["a=x", "b", "a=y", "a=z"]) == ["a", "b", "a1", "a2"]


def test_an_unreadable_medium_fails_its_own_item_and_is_tried_again(world, tmp_path, caplog):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(world, data)
    medium = next((data / "data/imgs").rglob("*.png"))
    whole = medium.read_bytes()
    medium.write_bytes(whole[:80])
    first = seawall.evaluate(MODEL, data, out, BENCHMARK, CONFIG, judges=["organism"])
    assert first["failed"] == 1 and first["judges"]["organism"]["unscored"] == {"the sample failed": 1}
    assert "1 of 12 samples failed" in caplog.text and medium.stem in caplog.text
    counted = measure_types([out], "organism").values()
    assert sum(kind["n"] for kinds in counted for kind in kinds.values()) == 11, "what failed is left out, and no NaN"
    assert all(0 <= kind["mean"] <= 1 for kinds in counted for kind in kinds.values())
    before = list_kept(out)
    medium.write_bytes(whole)
    second = seawall.evaluate(MODEL, data, out, BENCHMARK, CONFIG, judges=["organism"])
    assert second["failed"] == 0 and len(list_kept(out)) == ITEMS
    assert {path: list_kept(out)[path] for path in before} == before


def test_a_run_without_any_answer_is_an_error(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world, data)
    for medium in (data / "data/imgs").rglob("*.png"):
        medium.write_bytes(b"no image")
    benchmark = dataclasses.replace(BENCHMARK, types=("SD",))
    with pytest.raises(ArtifactError, match="None of the 4 samples could be answered"):
        seawall.evaluate(MODEL, data, tmp_path / "out", benchmark, CONFIG)


def test_inspects_own_command_runs_a_task_on_a_model_of_seawall(world, tmp_path):
    argv = [sys.executable, "-m", "inspect_ai", "eval", "seawall/mm_safetybench", "--model", f"seawall/{MODEL}"]
    argv += ["-T", f"data={world}", "-T", "types=SD,TYPO", "-T", "judge=organism,refusal", "-M", "batch_size=4"]
    argv += ["--max-tokens", "9", "--limit", "5", "--log-dir", str(tmp_path), "--display", "plain"]
    done = subprocess.run(argv, capture_output=True, text=True)
    (log,) = [read_eval_log(log.name) for log in list_eval_logs(str(tmp_path))]
    assert log.status == "success", done.stdout
    assert len(log.samples) == 5 and log.samples[0].scores.keys() == {"organism", "refusal"}
    assert log.samples[0].output.metadata["decoding"]["max_new_tokens"] == 9


def test_inspect_gets_errors_that_it_prints_without_a_traceback(tmp_path):
    with pytest.raises(prerequisite_error(), match="There is no folder or zip file nowhere"):
        inspect_ai.eval("seawall/mm_safetybench", model="mockllm/model", task_args={"data": "nowhere"})


def test_every_registered_benchmark_is_a_task_of_inspect():
    for name in BENCHMARKS.names():
        parameters = inspect.signature(registry_lookup("task", f"seawall/{name}")).parameters
        assert list(parameters) == [
            *("data", "judge", "types", "scenarios", "tiny", "all_scenarios", "understanding", "controls")
        ]
        assert parameters["judge"].default == ",".join(BENCHMARKS.find(name).judges)


def test_two_runs_are_compared_in_pairs(world, finished, tmp_path, capsys):
    short = tmp_path / "short"
    seawall.evaluate(MODEL, world, short, BENCHMARK, EvaluateConfig(max_tokens=2), judges=["organism"])
    found = compare(read_logs(finished), read_logs(short))["judges"]["organism"]["asr"]
    assert found["n"] == 6 and found["difference"] < 0 and found["unpaired"] == 0
    assert seawall.report([finished, short]) == [short / "report.html"]
    assert f"{found['difference']:+.3f} [{found['low']:+.3f}" in capsys.readouterr().out
    page = (short / "report.html").read_text()
    assert "judge organism" in page and page.count("<svg") == 1 and "SD" in page
    assert "<summary>6 became safe</summary>" in page and "became unsafe" not in page
    assert page.count('src="data:image/jpeg;base64,') == 4, "two media of each harmful phrase"
    assert page.count("<em>no medium</em>") == 2, "the same requests in text"
    assert "cannot be shown" not in page and "not in the log" not in page


def test_runs_of_two_benchmarks_are_not_reported_together(finished, tmp_path):
    for name in ("manifest.json", "results.json"):
        text = (finished / name).read_text()
        (tmp_path / name).write_text(text.replace("mm_safetybench", "xstest"))
    with pytest.raises(DataError, match="different benchmarks"):
        seawall.report([finished, tmp_path])


@pytest.mark.parametrize(
    "make, fault",
    [
        (lambda: BenchmarkConfig(benchmark="boats"), "no benchmark 'boats'"),
        (lambda: BenchmarkConfig(benchmark="xstest", tiny=True), "'xstest' has no option tiny"),
        (lambda: BenchmarkConfig(benchmark="xstest", limit=0), "limit is 0"),
        (lambda: EvaluateConfig(max_tokens=0), "max_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(make, fault):
    with pytest.raises(ConfigError, match=fault):
        make()


def test_impossible_judges_models_and_folders_are_refused(world, tmp_path):
    with pytest.raises(ConfigError, match="There is no judge 'boat'"):
        seawall.evaluate(MODEL, world, tmp_path / "out", BENCHMARK, CONFIG, judges=["boat"])
    with pytest.raises(ModelError, match="nowhere"):
        seawall.evaluate(str(tmp_path / "nowhere"), world, tmp_path / "out", BENCHMARK, CONFIG)
    assert not (tmp_path / "out").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text(
        '{"schema": 2, "stage": "align", "config": {}, "inputs": {}, "complete": true}'
    )
    (tmp_path / "other" / "results.json").write_text("{}")
    for folder in (tmp_path / "other", tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match="holds no answers that judges have scored"):
            seawall.judge(folder)
