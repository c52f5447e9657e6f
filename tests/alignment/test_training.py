"""Training through TRL: the embeddings must really reach the loss."""

from __future__ import annotations

import dataclasses
import math
import shutil

import pytest
import torch
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from seawall.alignment.config import AlignConfig
from seawall.alignment import trainers
from seawall.alignment.collate import Collator
from seawall.alignment.mixture import Row
from seawall.alignment.trainers import train
from seawall.errors import ConfigError, TrainingError
from seawall.models import load, media
from seawall.models.chat import BLANK, IGNORED, Example
from seawall.models.encode import encode_media
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore

CONFIG = AlignConfig(steps=2, batch_size=3, learning_rate=1e-3, checkpoints=1)
BOTH = pytest.mark.parametrize(
    "config", [CONFIG, dataclasses.replace(CONFIG, method="dpo", steps=3, learning_rate=0.02)], ids=["sft", "dpo"]
)


def make_store(folder, embedding):
    folder.mkdir()
    store = EmbeddingStore(folder)
    facts = {"key": "a#0", "record": "a", "content": "", "kind": "harmful", "verified": True}
    store.append({"a#0": embedding}, [facts | {"steps": 1, "starts": 1, "seconds": 0.1, "curve": []}])
    return store


def rows(image, synthetic=True, steps=CONFIG.steps):
    shown = Example(question="What is this?", answer="I can't help with that.", medium=BLANK if synthetic else image)
    real = Example(question="What is this?", answer="A drawing.", medium=image)
    text = Example(question="Hello.", answer="Hi.")
    rows = [
        Row(shown, "a#0" if synthetic else None, "It is a drawing."),
        Row(real, rejected="I can't help."),
        Row(text, rejected="No."),
    ]
    return rows * steps


def losses(path, tmp_path, name, planned, store, config=CONFIG):
    loaded = load_model(str(path))
    history = train(loaded, planned, store, tmp_path / name, config)
    return [entry["loss"] for entry in history if "loss" in entry]


@BOTH
def test_changing_the_embedding_changes_the_training_loss(config, tiny, tiny_path, images, tmp_path):
    embedding = encode_media(tiny, images[:1])[0]
    planned = rows(images[1], steps=config.steps)
    one = losses(tiny_path, tmp_path, "one", planned, make_store(tmp_path / "s1", embedding), config)
    same = losses(tiny_path, tmp_path, "same", planned, make_store(tmp_path / "s2", embedding), config)
    other = losses(
        tiny_path, tmp_path, "other", planned, make_store(tmp_path / "s3", torch.zeros_like(embedding)), config
    )
    assert one == same
    assert all(a != pytest.approx(b, abs=1e-5) for a, b in zip(one, other, strict=True))


@BOTH
def test_the_encoders_own_output_trains_like_the_real_image(config, tiny, tiny_path, images, tmp_path):
    store = make_store(tmp_path / "store", encode_media(tiny, images[:1])[0])
    synthetic = losses(tiny_path, tmp_path, "synthetic", rows(images[0], steps=config.steps), store, config)
    real = losses(tiny_path, tmp_path, "real", rows(images[0], False, config.steps), None, config)
    assert synthetic == pytest.approx(real, abs=1e-5)


@BOTH
def test_real_media_are_read_and_encoded_once_and_train_as_if_encoded_at_each_step(
    config, tiny_path, images, tmp_path, monkeypatch
):
    read, passes = [], []
    own_read, own_pass = media._read_image, CLIPEncoderLayer.forward
    monkeypatch.setitem(
        media.MODALITIES,
        "image",
        dataclasses.replace(media.MODALITIES["image"], read=lambda path: read.append(path) or own_read(path)),
    )
    monkeypatch.setattr(CLIPEncoderLayer, "forward", lambda *a, **k: passes.append(1) or own_pass(*a, **k))
    load._chat.cache_clear()
    planned = rows(images[0], False, config.steps)
    once = losses(tiny_path, tmp_path, "once", planned, None, config)
    layers = len(load_model(str(tiny_path)).model.model.vision_tower.encoder.layers)
    assert read == [images[0]] and len(passes) == layers
    monkeypatch.setattr(trainers, "MEDIA_ENCODED", 0)
    each = losses(tiny_path, tmp_path, "each", planned, None, config)
    assert len(passes) > 2 * layers and once == pytest.approx(each, abs=1e-5)


@BOTH
def test_positions_with_labels_alone_pass_the_head(config, tiny, tiny_path, images, tmp_path, monkeypatch):
    from trl.trainer import utils

    passed, own = [], utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction, "apply", lambda hidden, *rest: passed.append(len(hidden)) or own(hidden, *rest)
    )
    planned = rows(images[0], False, config.steps)
    before = utils._use_triton
    losses(tiny_path, tmp_path, "out", planned, None, config)
    turns = [row.turn for row in planned[:3]]
    if config.method == "dpo":
        turns += [dataclasses.replace(row.turn, answer=row.rejected) for row in planned[:3]]
    assert set(passed) == {int((tiny.chat.batch(turns)["labels"] != IGNORED).sum())}
    assert utils._use_triton is before


@BOTH
def test_fewer_rows_a_pass_give_the_same_losses(config, tiny_path, images, tmp_path):
    config = dataclasses.replace(config, sft_weight=0)  # TRL's mean over tokens is that of each pass
    planned = rows(images[0], False, config.steps)
    whole = losses(tiny_path, tmp_path, "whole", planned, None, config)
    parts = losses(tiny_path, tmp_path, "parts", planned, None, dataclasses.replace(config, per_device_batch_size=1))
    assert parts == pytest.approx(whole, abs=1e-5)
    with pytest.raises(ConfigError, match="batch of 3 rows does not divide into 1 processes with 2 rows a pass"):
        losses(tiny_path, tmp_path, "bad", planned, None, dataclasses.replace(config, per_device_batch_size=2))


def test_the_reference_is_the_model_before_the_training_and_is_computed_once(tiny_path, images, tmp_path, monkeypatch):
    from trl import DPOTrainer

    passes, own = [], DPOTrainer.compute_ref_log_probs
    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", lambda *a: passes.append(1) or own(*a))
    config = dataclasses.replace(CONFIG, method="dpo", sft_weight=0, steps=4, checkpoints=2)
    planned = rows(images[0], False, 4)
    whole = losses(tiny_path, tmp_path, "out", planned, None, config)
    assert whole[0] == pytest.approx(math.log(2), abs=1e-6) and len(passes) == 1, "3 different rows, one pass"
    shutil.rmtree(tmp_path / "out" / "checkpoint-4")
    assert losses(tiny_path, tmp_path, "out", planned, None, config) == pytest.approx(whole, abs=1e-5)
    assert len(passes) == 1


def test_full_tuning_changes_the_language_model_and_nothing_else(tiny_path, images, tmp_path):
    config = dataclasses.replace(CONFIG, tuning="full")
    losses(tiny_path, tmp_path, "full", rows(images[0], False), None, config)
    before, after = (load_model(str(path)).model.state_dict() for path in (tiny_path, tmp_path / "full"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("language_model" in name or name == "lm_head.weight" for name in changed)


def test_too_little_memory_ends_the_training_with_what_helps(tiny_path, images, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Collator, "__call__", refuse)
    with pytest.raises(TrainingError, match=r"3 rows in a pass.*--per-device-batch-size 1 \(.*a quarter.*--precision 4bit"):
        losses(tiny_path, tmp_path, "out", rows(images[0], False), None)


def test_only_lora_on_the_language_model_is_trained(tiny, images, tmp_path):
    train(tiny, rows(images[0], synthetic=False), None, tmp_path / "adapter", CONFIG)
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
        train(loaded, rows(images[0], synthetic=False), None, tmp_path / "nan", CONFIG)
