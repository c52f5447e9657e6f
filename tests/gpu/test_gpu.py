"""What only a GPU can show: the same embeddings as on the CPU, lower precision, and memory that really runs out."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from seawall.alignment.config import AlignConfig, Mixture
from seawall.alignment.run import align
from seawall.models.encode import encode_media
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.synthesis import engines, run
from seawall.synthesis.amortize import find_media
from seawall.synthesis.solve import solve
from small_run import CONFIG, assert_same_embeddings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def synthesize(small_run, out, **changed):
    config = dataclasses.replace(CONFIG, **changed)
    return run.synthesize("organism:image", small_run.pairs, out, config, bank=small_run.bank)


def test_a_gpu_gives_the_embeddings_of_the_cpu(small_run, tmp_path, monkeypatch):
    synthesize(small_run, tmp_path / "gpu")
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu"])
    synthesize(small_run, tmp_path / "cpu")
    assert_same_embeddings(tmp_path / "gpu", tmp_path / "cpu", rtol=1e-3, atol=0.05)


def test_compiled_layers_give_the_same_embeddings(small_run, tmp_path):
    synthesize(small_run, tmp_path / "plain")
    synthesize(small_run, tmp_path / "compiled", compile=True)
    assert_same_embeddings(tmp_path / "compiled", tmp_path / "plain", rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("precision", ["bf16", "4bit"])
def test_a_lower_precision_synthesizes_and_aligns(small_run, tmp_path, precision):
    if precision == "4bit":
        pytest.importorskip("bitsandbytes")
    summary = synthesize(small_run, tmp_path / "out", precision=precision)
    assert summary["verified"] >= 0.5 * summary["records"]
    store = EmbeddingStore(tmp_path / "out")
    assert all(store.read(key).dtype == torch.float32 for key in small_run.keys)
    mixture = Mixture(media_harmless=0)
    config = AlignConfig(steps=4, batch_size=8, precision=precision, mixture=mixture, num_checkpoints=1)
    align("organism:image", small_run.pairs, tmp_path / "out", tmp_path / "adapter", config)
    losses = [loss for _, loss in read_json(tmp_path / "adapter" / "training.json")["loss"]]
    assert losses[-1] < losses[0]


def test_a_batch_too_large_for_the_gpu_is_halved_and_gives_the_same(small_run, caplog):
    loaded = load_model("organism:image")
    loaded.model.to("cuda").requires_grad_(False)
    starts = encode_media(loaded, find_media(small_run.bank))
    pairs = [
        dataclasses.replace(pair, id=f"{pair.id}/{copy}") for pair in read_pairs(small_run.pairs) for copy in range(8)
    ]
    make = lambda: {task.record: task.embeddings for task in solve(loaded, pairs, starts, CONFIG)}  # noqa: E731
    whole = make()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 64 * 2**20) / total)
    try:
        halved = make()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory" in caplog.text
    for record, embeddings in whole.items():
        torch.testing.assert_close(halved[record], embeddings, rtol=1e-3, atol=1e-2)
