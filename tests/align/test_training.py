"""Training through TRL: the embeddings must really reach the loss."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from seawall.align import AlignConfig
from seawall.align.collate import Collator
from seawall.align.mixture import Row
from seawall.align.trainers import train_sft
from seawall.errors import TrainingError
from seawall.models.chat import BLANK, Turn
from seawall.models.load import load_model
from seawall.store import EmbeddingStore
from seawall.synthesize.warmstart import encode_media

CONFIG = AlignConfig(steps=2, batch_size=3, learning_rate=1e-3, checkpoints=1)


def make_store(folder, embedding):
    folder.mkdir()
    store = EmbeddingStore(folder)
    facts = {"key": "a#0", "record": "a", "content": "", "kind": "harmful", "verified": True}
    store.append({"a#0": embedding}, [facts | {"steps": 1, "starts": 1, "seconds": 0.1, "curve": []}])
    return store


def rows(image, synthetic=True):
    shown = Turn(question="What is this?", answer="I can't help with that.", medium=BLANK if synthetic else image)
    real = Turn(question="What is this?", answer="A drawing.", medium=image)
    text = Turn(question="Hello.", answer="Hi.")
    return [Row(shown, "a#0" if synthetic else None), Row(real), Row(text)] * CONFIG.steps


def losses(path, tmp_path, name, planned, store, config=CONFIG):
    loaded = load_model(str(path))
    history = train_sft(loaded, Collator(loaded.chat, planned, store), tmp_path / name, config)
    return [entry["loss"] for entry in history if "loss" in entry]


def test_changing_the_embedding_changes_the_training_loss(tiny, tiny_path, images, tmp_path):
    embedding = encode_media(tiny, images[:1])[0]
    planned = rows(images[1])
    one = losses(tiny_path, tmp_path, "one", planned, make_store(tmp_path / "s1", embedding))
    same = losses(tiny_path, tmp_path, "same", planned, make_store(tmp_path / "s2", embedding))
    other = losses(tiny_path, tmp_path, "other", planned, make_store(tmp_path / "s3", torch.zeros_like(embedding)))
    assert one == same
    assert all(a != pytest.approx(b, abs=1e-5) for a, b in zip(one, other, strict=True))


def test_the_encoders_own_output_trains_like_the_real_image(tiny, tiny_path, images, tmp_path):
    store = make_store(tmp_path / "store", encode_media(tiny, images[:1])[0])
    synthetic = losses(tiny_path, tmp_path, "synthetic", rows(images[0]), store)
    real = losses(tiny_path, tmp_path, "real", rows(images[0], synthetic=False), None)
    assert synthetic == pytest.approx(real, abs=1e-5)


def test_only_lora_on_the_language_model_is_trained(tiny, images, tmp_path):
    train_sft(tiny, Collator(tiny.chat, rows(images[0], synthetic=False), None), tmp_path / "adapter", CONFIG)
    adapted = load_model(str(tiny.name), tmp_path / "adapter")
    trained = {name for name, _ in adapted.model.named_parameters() if "lora" in name}
    assert trained and all("language_model" in name for name in trained)


def test_a_training_goes_on_from_its_checkpoint(tiny_path, images, tmp_path):
    config = dataclasses.replace(CONFIG, steps=4, checkpoints=2)
    planned = rows(images[0], synthetic=False) * 2
    whole = losses(tiny_path, tmp_path, "whole", planned, None, config)
    losses(tiny_path, tmp_path, "stopped", planned, None, config)
    for left in ("checkpoint-4", "adapter_model.safetensors"):
        path = tmp_path / "stopped" / left
        path.rename(tmp_path / f"away-{left}")
    resumed = losses(tiny_path, tmp_path, "stopped", planned, None, config)
    assert resumed == pytest.approx(whole, abs=1e-5)


def test_a_loss_of_nan_ends_the_training_with_advice(tiny_path, images, tmp_path):
    loaded = load_model(str(tiny_path))
    with torch.no_grad():
        loaded.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"loss became nan.*learning rate"):
        train_sft(loaded, Collator(loaded.chat, rows(images[0], synthetic=False), None), tmp_path / "nan", CONFIG)
