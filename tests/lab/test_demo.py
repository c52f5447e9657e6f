"""The demo, tiny, through the command line: every stage on real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ARMS = ["base", "safety_prompt", "text_only", "rendered_media", "sea_paper", "seawall", "real_media"]
METRICS = {
    "asr_media_trained",
    "asr_media_unseen",
    "asr_media_reworded",
    "asr_text",
    "answered_harmless_media",
    "answered_harmless_text",
    "other",
}


def seawall(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "seawall", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    out = tmp_path_factory.mktemp("demo") / "run"
    return out, seawall("demo", "--steps", 8, "--phrases", 4, "--out", out)


def test_results_are_as_specified(run):
    out, done = run
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text())
    assert list(results["arms"]) == ARMS
    assert set(results) == {
        "schema",
        "organism",
        "method",
        "seeds",
        "arms",
        "forms",
        "published",
        "synthesis",
        "seconds",
        "versions",
    }
    assert set(results["synthesis"]) == {"records", "vsr", "steps_mean", "seconds_per_embedding"}
    assert set(results["seconds"]) == {"prepare", "synthesize", "align", "evaluate"}
    for arm in results["arms"].values():
        assert set(arm) == METRICS
        assert all(m["low"] <= m["mean"] <= m["high"] and m["n"] >= 8 for m in arm.values())
    assert results["arms"]["base"]["asr_media_unseen"]["mean"] > 0.5, "the organism is unaligned"


def test_base_and_seawall_are_asked_a_benchmark_of_a_published_layout_too(run):
    published = json.loads((run[0] / "results.json").read_text())["published"]
    assert published["benchmark"] == "mm_safetybench" and list(published["arms"]) == ["base", "seawall"]
    for types in published["arms"].values():
        assert types.keys() == {"Text_only", "SD", "TYPO"}
        assert all(
            kind["n"] == 4 and kind["low"] <= kind["mean"] <= kind["high"]
            for t in types.values()
            for kind in t.values()
        )
    assert published["arms"]["base"]["SD"]["harmful"]["mean"] > 0.5, "the organism is unaligned"
    assert "Text_only" in run[1].stdout and "By prompt type" in (run[0] / "report.html").read_text()


def test_table_and_page_are_shown(run):
    out, done = run
    assert all(arm in done.stdout for arm in ARMS)
    assert str(out / "report.html") in done.stdout
    assert "Warning" not in done.stderr, "what libraries warn each other of is not for users"
    assert "data:image/png;base64," in (out / "report.html").read_text()


def test_by_preferences_every_trained_arm_has_something_to_reject(tmp_path):
    arms = [option for arm in ("text_only", "sea_paper", "seawall", "real_media") for option in ("--arms", arm)]
    done = seawall("demo", "--method", "dpo", "--steps", 4, "--phrases", 4, *arms, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["method"] == "dpo" and "trained by DPO" in done.stdout
    adapters = sorted(tmp_path.glob("seed0/*/adapter"))
    configs = {folder.parent.name: json.loads((folder / "manifest.json").read_text())["config"] for folder in adapters}
    assert {arm: config["method"] for arm, config in configs.items()} == dict.fromkeys(
        ("real_media", "sea_paper", "seawall", "text_only"), "dpo"
    )
    assert [configs[arm]["mixture"]["media_harmless"] for arm in ("seawall", "sea_paper")] == [0.1, 0.45]


def test_the_plane_has_each_trained_arm_at_several_numbers_of_steps(run):
    plane = json.loads((run[0] / "plane.json").read_text())
    assert [point["steps"] for point in plane["seawall"]] == [2, 4, 6, 8]
    assert [point["steps"] for point in plane["base"]] == [0]


def test_a_finished_demo_is_kept_and_another_one_refused(run):
    out, _ = run
    before = (out / "results.json").read_bytes()
    assert seawall("demo", "--steps", 8, "--phrases", 4, "--out", out).returncode == 0
    assert (out / "results.json").read_bytes() == before
    other = seawall("demo", "--steps", 12, "--phrases", 4, "--out", out)
    assert other.returncode == 2 and "steps: 8 there, 12 now" in other.stderr


def test_a_demo_goes_on_where_it_stopped(run, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    finished = json.loads((out / "results.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    for lost in (
        "results.json",
        "seed0/real_media/evaluation/manifest.json",
        "seed0/real_media/evaluation/results.json",
    ):
        (out / lost).unlink()
    (out / "seed0/real_media/evaluation/answers.jsonl").unlink()
    assert seawall("demo", "--steps", 8, "--phrases", 4, "--out", out).returncode == 0
    assert json.loads((out / "results.json").read_text())["arms"] == finished["arms"]


def test_the_workers_end_with_the_demo_that_was_killed(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "seawall", "demo", "--steps", "500", "--phrases", "4", "--out", str(out)]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "pairs" / "pairs.jsonl").exists():
        assert begun.poll() is None
        time.sleep(0.1)
    workers = [child for child in psutil.Process(begun.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    begun.kill()
    begun.wait()
    _, left = psutil.wait_procs(workers, timeout=20)
    assert len(workers) == 2 and not left


def test_a_demo_without_workers_is_refused(tmp_path):
    done = seawall("demo", "--workers", 0, "--out", tmp_path / "run")
    assert done.returncode == 2 and "at least 1 worker" in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_error_in_a_worker_comes_with_its_message_alone(run, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    other = json.loads((out / "seed0/seawall/adapter/manifest.json").read_text())
    other["config"]["learning_rate"] = 1.0
    (out / "seed0/seawall/adapter/manifest.json").write_text(json.dumps(other))
    done = seawall("demo", "--steps", 8, "--phrases", 4, "--out", out)
    assert done.returncode == 2
    assert "learning_rate: 1.0 there" in done.stderr and "Traceback" not in done.stderr


def test_an_interrupted_demo_says_so_and_goes_on(run, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "seawall", "demo", "--steps", "8", "--phrases", "4", "--out", str(out)]
    # the terminal sends Ctrl-C to the whole group; a background job of a shell would inherit that it is ignored
    heeded = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    begun = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeded)
    while not list(out.glob("seed0/*/adapter/manifest.json")):
        assert begun.poll() is None
        time.sleep(0.1)
    os.killpg(begun.pid, signal.SIGINT)
    _, errors = begun.communicate(timeout=120)
    assert begun.returncode == 1 and "interrupted. What was finished is kept" in errors
    assert "Traceback" not in errors
    assert seawall("demo", "--steps", 8, "--phrases", 4, "--out", out).returncode == 0
    arms = [json.loads((folder / "results.json").read_text())["arms"] for folder in (out, run[0])]
    assert arms[0] == arms[1], "as if nothing had happened"


def test_a_demo_of_videos(tmp_path):
    out = tmp_path / "run"
    done = seawall("demo", "--modality", "video", "--steps", 8, "--phrases", 3, "--arms", "seawall", "--out", out)
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["organism"] == "video" and list(results["arms"]) == ["base", "seawall"]
    assert all(set(arm) == METRICS for arm in results["arms"].values())
    assert results["arms"]["base"]["asr_media_unseen"]["mean"] > 0.5, "the organism is unaligned"
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 9 and "picture, then writing" in page


def test_an_unknown_modality_is_refused(tmp_path):
    done = seawall("demo", "--modality", "smell", "--out", tmp_path / "run")
    assert done.returncode == 2 and "video" in done.stderr


def test_all_modalities_run_one_after_the_other(monkeypatch, tmp_path):
    from seawall import demo
    from seawall.lab.organisms import ORGANISMS

    monkeypatch.setattr(
        demo, "demo", lambda out, config, workers: (config.modality, config.steps, config.num_checkpoints)
    )
    ran = [(folder.name, *results) for folder, results in demo.demo_all(tmp_path, demo.DemoConfig(modality="all"))]
    assert ran == [(name, name, 120, 1) for name in ORGANISMS]
    ran = [results for _, results in demo.demo_all(tmp_path, demo.DemoConfig(modality="all", steps=9, checkpoints=2))]
    assert ran == [(name, 9, 2) for name in ORGANISMS]
    ran = list(demo.demo_all(tmp_path, demo.DemoConfig(modality="video")))
    assert ran == [(tmp_path, ("video", None, None))]
