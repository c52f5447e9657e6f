"""The store of embeddings: what was written comes back, what was cut short does no harm."""

from __future__ import annotations

import pytest
import torch

from seawall.artifacts import claim, finish
from seawall.errors import ArtifactError
from seawall.store import EmbeddingStore, open_store
from seawall.synthesize import SynthesizeConfig


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
