"""Several devices and a cluster give what one process gives; a lost worker's work is done again."""

from __future__ import annotations

import builtins
import dataclasses
import os

import pytest
import torch

import seawall
from seawall.store.pair import read_pairs
from seawall.errors import ConfigError, EngineError, ModelError
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis import cluster, engines
from seawall.synthesis.engines import WorkerSpec, solve_in_processes, solve_local
from seawall.synthesis.amortize import find_media
from seawall.store.writer import Writer
from synthesize.conftest import CONFIG, TOLERANCE, assert_same_set


@pytest.fixture(scope="module")
def workshop(work):
    loaded = load_model("organism:image")
    return WorkerSpec(
        model="organism:image",
        fingerprint=loaded.fingerprint,
        modality="image",
        media=find_media(work.bank),
        config=CONFIG,
    )


@pytest.fixture(scope="module")
def todo(work):
    return [(pair["id"], pair) for pair in read_pairs(work.pairs)]


@pytest.fixture(scope="module")
def ray():
    """A cluster of two CPUs; without usage statistics, dashboard or anything left behind.

    Its workers get the priority of the tests: at a niceness of 15, the default, they starve beside other work.
    """
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    ray = cluster.import_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def assert_as_in_one_process(tasks, work):
    whole = EmbeddingStore(work.whole)
    made = {f"{task.record}#{copy}": (task, copy) for task in tasks for copy in range(len(task.turns))}
    assert sorted(made) == sorted(work.keys) and len(tasks) == len(work.keys) / CONFIG.copies, "each once"
    for key, (task, copy) in made.items():
        assert task.verified[copy] == whole.entries[key].verified
        torch.testing.assert_close(task.embeddings[copy], whole.read(key), **TOLERANCE)


def test_one_device_stays_in_this_process(workshop, work, todo, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu"])
    monkeypatch.setattr(engines, "solve_in_processes", None)
    assert_as_in_one_process(list(solve_local(workshop, load_model("organism:image"), todo)), work)


def test_several_devices_share_the_records(workshop, work, todo, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu", "cpu"])
    assert_as_in_one_process(list(solve_local(workshop, load_model("organism:image"), todo)), work)


class Deadly:
    """Ends the process that unpickles it, as a lack of memory would."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_that_dies_is_an_error_that_says_what_to_do(todo):
    with pytest.raises(EngineError, match=r"worker on cpu died \(exit code 3.*same command again"):
        list(solve_in_processes(Deadly(), todo, ["cpu"]))


def test_a_worker_with_another_model_is_refused(workshop):
    bad = dataclasses.replace(workshop, fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match=r"another model under organism:image .*wanted 0123456789abcdef"):
        bad.load()


def test_ray_makes_the_same_set_though_an_actor_is_killed_in_the_middle(ray, work, tmp_path, monkeypatch):
    solvers, start, killed, add = [], cluster.start_solver, [], Writer.add

    def kill_one(writer, task):
        add(writer, task)
        if not killed:
            killed.append(task.record)
            ray.kill(solvers[0])

    monkeypatch.setattr(cluster, "BLOCK", 2)
    monkeypatch.setattr(cluster, "start_solver", lambda *args: solvers.append(start(*args)) or solvers[-1])
    monkeypatch.setattr(Writer, "add", kill_one)
    seawall.synthesis.config("organism:image", work.pairs, tmp_path / "out", CONFIG, bank=work.bank, engine="ray")
    assert len(solvers) == 3, "one in the place of the lost one"
    keys = [entry.key for entry in EmbeddingStore(tmp_path / "out").history]
    assert sorted(keys) == sorted(work.keys), "each once"
    assert_same_set(tmp_path / "out", work.whole)
    assert ray.is_initialized(), "a cluster that was there before is left running"


def test_a_block_that_kills_every_actor_ends_the_run(ray, workshop, todo, monkeypatch):
    monkeypatch.setattr(cluster, "ATTEMPTS", 2)
    deadly = [(todo[0][0], Deadly())]
    with pytest.raises(EngineError, match=rf"lost 2 times with the records {todo[0][0]}"):
        list(cluster.solve_ray(workshop, deadly))


def test_a_fault_in_an_actor_keeps_its_message(ray, workshop, todo):
    bad = dataclasses.replace(workshop, fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match="wanted 0123456789abcdef"):
        list(cluster.solve_ray(bad, todo[:1]))


def test_without_ray_the_install_line_is_given(work, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_ray(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ConfigError, match=r"pip install 'seawall\[ray\]'"):
        seawall.synthesis.config("organism:image", work.pairs, tmp_path / "out", CONFIG, bank=work.bank, engine="ray")
    assert not (tmp_path / "out").exists()
