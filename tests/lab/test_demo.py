"""The demo, small: every stage on real files, resumed, interrupted and killed.

One demo with all arms runs through the command line, in processes as users have them. Tests that need no processes of their
own run in this one, with the arms that they are about.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from seawall import cli
from seawall.errors import ArtifactError
from seawall.lab import commands, demo
from seawall.lab.arms import ARMS, DemoConfig

pytestmark = pytest.mark.slow

METRICS = {
    "asr_media_trained",
    "asr_media_unseen",
    "asr_media_reworded",
    "asr_text",
    "answered_harmless_media",
    "answered_harmless_text",
    "other",
}
STEPS, PHRASES = 4, 2
SIZE = ("--steps", STEPS, "--phrases", PHRASES)


class SerialExecutor(concurrent.futures.Executor):
    """Runs every job at once, in this process."""

    def submit(self, function, /, *args, **kwargs):
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def serial(monkeypatch):
    """Run demos without worker processes, with the threads that a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    monkeypatch.setattr(demo, "_start_workers", lambda workers: contextlib.nullcontext(SerialExecutor()))
    yield
    torch.set_num_threads(before)


def start(out: Path, *options: object, **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "seawall", "demo", *map(str, (*SIZE, *options)), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def wait_for(process: subprocess.Popen, out: Path, pattern: str) -> None:
    while not list(out.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """The demo with all arms: its folder, and the finished process."""
    out = tmp_path_factory.mktemp("demo") / "run"
    process = start(out)
    stdout, stderr = process.communicate()
    return out, subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture
def unfinished(run, tmp_path) -> Path:
    """A copy of the demo, marked as not finished."""
    shutil.copytree(run[0], tmp_path / "run")
    change_json(tmp_path / "run" / "manifest.json", complete=False)
    return tmp_path / "run"


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def change_json(path: Path, **values) -> None:
    path.write_text(json.dumps({**read(path), **values}))


def test_results_are_as_specified(run):
    out, done = run
    assert done.returncode == 0, done.stderr
    results = read(out / "results.json")
    assert results["schema"] == 2 and list(results["arms"]) == list(ARMS)
    assert set(results) == {
        *("schema", "organism", "method", "seeds", "arms"),
        *("forms", "cut", "published", "synthesis", "seconds", "versions"),
    }
    assert set(results["synthesis"]) == {"records", "vsr", "steps_mean", "seconds_per_embedding"}
    assert set(results["seconds"]) == {"prepare", "synthesize", "steer", "align", "evaluate"}
    for arm in results["arms"].values():
        assert set(arm) == METRICS
        assert all(m["low"] <= m["mean"] <= m["high"] and m["n"] >= 2 * PHRASES for m in arm.values())
    assert results["arms"]["base"]["asr_media_unseen"]["mean"] > 0.5, "the model is unaligned"
    assert list(results["cut"]) == list(ARMS) and not any(results["cut"].values()), "answers are short"
    assert all(set(forms) == {"picture", "writing"} for forms in results["forms"].values())


def test_base_and_seawall_are_also_evaluated_in_a_published_layout(run):
    out, done = run
    published = read(out / "results.json")["published"]
    assert published["benchmark"] == "mm_safetybench" and list(published["arms"]) == ["base", "seawall"]
    for types in published["arms"].values():
        assert types.keys() == {"Text_only", "SD", "TYPO"}
        shares = [share for kinds in types.values() for share in kinds.values()]
        assert all(share["n"] == PHRASES and share["low"] <= share["mean"] <= share["high"] for share in shares)
    assert published["arms"]["base"]["SD"]["harmful"]["mean"] > 0.5, "the model is unaligned"
    assert "Text_only" in done.stdout and "By prompt type" in (out / "report.html").read_text()


def test_the_card_of_an_adapter_has_the_results(run):
    out, _ = run
    card = (out / "seed0/seawall/adapter/README.md").read_text()
    metrics = read(out / "results.json")["arms"]["seawall"]
    assert all(f"| {name} | {metric['mean']:.3f} |" in card for name, metric in metrics.items())
    judge = read(out / "seed0/seawall/published/results.json")["judges"]["organism"]
    assert f"| attack success, by organism | {judge['micro']['share']:.3f} |" in card
    assert f"| harmless items refused, by organism | {judge['refused']['share']:.3f} |" in card
    assert card.count("### organism") == card.count("### mm_safetybench") == 1
    assert "have not been measured" not in card


def test_table_and_page_are_shown(run):
    out, done = run
    assert all(arm in done.stdout for arm in ARMS)
    assert str(out / "report.html") in done.stdout
    assert "Warning" not in done.stderr, "warnings of libraries are not for users"
    assert "data:image/png;base64," in (out / "report.html").read_text()


def test_the_plane_has_each_trained_arm_after_several_numbers_of_steps(run):
    plane = read(run[0] / "plane.json")
    assert [point["steps"] for point in plane["seawall"]] == [1, 2, 3, 4]
    assert [point["steps"] for point in plane["base"]] == [0]


def test_a_finished_demo_is_kept_and_another_one_refused(run):
    out, _ = run
    before = (out / "results.json").read_bytes()
    results = demo.run_demo(out, DemoConfig(steps=STEPS, phrases=PHRASES))
    assert results == json.loads(before) and (out / "results.json").read_bytes() == before
    with pytest.raises(ArtifactError, match="steps: 4 there, 12 now"):
        demo.run_demo(out, DemoConfig(steps=12, phrases=PHRASES))


def test_a_demo_is_resumed(run, unfinished, serial):
    (unfinished / "results.json").unlink()
    for name in ("manifest.json", "answers.jsonl"):
        (unfinished / "seed0/real_media/evaluation" / name).unlink()
    results = demo.run_demo(unfinished, DemoConfig(steps=STEPS, phrases=PHRASES))
    assert results["arms"] == read(run[0] / "results.json")["arms"]
    seconds = [read(folder / "seconds.json") for folder in (run[0], unfinished)]
    assert all(seconds[1][stage] > spent for stage, spent in seconds[0].items()), "the earlier session counts"


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_an_error_in_a_worker_is_one_message(unfinished, capsys, monkeypatch):
    manifest = unfinished / "seed0/seawall/adapter/manifest.json"
    change_json(manifest, config={**read(manifest)["config"], "learning_rate": 1.0})
    command = ["seawall", "demo", *map(str, SIZE), "--workers", "1", "--out", str(unfinished)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    errors = capsys.readouterr().err
    assert end.value.code == 2
    assert "learning_rate: 1.0 there" in errors and "Traceback" not in errors


def test_a_demo_survives_a_kill_and_an_interruption(run, tmp_path, serial):
    """After `kill -9` the workers end too. Ctrl-C gives one message. The resumed demo has the results of an undisturbed one."""
    out, arms = tmp_path / "run", ("--arms", "text_only")
    process = start(out, *arms)
    wait_for(process, out, "pairs/pairs.jsonl")
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert len(workers) == 2 and not alive
    # a terminal sends Ctrl-C to the whole group; a background job of a shell would inherit that it is ignored
    restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = start(out, *arms, start_new_session=True, preexec_fn=restore)
    wait_for(process, out, "seed0/*/adapter/manifest.json")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "interrupted. Finished work is kept" in errors
    assert "Traceback" not in errors
    results = demo.run_demo(out, DemoConfig(steps=STEPS, phrases=PHRASES, arms=("text_only",)))
    assert list(results["arms"]) == ["base", "text_only"]
    undisturbed = read(run[0] / "results.json")["arms"]
    assert results["arms"] == {arm: undisturbed[arm] for arm in results["arms"]}


def test_by_dpo_every_trained_arm_has_rejected_answers(tmp_path, serial, capsys):
    arms = ("text_only", "sea_paper", "seawall", "real_media")
    config = DemoConfig(method="dpo", steps=STEPS, num_checkpoints=1, phrases=PHRASES, arms=arms)
    commands.demo(out=tmp_path, config=config)
    assert read(tmp_path / "results.json")["method"] == "dpo" and "trained by DPO" in capsys.readouterr().out
    configs = {arm: read(tmp_path / f"seed0/{arm}/adapter/manifest.json")["config"] for arm in arms}
    assert all(config["method"] == "dpo" for config in configs.values())
    assert [configs[arm]["mixture"]["media_harmless"] for arm in ("seawall", "sea_paper")] == [0.1, 0.45]


def test_a_demo_of_videos(tmp_path, serial):
    config = DemoConfig(modality="video", steps=STEPS, num_checkpoints=1, phrases=PHRASES, arms=("seawall",))
    results = demo.run_demo(tmp_path, config)
    assert results["organism"] == "video" and list(results["arms"]) == ["base", "seawall"]
    assert all(set(arm) == METRICS for arm in results["arms"].values())
    assert results["arms"]["base"]["asr_media_unseen"]["mean"] > 0.5, "the model is unaligned"
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 9 and "picture, then writing" in page
