"""The store of embeddings: it returns what was written, and interrupted writes do no harm."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import filelock
import pytest
import torch

from sample_pairs import make_pair
from seawall.errors import ArtifactError
from seawall.store.artifacts import claim, finish
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.maintenance import open_store
from seawall.store.pair import QuestionAnswer
from seawall.synthesis.config import SynthesizeConfig


def make_entry(key, **changed):
    fields = {"record": key.split("#")[0], "content": "c", "verified": True, "steps": 3, "seconds": 0.5}
    return Entry(**{"key": key, "curve": (2.5, 0.04), **fields, **changed})


def embedding(number):
    return torch.arange(6.0).view(2, 3) + number


@pytest.fixture
def store(tmp_path):
    """A store of two shards: a#0 and b#0, then c#0."""
    store = EmbeddingStore(tmp_path)
    store.append({"a#0": embedding(0), "b#0": embedding(1)}, [make_entry("a#0"), make_entry("b#0", verified=False)])
    store.append({"c#0": embedding(2)}, [make_entry("c#0", kind="harmless")])
    return store


def test_what_was_appended_is_read_back(store, tmp_path):
    for again in (store, EmbeddingStore(tmp_path)):
        assert list(again.entries) == ["a#0", "b#0", "c#0"]
        for number, key in enumerate(again.entries):
            assert torch.equal(again.read(key), embedding(number))
        assert again.entries["b#0"].verified is False and again.entries["c#0"].kind == "harmless"
        assert again.entries["a#0"].curve == (2.5, 0.04)
    assert EmbeddingStore(tmp_path).entries == store.entries


def test_a_second_shard_does_not_change_the_first(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append({"a#0": embedding(0)}, [make_entry("a#0")])
    (first,) = tmp_path.glob("*.safetensors")
    before = first.read_bytes()
    EmbeddingStore(tmp_path).append({"b#0": embedding(1)}, [make_entry("b#0")])
    assert first.read_bytes() == before and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not list(tmp_path.glob("*.partial"))


def test_views_are_stored_by_value(tmp_path):
    stack = torch.stack([embedding(0), embedding(1)])
    views = {"a#0": stack[0], "b#0": stack[0], "c#0": stack[1].T}
    EmbeddingStore(tmp_path).append(views, [make_entry(key) for key in views])
    again = EmbeddingStore(tmp_path)
    assert all(torch.equal(again.read(key), view) for key, view in views.items())


def cut_last_line(folder):
    index = folder / EmbeddingStore.INDEX
    index.write_text(index.read_text()[:-20])


def test_a_truncated_index_line_is_ignored(store, tmp_path):
    cut_last_line(tmp_path)
    assert list(EmbeddingStore(tmp_path).entries) == ["a#0", "b#0"]


def test_a_store_is_continued_after_a_truncated_index_line(store, tmp_path):
    cut_last_line(tmp_path)
    EmbeddingStore(tmp_path).append({"c#0": embedding(7)}, [make_entry("c#0")])
    again = EmbeddingStore(tmp_path)
    assert list(again.entries) == ["a#0", "b#0", "c#0"]
    assert torch.equal(again.read("c#0"), embedding(7)) and torch.equal(again.read("b#0"), embedding(1))


@pytest.mark.parametrize("left", [0, 10, -1])
def test_a_truncated_shard_is_an_error_that_names_the_key(store, tmp_path, left):
    shard = tmp_path / store.entries["c#0"].shard
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(ArtifactError, match=r"'c#0'.*Rerun the same `seawall synthesize`"):
        EmbeddingStore(tmp_path).read("c#0")
    assert torch.equal(EmbeddingStore(tmp_path).read("a#0"), embedding(0))


def test_a_missing_shard_and_an_unknown_key_are_errors_that_name_the_key(store, tmp_path):
    (tmp_path / store.entries["c#0"].shard).unlink()
    for key in ("c#0", "z#0"):
        with pytest.raises(ArtifactError, match=key):
            store.read(key)


def test_a_shard_without_index_lines_is_never_overwritten(store, tmp_path):
    orphan = tmp_path / "shard-00002.safetensors"
    orphan.write_bytes(b"left by a run that was killed before it wrote the index")
    EmbeddingStore(tmp_path).append({"d#0": embedding(3)}, [make_entry("d#0")])
    assert orphan.read_bytes().startswith(b"left by") and EmbeddingStore(tmp_path).entries["d#0"].shard != orphan.name


def test_a_later_line_replaces_an_earlier_one(store, tmp_path):
    store.append({"a#0": embedding(9)}, [make_entry("a#0", content="other")])
    again = EmbeddingStore(tmp_path)
    assert torch.equal(again.read("a#0"), embedding(9)) and again.entries["a#0"].content == "other"
    assert [entry.key for entry in again.history] == ["a#0", "b#0", "c#0", "a#0"]


def test_changing_what_was_read_does_not_change_the_store(store):
    store.read("a#0").add_(1)
    assert torch.equal(store.read("a#0"), embedding(0))


def test_a_shard_is_opened_once_and_not_loaded(tmp_path, monkeypatch):
    import safetensors

    store = EmbeddingStore(tmp_path)
    for number in range(4):
        keys = [f"{number}-{i}#0" for i in range(8)]
        store.append({key: torch.randn(256, 1024) for key in keys}, [make_entry(key) for key in keys])  # 8 MiB
    opened, real = [], safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", lambda path, **kw: opened.append(path) or real(path, **kw))
    again = EmbeddingStore(tmp_path)
    before = private_mebibytes()
    for key in [*again.entries, *again.entries]:
        again.read(key)
    assert len(opened) == 4
    assert private_mebibytes() - before < 8, "32 MiB were read twice"


def private_mebibytes():
    """Memory of this process that is not mapped from files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def test_damage_is_found_and_forgotten_without_changes_on_disk(store, tmp_path):
    shard = tmp_path / store.entries["a#0"].shard
    shard.write_bytes(shard.read_bytes()[:-1])
    again = EmbeddingStore(tmp_path)
    before = (tmp_path / "index.jsonl").read_bytes()
    damage = again.find_damage()
    assert set(damage) == {shard.name}
    assert again.forget(damage) == 2 and list(again.entries) == ["c#0"]
    assert (tmp_path / "index.jsonl").read_bytes() == before


def test_a_failed_record_has_a_line_and_no_shard(tmp_path):
    EmbeddingStore(tmp_path).append({}, [make_entry("a#0", verified=False, failed="the loss became nan")])
    again = EmbeddingStore(tmp_path)
    assert again.entries["a#0"].outcome == "failed" and not list(tmp_path.glob("shard-*")) and again.find_damage() == {}
    with pytest.raises(ArtifactError, match=r"no embedding 'a#0': it failed \(the loss became nan\)"):
        again.read("a#0")


def test_the_content_hash_depends_on_model_settings_and_questions_only(tmp_path):
    def hash_in_store(number, pair, seed=0, **inputs):
        folder, config = tmp_path / str(number), SynthesizeConfig(seed=seed)
        claim(folder, "synthesize", config, {"model": "m", **inputs}, free=["pairs"])
        return EmbeddingStore(folder).hash_content(pair)

    pair, other = make_pair("1"), QuestionAnswer(question="What is it?", answer="A boat.")
    first = hash_in_store(0, pair)
    assert hash_in_store(1, make_pair("2", response="other", extractor="m", detoxified="x"), pairs="more") == first
    others = [hash_in_store(2, pair, seed=1), hash_in_store(3, pair, model="n")]
    others += [
        hash_in_store(4, make_pair("1", **changed))
        for changed in (
            {"phrase": "y"},
            {"kind": "harmless"},
            {"category": "product"},
            {"content": (other,)},
            {"verification": (other,)},
            {"style": other},
        )
    ]
    assert len({first, *others}) == 9


def test_an_index_line_with_unknown_or_missing_fields_is_read(store, tmp_path):
    with open(tmp_path / "index.jsonl", "a") as index:
        index.write('{"key": "record#7#0"}\n')
        index.write(json.dumps({**make_entry("e#0").to_json(), "colour": "red", "curve": None}) + "\n")
    again = EmbeddingStore(tmp_path)
    assert again.entries["record#7#0"] == Entry(key="record#7#0", record="record#7")
    assert again.entries["record#7#0"].outcome == "unverified"
    assert again.entries["e#0"] == make_entry("e#0", curve=())
    assert again.find_damage() == {}


@pytest.mark.parametrize("line", ['{"record": "d"}', "[]", '{"key": 3}', "{nope"])
def test_a_line_that_is_no_entry_is_an_error_that_names_it(store, tmp_path, line):
    with open(tmp_path / "index.jsonl", "a") as index:
        index.write(f"{line}\n")
    with pytest.raises(ArtifactError, match=r"index.jsonl, line 4, is not .*Synthesize again with another --out"):
        EmbeddingStore(tmp_path)


def test_a_half_written_shard_is_never_read_and_the_next_writer_removes_it(store, tmp_path):
    partial = tmp_path / "shard-00002.safetensors.partial"
    partial.write_bytes(b"half")
    again = EmbeddingStore(tmp_path)
    assert list(again.entries) == ["a#0", "b#0", "c#0"]
    with again.lock():
        assert not partial.exists()


def test_the_lock_excludes_other_writers_until_it_is_released(store, tmp_path):
    other = EmbeddingStore(tmp_path)
    with store.lock(), pytest.raises(ArtifactError, match="is writing"), other.lock():
        pass
    with other.lock():
        pass


def test_an_error_while_the_lock_is_held_is_passed_on_and_releases_it(store):
    with pytest.raises(filelock.Timeout), store.lock():
        raise filelock.Timeout("a lock of another library")
    with store.lock():
        pass


def test_without_locks_in_the_file_system_the_store_is_written_with_a_warning(store, monkeypatch, caplog):
    def refuse(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    with store.lock():
        pass
    assert "No locks available" in caplog.text


def test_only_a_finished_store_of_the_model_is_opened(tmp_path):
    folder = tmp_path / "store"
    with pytest.raises(ArtifactError, match="holds no result of `seawall synthesize`"):
        open_store(folder, "mine")
    claim(folder, "synthesize", SynthesizeConfig(), {"model": "mine"})
    with pytest.raises(ArtifactError, match="has not finished"):
        open_store(folder, "mine")
    finish(folder)
    assert open_store(folder, "mine").entries == {}
    with pytest.raises(ArtifactError, match=r"made for another model \(fingerprint mine, this model has other\)"):
        open_store(folder, "other")
