"""What SECURITY.md says: no code of a checkpoint runs, zip files stay in their folder, embeddings are private."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest
import torch

from seawall.errors import DataError, ModelError
from seawall.evaluation.benchmarks import source
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore


class Deadly:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_pickled_objects_in_the_weights_of_a_model_are_refused(tiny_path, tmp_path):
    bad, made = tmp_path / "bad", tmp_path / "made"
    shutil.copytree(tiny_path, bad)
    (bad / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Deadly(made)}, bad / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"contain pickled objects, which could run code.*Get the model as safetensors"
    ):
        load_model(str(bad))
    assert not made.exists()


def test_an_adapter_in_another_format_than_safetensors_is_refused(tiny_path, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    torch.save({"x": Deadly(tmp_path / "made")}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"no adapter_model.safetensors"):
        load_model(str(tiny_path), tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seawall" / "benchmarks"


def make_zip(path, size):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.json", b"0" * size)
    return path


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(tmp_path, cache, monkeypatch):
    bomb = make_zip(tmp_path / "bomb.zip", 10**6)
    monkeypatch.setattr(source, "MAX_BYTES", 10**5)
    with pytest.raises(DataError, match=r"would grow from .* to 1,000,000 bytes\. Nothing was unpacked"):
        source.open_data(bomb)
    assert not list(cache.iterdir())
    monkeypatch.setattr(source, "MAX_BYTES", 10**7)
    assert (source.open_data(bomb) / "a" / "b.json").stat().st_size == 10**6, "small files may shrink as they like"


def test_a_zip_file_that_does_not_fit_on_the_disk_is_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DataError, match=r"takes 1,000 bytes unpacked, and .* has 1 free.*XDG_CACHE_HOME"):
        source.open_data(make_zip(tmp_path / "a.zip", 1000))
    assert not list(cache.iterdir())


def test_unpacked_benchmarks_can_be_entered_by_their_owner_only(tmp_path, cache):
    source.open_data(make_zip(tmp_path / "a.zip", 10))
    assert cache.stat().st_mode & 0o777 == 0o700


def test_embeddings_can_be_read_by_their_owner_only(small_run):
    folder = small_run.embeddings
    assert folder.stat().st_mode & 0o777 == 0o700
    private = [*folder.glob("shard-*"), folder / EmbeddingStore.INDEX]
    assert len(private) > 1 and all(path.stat().st_mode & 0o777 == 0o600 for path in private)
