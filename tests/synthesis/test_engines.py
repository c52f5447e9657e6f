"""Several devices and a cluster make what one process makes. The work of a lost worker is done again."""

from __future__ import annotations

import builtins
import dataclasses
import os

import pytest
import torch

from seawall.errors import ConfigError, EngineError, ModelError
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.store.pair import read_pairs
from seawall.store.writer import ShardWriter
from seawall.synthesis import cluster, engines
from seawall.synthesis.amortize import find_media
from seawall.synthesis.engines import WorkerSpec, solve_in_processes, solve_local
from seawall.synthesis.run import synthesize
from small_run import CONFIG, TOLERANCE, assert_same_embeddings


@pytest.fixture(scope="module")
def spec(small_run):
    return WorkerSpec(
        model="organism:image",
        fingerprint=load_model("organism:image").fingerprint,
        modality="image",
        media=find_media(small_run.bank),
        config=CONFIG,
    )


@pytest.fixture(scope="module")
def pairs(small_run):
    return read_pairs(small_run.pairs)


@pytest.fixture(scope="module")
def ray():
    """A cluster of two CPUs without usage statistics and dashboard, shut down afterwards.

    Its workers get the priority of the tests: at Ray's default niceness of 15 they starve on a loaded machine.
    """
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    ray = cluster.import_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def assert_as_in_one_process(tasks, small_run):
    store = EmbeddingStore(small_run.embeddings)
    made = {f"{task.record}#{copy}": (task, copy) for task in tasks for copy in range(len(task.content))}
    assert sorted(made) == sorted(small_run.keys) and len(tasks) == len(small_run.keys), "each once"
    for key, (task, copy) in made.items():
        assert task.verified[copy] == store.entries[key].verified
        torch.testing.assert_close(task.embeddings[copy], store.read(key), **TOLERANCE)


def test_one_device_is_used_in_this_process(spec, small_run, pairs, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu"])
    monkeypatch.setattr(engines, "solve_in_processes", None)
    assert_as_in_one_process(list(solve_local(spec, load_model("organism:image"), pairs)), small_run)


def test_several_devices_share_the_records(spec, small_run, pairs, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu", "cpu"])
    assert_as_in_one_process(list(solve_local(spec, load_model("organism:image"), pairs)), small_run)


class Deadly:
    """Ends the process that unpickles it, as running out of memory would."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_that_dies_is_an_error_with_advice(pairs):
    with pytest.raises(EngineError, match=r"worker on cpu died \(exit code 3.*same command to resume"):
        list(solve_in_processes(Deadly(), pairs, ["cpu"]))


def test_a_worker_with_another_model_is_refused(spec):
    wrong = dataclasses.replace(spec, fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match=r"another model under organism:image .*expected 0123456789abcdef"):
        wrong.load()


def test_ray_makes_the_same_embeddings_although_an_actor_is_killed(ray, small_run, tmp_path, monkeypatch):
    solvers, start, killed, add = [], cluster.start_solver, [], ShardWriter.add

    def kill_one(writer, entry, embedding):
        add(writer, entry, embedding)
        if not killed:
            killed.append(entry.record)
            ray.kill(solvers[0])

    monkeypatch.setattr(cluster, "MAX_BLOCK_SIZE", 2)
    monkeypatch.setattr(cluster, "start_solver", lambda *args: solvers.append(start(*args)) or solvers[-1])
    monkeypatch.setattr(ShardWriter, "add", kill_one)
    out = tmp_path / "out"
    synthesize("organism:image", small_run.pairs, out, CONFIG, bank=small_run.bank, engine="ray")
    assert len(solvers) == 3, "one replaces the lost one"
    keys = [entry.key for entry in EmbeddingStore(out).history]
    assert sorted(keys) == sorted(small_run.keys), "each once"
    assert_same_embeddings(out, small_run.embeddings)
    assert ray.is_initialized(), "a cluster that existed before keeps running"


def test_a_block_that_kills_every_actor_ends_the_run(ray, spec, pairs, monkeypatch):
    monkeypatch.setattr(cluster, "ATTEMPTS", 2)
    deadly = [dataclasses.replace(pairs[0], phrase=Deadly())]
    with pytest.raises(EngineError, match=rf"lost 2 times with the records {pairs[0].id}"):
        list(cluster.solve_ray(spec, deadly))


def test_an_error_in_an_actor_keeps_its_message(ray, spec, pairs):
    wrong = dataclasses.replace(spec, fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match="expected 0123456789abcdef"):
        list(cluster.solve_ray(wrong, pairs[:1]))


def test_a_model_that_only_this_process_knows_is_refused_by_ray(spec, pairs, monkeypatch):
    monkeypatch.setattr(cluster, "is_registered_here_only", lambda name: True)
    with pytest.raises(ConfigError, match=r"registered in this process only.*--engine local"):
        list(cluster.solve_ray(spec, pairs))


def test_without_ray_the_message_says_how_to_install_it(small_run, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_ray(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ConfigError, match=r"pip install 'seawall\[ray\]'"):
        synthesize("organism:image", small_run.pairs, tmp_path / "out", CONFIG, bank=small_run.bank, engine="ray")
    assert not (tmp_path / "out").exists()
