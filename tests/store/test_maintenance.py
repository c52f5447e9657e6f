"""Stores counted, checked, merged and pruned. The stores that are read never change."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from sample_pairs import make_pair
from seawall.errors import ArtifactError, ConfigError
from seawall.store.artifacts import claim, finish, read_manifest
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.files import read_json
from seawall.store.maintenance import check_store, count_embeddings, merge_stores, prune_store
from seawall.synthesis.config import FREE, SynthesizeConfig


def make_store(folder, phrases, *, model="mine", seed=0, value=0.0, unverified=(), failed=()):
    """A finished store. Each text of `phrases` is a shard, each letter a record's id and phrase; capitals are twins."""
    inputs = {"model": model, "pairs": "".join(phrases)}
    claim(folder, "synthesize", SynthesizeConfig(seed=seed), inputs, free=FREE)
    store = EmbeddingStore(folder)
    for shard in phrases:
        entries = [
            Entry(
                key=f"{phrase}#0",
                record=phrase,
                content=store.hash_content(make_pair(phrase, phrase)),
                kind="harmless" if phrase.isupper() else "harmful",
                verified=phrase not in unverified and phrase not in failed,
                failed="nan" if phrase in failed else "",
                steps=4,
                seconds=0.5,
            )
            for phrase in shard
        ]
        store.append({f"{p}#0": embedding(p, value) for p in shard if p not in failed}, entries)
    finish(folder)
    return folder


def embedding(phrase, value=0.0):
    return torch.full((2, 3), ord(phrase) + value)


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_counts_are_by_shard_kind_and_outcome(tmp_path):
    counts = count_embeddings(make_store(tmp_path / "store", ["abC", "de"], unverified="b", failed="e"))
    of = lambda row: (row["shard"], row["kind"], row["verified"], row["unverified"], row["failed"])  # noqa: E731
    first, second = "shard-00000.safetensors", "shard-00001.safetensors"
    assert {of(row) for row in counts["shards"]} == {
        ("", "harmful", 0, 0, 1),
        (first, "harmful", 1, 1, 0),
        (first, "harmless", 1, 0, 0),
        (second, "harmful", 1, 0, 0),
    }
    summary = counts["summary"]
    assert (summary["embeddings"], summary["vsr"], summary["seconds"]) == (5, 3 / 5, 2.5)


def test_an_intact_store_passes_the_check(tmp_path):
    folder = make_store(tmp_path / "store", ["ab", "c"], failed="b")
    before = snapshot(folder)
    found = check_store(folder)
    assert found == {"embeddings": 2, "shape": [2, 3], "superseded": 0, "orphaned_shards": 0}
    assert snapshot(folder) == before


@pytest.mark.parametrize("fault", ["cut", "gone", "not finite", "shape", "lacking"])
def test_broken_embeddings_are_named_and_pruned(tmp_path, fault):
    from safetensors.torch import save_file

    folder = make_store(tmp_path / "store", ["ab", "cd"])
    shard = folder / "shard-00001.safetensors"
    whole = {f"{phrase}#0": embedding(phrase) for phrase in "cd"}
    if fault == "cut":
        shard.write_bytes(shard.read_bytes()[:-3])
    elif fault == "gone":
        shard.unlink()
    else:
        broken = {"not finite": {"d#0": whole["d#0"] / 0}, "shape": {"d#0": torch.zeros(3, 3)}, "lacking": {}}[fault]
        save_file({"c#0": whole["c#0"], **broken}, shard)
    with pytest.raises(ArtifactError, match=rf"d#0: {shard.name}: .*prune {folder} --out NEW.*synthesize"):
        check_store(folder)
    prune_store(folder, tmp_path / "new")
    kept = EmbeddingStore(tmp_path / "new").entries.keys()
    assert kept == ({"a#0", "b#0"} if fault in ("cut", "gone") else {"a#0", "b#0", "c#0"})
    check_store(tmp_path / "new")


def test_pruning_leaves_out_unverified_and_replaced_embeddings_and_orphans(tmp_path):
    folder = make_store(tmp_path / "store", ["ab", "cd"], unverified="b", failed="d")
    store = EmbeddingStore(folder)
    store.append({"a#0": embedding("a", 0.5)}, [dataclasses.replace(store.entries["a#0"], shard="")])
    (folder / "shard-00007.safetensors").write_bytes(b"orphan")
    found = check_store(folder)
    assert (found["superseded"], found["orphaned_shards"]) == (1, 1)
    before = snapshot(folder)

    summary = prune_store(folder, tmp_path / "deep" / "new")
    new = EmbeddingStore(tmp_path / "deep" / "new")
    assert set(new.entries) == {"a#0", "c#0"} and len(new.history) == 2
    assert torch.equal(new.read("a#0"), embedding("a", 0.5))
    assert new.entries["c#0"].content == store.entries["c#0"].content
    assert summary == read_json(new.folder / "synthesis.json") and summary["vsr"] == 1
    assert read_manifest(new.folder) == read_manifest(folder)
    assert snapshot(folder) == before
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]


def test_merging_keeps_everything_and_prefers_verified_embeddings(tmp_path):
    one = make_store(tmp_path / "one", ["ab"], unverified="b")
    two = make_store(tmp_path / "two", ["bc"], value=0.5)
    before = snapshot(one), snapshot(two)
    summary = merge_stores([one, two], tmp_path / "new")
    new = EmbeddingStore(tmp_path / "new")
    assert summary["embeddings"] == summary["verified"] == 3
    values = {key: new.read(key) for key in new.entries}
    assert torch.equal(values["a#0"], embedding("a")) and torch.equal(values["b#0"], embedding("b", 0.5))
    assert read_manifest(new.folder).complete and new.identity == EmbeddingStore(one).identity
    assert (snapshot(one), snapshot(two)) == before


def test_a_merge_with_an_unfinished_store_is_unfinished(tmp_path):
    one, two = make_store(tmp_path / "one", ["a"]), tmp_path / "two"
    claim(two, "synthesize", SynthesizeConfig(), {"model": "mine", "pairs": "b"}, free=FREE)
    merge_stores([one, two], tmp_path / "new")
    assert read_manifest(tmp_path / "new").complete is False


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "other"}, "model: 'mine' in the first, 'other' in the second"),
        ({"seed": 1}, "seed: 0 in the first, 1 in the second"),
    ],
)
def test_stores_of_other_models_or_settings_are_not_merged(tmp_path, changed, message):
    one, two = make_store(tmp_path / "one", ["a"]), make_store(tmp_path / "two", ["b"], **changed)
    with pytest.raises(ArtifactError, match=rf"cannot be merged \({message}\)"):
        merge_stores([one, two], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_key_with_two_meanings_is_named(tmp_path):
    one, two = make_store(tmp_path / "one", ["a"]), make_store(tmp_path / "two", ["b"])
    index = two / "index.jsonl"
    index.write_text(index.read_text().replace('"b#0"', '"a#0"'))
    with pytest.raises(ArtifactError, match=rf"1 keys .*a#0 in {one} and {two}.*unique ids"):
        merge_stores([one, two], tmp_path / "new")


def test_nothing_is_overwritten_and_other_folders_are_refused(tmp_path):
    one = make_store(tmp_path / "one", ["a"])
    with pytest.raises(ArtifactError, match="one exists"):
        prune_store(one, one)
    for call in (count_embeddings, check_store):
        with pytest.raises(ArtifactError, match="holds no embeddings"):
            call(tmp_path)
    with pytest.raises(ConfigError, match="No store was given"):
        merge_stores([], tmp_path / "new")


def test_an_interrupted_call_leaves_no_trace_in_the_next(tmp_path):
    one = make_store(tmp_path / "one", ["a"])
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "shard-00000.safetensors").write_bytes(b"half")
    prune_store(one, tmp_path / "new")
    check_store(tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "new"}


def test_stores_are_merged_if_an_option_that_one_lacks_is_at_its_default(tmp_path):
    one, two = make_store(tmp_path / "one", ["a"]), make_store(tmp_path / "two", ["b"])
    manifest = read_json(two / "manifest.json")
    del manifest["config"]["threshold_retries"]
    manifest["defaults"].remove("threshold_retries")
    (two / "manifest.json").write_text(json.dumps(manifest))
    assert merge_stores([one, two], tmp_path / "new")["embeddings"] == 2


def test_stores_whose_content_hashes_cannot_agree_are_not_merged(tmp_path):
    one, two = make_store(tmp_path / "one", ["a"]), make_store(tmp_path / "two", ["b"])
    manifest = {**read_json(two / "manifest.json"), "identity": "of another version"}
    (two / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"cannot be merged \(they were made by different versions\)"):
        merge_stores([one, two], tmp_path / "new")
