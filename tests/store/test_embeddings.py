"""The store of embeddings: what was written comes back, what was cut short does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seawall.store.artifacts import claim, finish
from seawall.errors import ArtifactError
from seawall.store.embeddings import EmbeddingStore, open_store
from seawall.synthesis.config import SynthesizeConfig


def facts(key, **changed):
    record = key.split("#")[0]
    plain = {
        "record": record,
        "content": "c",
        "kind": "harmful",
        "verified": True,
        "steps": 3,
        "starts": 1,
        "seconds": 0.5,
    }
    return {"key": key, **plain, "curve": [2.5, 0.04], **changed}


def embedding(number):
    return torch.arange(6.0).view(2, 3) + number


@pytest.fixture
def store(tmp_path):
    """A store of two shards: a#0 and b#0, then c#0."""
    store = EmbeddingStore(tmp_path)
    store.append({"a#0": embedding(0), "b#0": embedding(1)}, [facts("a#0"), facts("b#0", verified=False)])
    store.append({"c#0": embedding(2)}, [facts("c#0", kind="harmless")])
    return store


def test_what_was_appended_comes_back(store, tmp_path):
    for again in (store, EmbeddingStore(tmp_path)):
        assert list(again.entries) == ["a#0", "b#0", "c#0"]
        for number, key in enumerate(again.entries):
            assert torch.equal(again.read(key), embedding(number))
        assert again.entries["b#0"].verified is False and again.entries["c#0"].kind == "harmless"
        assert again.entries["a#0"].curve == [2.5, 0.04]


def test_a_second_shard_leaves_the_first_as_it_is(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append({"a#0": embedding(0)}, [facts("a#0")])
    (first,) = tmp_path.glob("*.safetensors")
    before = first.read_bytes()
    EmbeddingStore(tmp_path).append({"b#0": embedding(1)}, [facts("b#0")])
    assert first.read_bytes() == before and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_views_are_stored_by_value(tmp_path):
    stack = torch.stack([embedding(0), embedding(1)])
    views = {"a#0": stack[0], "b#0": stack[0], "c#0": stack[1].T}
    EmbeddingStore(tmp_path).append(views, [facts(key) for key in views])
    again = EmbeddingStore(tmp_path)
    assert all(torch.equal(again.read(key), view) for key, view in views.items())


def cut_last_line(folder):
    index = folder / EmbeddingStore.INDEX
    index.write_text(index.read_text()[:-20])


def test_a_half_written_index_line_is_ignored(store, tmp_path):
    cut_last_line(tmp_path)
    assert list(EmbeddingStore(tmp_path).entries) == ["a#0", "b#0"]


def test_a_store_goes_on_after_a_half_written_index_line(store, tmp_path):
    cut_last_line(tmp_path)
    EmbeddingStore(tmp_path).append({"c#0": embedding(7)}, [facts("c#0")])
    again = EmbeddingStore(tmp_path)
    assert list(again.entries) == ["a#0", "b#0", "c#0"]
    assert torch.equal(again.read("c#0"), embedding(7)) and torch.equal(again.read("b#0"), embedding(1))


@pytest.mark.parametrize("left", [0, 10, -1])
def test_a_shard_cut_short_is_an_error_that_names_the_key(store, tmp_path, left):
    shard = tmp_path / store.entries["c#0"].shard
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(ArtifactError, match=r"'c#0'.*Synthesize it again"):
        EmbeddingStore(tmp_path).read("c#0")
    assert torch.equal(EmbeddingStore(tmp_path).read("a#0"), embedding(0))


def test_a_missing_shard_and_an_unknown_key_are_errors_that_name_the_key(store, tmp_path):
    (tmp_path / store.entries["c#0"].shard).unlink()
    for key in ("c#0", "z#0"):
        with pytest.raises(ArtifactError, match=key):
            store.read(key)


def test_a_shard_on_disk_that_the_index_does_not_know_is_never_overwritten(store, tmp_path):
    orphan = tmp_path / "shard-00002.safetensors"
    orphan.write_bytes(b"left by a run that was killed before it wrote the index")
    EmbeddingStore(tmp_path).append({"d#0": embedding(3)}, [facts("d#0")])
    assert orphan.read_bytes().startswith(b"left by") and EmbeddingStore(tmp_path).entries["d#0"].shard != orphan.name


def test_a_later_line_supersedes_an_earlier_one(store, tmp_path):
    store.append({"a#0": embedding(9)}, [facts("a#0", content="other")])
    again = EmbeddingStore(tmp_path)
    assert torch.equal(again.read("a#0"), embedding(9)) and again.entries["a#0"].content == "other"
    assert [entry.key for entry in again.history] == ["a#0", "b#0", "c#0", "a#0"]


def test_what_is_read_can_be_changed_without_changing_the_store(store, tmp_path):
    store.read("a#0").add_(1)
    assert torch.equal(store.read("a#0"), embedding(0))


def test_a_shard_is_opened_once_and_not_loaded(tmp_path, monkeypatch):
    import safetensors

    store = EmbeddingStore(tmp_path)
    for number in range(4):
        keys = [f"{number}-{i}#0" for i in range(8)]
        store.append({key: torch.randn(256, 1024) for key in keys}, [facts(key) for key in keys])  # 8 MiB
    opened, real = [], safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", lambda path, **kw: opened.append(path) or real(path, **kw))
    again = EmbeddingStore(tmp_path)
    before = private_mebibytes()
    for key in [*again.entries, *again.entries]:
        again.read(key)
    assert len(opened) == 4
    assert private_mebibytes() - before < 8, "32 MiB were read twice"


def private_mebibytes():
    """Memory of this process that no file backs."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def test_damage_is_found_and_forgotten_without_touching_the_disk(store, tmp_path):
    shard = tmp_path / store.entries["a#0"].shard
    shard.write_bytes(shard.read_bytes()[:-1])
    again = EmbeddingStore(tmp_path)
    before = (tmp_path / "index.jsonl").read_bytes()
    damage = again.find_damage()
    assert set(damage) == {shard.name}
    assert again.forget(damage) == 2 and list(again.entries) == ["c#0"]
    assert (tmp_path / "index.jsonl").read_bytes() == before


def test_a_failed_record_has_a_line_and_no_shard(tmp_path):
    EmbeddingStore(tmp_path).append({}, [facts("a#0", verified=False, failed="the loss became nan")])
    again = EmbeddingStore(tmp_path)
    assert again.entries["a#0"].outcome == "failed" and not list(tmp_path.glob("shard-*")) and again.find_damage() == {}
    with pytest.raises(ArtifactError, match=r"no embedding 'a#0': it failed \(the loss became nan\)"):
        again.read("a#0")


def test_the_content_hash_changes_with_model_settings_and_prompts_and_with_nothing_else(tmp_path):
    pair = {
        "id": "1",
        "kind": "harmful",
        "phrase": "x",
        "category": "activity",
        "content": {"answer": "a"},
        "style": {},
    }

    def content(number, pair, seed=0, **inputs):
        claim(
            tmp_path / str(number), "synthesize", SynthesizeConfig(seed=seed), {"model": "m", **inputs}, free=["pairs"]
        )
        return EmbeddingStore(tmp_path / str(number)).hash_content(pair)

    first = content(0, pair)
    assert content(1, {**pair, "response": "other", "id": "2"}, pairs="more") == first
    others = [content(2, pair, seed=1), content(3, pair, model="n"), content(4, {**pair, "phrase": "y"})]
    others += [content(5, {**pair, "content": {"answer": "b"}}), content(6, {**pair, "kind": "harmless"})]
    assert len({first, *others}) == 6


def test_an_index_of_another_version_is_refused(store, tmp_path):
    with open(tmp_path / "index.jsonl", "a") as index:
        index.write('{"key": "d#0"}\n')
    with pytest.raises(ArtifactError, match=r"index.jsonl, line 4, is no entry of this version"):
        EmbeddingStore(tmp_path)


def test_a_half_written_shard_is_never_read_and_goes_with_the_next_writer(store, tmp_path):
    partial = tmp_path / "shard-00002.safetensors.partial"
    partial.write_bytes(b"half")
    again = EmbeddingStore(tmp_path)
    assert list(again.entries) == ["a#0", "b#0", "c#0"]
    with again.lock():
        assert not partial.exists()


def test_the_lock_is_held_while_it_lasts(store, tmp_path):
    other = EmbeddingStore(tmp_path)
    with store.lock(), pytest.raises(ArtifactError, match="is writing"), other.lock():
        pass
    with other.lock():
        pass


def test_only_a_finished_store_of_this_model_is_opened(tmp_path):
    folder = tmp_path / "store"
    with pytest.raises(ArtifactError, match="holds no result of `seawall synthesize`"):
        open_store(folder, "mine")
    claim(folder, "synthesize", SynthesizeConfig(), {"model": "mine"})
    with pytest.raises(ArtifactError, match="has not finished"):
        open_store(folder, "mine")
    finish(folder)
    assert open_store(folder, "mine").entries == {}
    with pytest.raises(ArtifactError, match=r"made for another model \(fingerprint mine, this one is other\)"):
        open_store(folder, "other")
