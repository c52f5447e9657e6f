"""What only a card can show: the same embeddings as on the CPU, lower precision, and memory that really runs out."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import seawall
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.models.encode import encode_media
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis import engines
from seawall.synthesis.solve import solve
from seawall.synthesis.amortize import find_media
from synthesize.conftest import CONFIG, assert_same_set, work  # noqa: F401

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def synthesize(work, out, **changed):  # noqa: F811
    config = dataclasses.replace(CONFIG, **changed)
    return seawall.synthesis.config("organism:image", work.pairs, out, config, bank=work.bank)


def test_a_card_gives_the_embeddings_of_the_cpu(work, tmp_path, monkeypatch):  # noqa: F811
    synthesize(work, tmp_path / "card")
    monkeypatch.setattr(engines, "find_devices", lambda: ["cpu"])
    synthesize(work, tmp_path / "cpu")
    assert_same_set(tmp_path / "card", tmp_path / "cpu", rtol=1e-3, atol=0.05)


def test_compiled_layers_give_the_same_embeddings(work, tmp_path):  # noqa: F811
    synthesize(work, tmp_path / "plain")
    synthesize(work, tmp_path / "compiled", compile=True)
    assert_same_set(tmp_path / "compiled", tmp_path / "plain", rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("precision", ["bf16", "4bit"])
def test_a_lower_precision_synthesizes_and_aligns(work, tmp_path, precision):  # noqa: F811
    if precision == "4bit":
        pytest.importorskip("bitsandbytes")
    summary = synthesize(work, tmp_path / "out", precision=precision)
    assert summary["verified"] >= 0.5 * summary["records"]
    assert all(EmbeddingStore(tmp_path / "out").read(key).dtype == torch.float32 for key in work.keys)
    config = seawall.AlignConfig(
        steps=4, batch_size=8, precision=precision, mixture=seawall.Mixture(media_harmless=0), checkpoints=1
    )
    seawall.alignment.config("organism:image", work.pairs, tmp_path / "out", tmp_path / "adapter", config)
    losses = [loss for _, loss in read_json(tmp_path / "adapter" / "training.json")["loss"]]
    assert losses[-1] < losses[0]


def test_a_batch_too_large_for_the_card_is_halved_and_gives_the_same(work, caplog):  # noqa: F811
    loaded = load_model("organism:image")
    loaded.model.to("cuda").requires_grad_(False)
    starts = encode_media(loaded, find_media(work.bank))
    todo = [(f"{pair['id']}/{again}", pair) for pair in read_pairs(work.pairs) for again in range(8)]
    made = lambda: {task.record: task.embeddings for task in solve(loaded, todo, starts, CONFIG)}  # noqa: E731
    whole = made()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 64 * 2**20) / total)
    try:
        halved = made()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory" in caplog.text
    for record, embeddings in whole.items():
        torch.testing.assert_close(halved[record], embeddings, rtol=1e-3, atol=1e-2)
