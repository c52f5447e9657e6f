"""Several devices and a cluster make what one process makes. The work of a lost worker is done again."""

from __future__ import annotations

import builtins
import dataclasses
import multiprocessing
import os

import pytest
import torch

from seawall.errors import ConfigError, EngineError, ModelError
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.store.pair import read_pairs
from seawall.store.writer import BlockWriter
from seawall.synthesis import cluster, engines
from seawall.synthesis.amortize import find_media
from seawall.synthesis.engines import WorkerSpec, solve_in_processes, solve_local
from seawall.synthesis.run import synthesize
from seawall.synthesis.solve import Block
from small_run import CONFIG, TOLERANCE, assert_equal_embeddings, assert_same_embeddings

SMALL_BLOCKS = dataclasses.replace(CONFIG, batch_size=2)


@pytest.fixture(scope="module")
def spec(small_run):
    return WorkerSpec(
        model="organism:image",
        fingerprint=load_model("organism:image").fingerprint,
        modality="image",
        media=find_media(small_run.bank),
        config=CONFIG,
        probe=read_pairs(small_run.pairs)[0],
    )


@pytest.fixture(scope="module")
def pairs(small_run):
    return read_pairs(small_run.pairs)


@pytest.fixture
def plan(pairs):
    """A plan of four blocks."""
    return lambda batch_size, workers: [
        Block(pairs=pairs[at : at + 3], batch_size=batch_size) for at in range(0, len(pairs), 3)
    ]


@pytest.fixture(scope="module")
def whole(small_run, tmp_path_factory):
    """The store of a run in one process and one thread, in blocks of two records."""
    out, threads = tmp_path_factory.mktemp("whole") / "out", torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "find_devices", lambda: ["cpu"])
        patch.setattr(engines, "BATCHES_PER_BLOCK", 1)
        synthesize("organism:image", small_run.pairs, out, SMALL_BLOCKS, bank=small_run.bank)
    torch.set_num_threads(threads)
    return out


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


def test_one_device_is_used_in_this_process(spec, small_run, plan, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu"])
    monkeypatch.setattr(engines, "solve_in_processes", None)
    assert_as_in_one_process(list(solve_local(spec, load_model("organism:image"), plan)), small_run)


def test_several_devices_share_the_blocks(spec, small_run, plan, monkeypatch):
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu", "cpu"])
    assert_as_in_one_process(list(solve_local(spec, load_model("organism:image"), plan)), small_run)


def test_the_result_of_several_devices_does_not_depend_on_when_one_of_them_is_lost(
    small_run, whole, tmp_path, monkeypatch
):
    """One of two workers dies within its second block. The resumed run has the embeddings of an undisturbed one."""
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu", "cpu"])
    monkeypatch.setattr(engines, "BATCHES_PER_BLOCK", 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    add, done = BlockWriter.add, []

    def kill_one(writer, block, record):
        add(writer, block, record)
        done.append(block)
        if len(done) == 5:
            multiprocessing.active_children()[0].kill()

    def run(out):
        synthesize("organism:image", small_run.pairs, out, SMALL_BLOCKS, bank=small_run.bank)

    with monkeypatch.context() as patch, pytest.raises(EngineError, match=r"exit code -9.*same command to resume"):
        patch.setattr(BlockWriter, "add", kill_one)
        run(tmp_path / "out")
    before = dict(EmbeddingStore(tmp_path / "out").entries)
    assert before and len(before) % 2 == 0
    run(tmp_path / "out")
    assert before.items() <= EmbeddingStore(tmp_path / "out").entries.items(), "nothing may be made twice"
    assert_equal_embeddings(tmp_path / "out", whole)


class Deadly:
    """Ends the process that unpickles it, as running out of memory would."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_that_dies_is_an_error_with_advice(plan):
    with pytest.raises(EngineError, match=r"worker on cpu died \(exit code 3.*same command to resume"):
        list(solve_in_processes(Deadly(), plan, ["cpu"]))


def test_a_worker_with_another_model_is_refused(spec):
    wrong = dataclasses.replace(spec, fingerprint="0123456789abcdef")
    with pytest.raises(ModelError, match=r"another model under organism:image .*expected 0123456789abcdef"):
        wrong.load()


def test_ray_makes_equal_embeddings_although_its_actors_are_killed(ray, small_run, whole, tmp_path, monkeypatch):
    actors, start, killed, add = [], cluster.start_actor, [], BlockWriter.add

    def kill_one(writer, block, record):
        add(writer, block, record)
        if not killed:
            killed.append(block)
            for actor in actors:
                ray.kill(actor)

    monkeypatch.setattr(engines, "BATCHES_PER_BLOCK", 1)
    monkeypatch.setattr(cluster, "start_actor", lambda *args: actors.append(start(*args)) or actors[-1])
    monkeypatch.setattr(BlockWriter, "add", kill_one)
    out = tmp_path / "out"
    synthesize("organism:image", small_run.pairs, out, SMALL_BLOCKS, bank=small_run.bank, engine="ray")
    assert len(actors) == 4, "others replace the lost ones"
    keys = [entry.key for entry in EmbeddingStore(tmp_path / "out").history]
    assert sorted(keys) == sorted(small_run.keys), "each once"
    assert_equal_embeddings(tmp_path / "out", whole)
    assert_same_embeddings(tmp_path / "out", small_run.embeddings)
    assert ray.is_initialized(), "a cluster that existed before keeps running"


def test_a_block_that_kills_every_actor_ends_the_run(ray, spec, pairs, monkeypatch):
    monkeypatch.setattr(cluster, "ATTEMPTS", 2)
    deadly = Block(pairs=[dataclasses.replace(pairs[0], phrase=Deadly())], batch_size=1)
    given = dataclasses.replace(spec, config=SMALL_BLOCKS)
    with pytest.raises(EngineError, match=rf"lost 2 times with the records {pairs[0].id}"):
        list(cluster.solve_ray(given, lambda *_: [deadly]))


def test_if_every_actor_is_lost_while_it_loads_the_run_ends(ray, spec):
    deadly = dataclasses.replace(spec, modality=Deadly())
    with pytest.raises(EngineError, match="Every worker was lost while it loaded the model"):
        list(cluster.solve_ray(deadly, lambda *_: []))


def test_an_error_in_an_actor_keeps_its_message(ray, spec, plan):
    wrong = dataclasses.replace(spec, fingerprint="0123456789abcdef", config=SMALL_BLOCKS)
    with pytest.raises(ModelError, match="expected 0123456789abcdef"):
        list(cluster.solve_ray(wrong, lambda *_: plan(1, 1)[:1]))


def test_a_model_that_only_this_process_knows_is_refused_by_ray(spec, plan, monkeypatch):
    monkeypatch.setattr(cluster, "is_registered_here_only", lambda name: True)
    with pytest.raises(ConfigError, match=r"registered in this process only.*--engine local"):
        list(cluster.solve_ray(spec, plan))


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
