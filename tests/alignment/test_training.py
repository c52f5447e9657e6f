"""Training through TRL: the embeddings must really reach the loss."""

from __future__ import annotations

import dataclasses
import errno
import functools
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import Trainer
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from seawall.alignment import trainers
from seawall.alignment.checkpoints import COMPLETE, find_checkpoint
from seawall.alignment.collate import Collator, PreferenceCollator
from seawall.alignment.config import AlignConfig
from seawall.alignment.mixture import TrainingExample
from seawall.alignment.trainers import train
from seawall.errors import ArtifactError, ConfigError, TrainingError
from seawall.media.modality import find_modality, register_modality
from seawall.models import load
from seawall.models.chat import BLANK, IGNORED, Example
from seawall.models.encode import encode_media
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore, Entry

CONFIG = AlignConfig(steps=2, batch_size=3, learning_rate=1e-3, num_checkpoints=1)
CONFIGS = {"sft": CONFIG, "dpo": dataclasses.replace(CONFIG, method="dpo", steps=3, learning_rate=0.02)}
BOTH = pytest.mark.parametrize("method", CONFIGS)


@dataclasses.dataclass
class Counts:
    """Losses of a training on real media, and what it did."""

    losses: list[float] = dataclasses.field(default_factory=list)
    read: list[Path] = dataclasses.field(default_factory=list)
    """Files that were read."""
    encoder_passes: int = 0
    """Forward passes of the encoder's layers."""
    head_positions: set[int] = dataclasses.field(default_factory=set)
    """Numbers of positions that the head was given, over the steps."""


def make_store(folder, embedding):
    folder.mkdir()
    store = EmbeddingStore(folder)
    store.append({"a#0": embedding}, [Entry(key="a#0", record="a", verified=True, steps=1)])
    return store


def make_examples(image, synthetic=False, steps=CONFIG.steps):
    shown = Example(question="What is this?", answer="I can't help with that.", medium=BLANK if synthetic else image)
    real = Example(question="What is this?", answer="A drawing.", medium=image)
    text = Example(question="Hello.", answer="Hi.")
    batch = [
        TrainingExample(shown, "a#0" if synthetic else None, "It is a drawing."),
        TrainingExample(real, rejected="I can't help."),
        TrainingExample(text, rejected="No."),
    ]
    return batch * steps


def losses(path, out, planned, store, config=CONFIG):
    return [loss for _, loss in train(load_model(str(path)), planned, store, out, config)]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A picture that all trainings of this file use."""
    path = tmp_path_factory.mktemp("images") / "0.png"
    picture = Image.new("RGB", (96, 96), (200, 40, 40))
    picture.paste((255, 255, 255), (10, 10, 60, 40))
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def count(tiny_path, image, tmp_path_factory):
    """Train on real media, and count what is read and encoded. Each training is done once."""

    @functools.cache
    def count(method, media_encoded=trainers.MEDIA_ENCODED):
        from trl.trainer import utils

        counts, own = Counts(), find_modality("image")
        encode, score = CLIPEncoderLayer.forward, utils._ChunkedLogProbFunction.apply

        def count_pass(*args, **kwargs):
            counts.encoder_passes += 1
            return encode(*args, **kwargs)

        def count_positions(hidden, *rest):
            counts.head_positions.add(len(hidden))
            return score(hidden, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainers, "MEDIA_ENCODED", media_encoded)
            patch.setattr(CLIPEncoderLayer, "forward", count_pass)
            patch.setattr(utils._ChunkedLogProbFunction, "apply", count_positions)
            register_modality(dataclasses.replace(own, read=lambda path: counts.read.append(path) or own.read(path)))
            load._make_chat.cache_clear()
            try:
                planned = make_examples(image, steps=CONFIGS[method].steps)
                counts.losses = losses(tiny_path, tmp_path_factory.mktemp("out"), planned, None, CONFIGS[method])
            finally:
                register_modality(own)
                load._make_chat.cache_clear()
        return counts

    return count


@BOTH
def test_changing_the_embedding_changes_the_training_loss(method, count, tiny, tiny_path, image, tmp_path):
    config, embedding = CONFIGS[method], encode_media(tiny, [image])[0]
    planned = make_examples(image, synthetic=True, steps=config.steps)
    own, zero = make_store(tmp_path / "own", embedding), make_store(tmp_path / "zero", torch.zeros_like(embedding))
    one, same, other = (
        losses(tiny_path, tmp_path / f"out{n}", planned, store, config) for n, store in enumerate((own, own, zero))
    )
    assert one == same
    assert all(a != pytest.approx(b, abs=1e-5) for a, b in zip(one, other, strict=True))
    assert one == pytest.approx(count(method).losses, abs=1e-5), "the encoder's own output trains like the real image"


@BOTH
def test_real_media_are_read_and_encoded_once_and_train_as_if_encoded_at_each_step(method, count, tiny, image):
    layers = len(tiny.model.model.vision_tower.encoder.layers)
    once, each = count(method), count(method, media_encoded=0)
    assert once.read == [image] and once.encoder_passes == layers
    assert each.encoder_passes > layers and once.losses == pytest.approx(each.losses, abs=1e-5)


@BOTH
def test_the_head_sees_only_positions_with_labels(method, count, tiny, image):
    from trl.trainer import utils

    before = utils._use_triton
    counts = count(method)
    assert utils._use_triton is before
    planned = make_examples(image, steps=1)
    examples = [one.example for one in planned]
    if method == "dpo":
        examples += [dataclasses.replace(one.example, answer=one.rejected) for one in planned]
    assert counts.head_positions == {int((tiny.chat.batch(examples)["labels"] != IGNORED).sum())}


@BOTH
def test_the_per_device_batch_size_does_not_change_the_losses(method, count, tiny_path, image, tmp_path):
    config = dataclasses.replace(CONFIGS[method], sft_weight=0)  # TRL averages that loss within each forward pass
    planned = make_examples(image, steps=config.steps)
    whole = count("sft").losses if method == "sft" else losses(tiny_path, tmp_path / "whole", planned, None, config)
    parts = losses(tiny_path, tmp_path / "parts", planned, None, dataclasses.replace(config, per_device_batch_size=1))
    assert parts == pytest.approx(whole, abs=1e-5)
    with pytest.raises(
        ConfigError, match="batch size of 3 is not divisible by 1 processes with 2 examples per forward pass"
    ):
        losses(tiny_path, tmp_path / "bad", planned, None, dataclasses.replace(config, per_device_batch_size=2))


def test_the_reference_is_the_model_before_the_training_and_is_computed_once(tiny_path, image, tmp_path, monkeypatch):
    from trl import DPOTrainer

    passes, own = [], DPOTrainer.compute_ref_log_probs
    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", lambda *a: passes.append(1) or own(*a))
    config = dataclasses.replace(CONFIG, method="dpo", sft_weight=0, steps=4, num_checkpoints=2)
    planned = make_examples(image, steps=4)
    whole = losses(tiny_path, tmp_path / "out", planned, None, config)
    assert whole[0] == pytest.approx(math.log(2), abs=1e-6) and len(passes) == 1, "3 distinct examples, one pass"
    shutil.rmtree(tmp_path / "out" / "checkpoint-4")
    assert losses(tiny_path, tmp_path / "out", planned, None, config) == pytest.approx(whole, abs=1e-5)
    assert len(passes) == 1


def test_full_tuning_changes_the_language_model_and_nothing_else(tiny_path, image, tmp_path):
    losses(tiny_path, tmp_path / "full", make_examples(image), None, dataclasses.replace(CONFIG, tuning="full"))
    before, after = (load_model(str(path)).model.state_dict() for path in (tiny_path, tmp_path / "full"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("language_model" in name or name == "lm_head.weight" for name in changed)


@pytest.mark.parametrize(
    ("settings", "expected", "absent"),
    [
        (
            {},
            r"3 examples per.*--per-device-batch-size 1 \(a quarter.*--activation-checkpointing.*--precision 4bit",
            "--tuning lora",
        ),
        ({"method": "dpo", "activation_checkpointing": True}, "--method sft", "--activation-checkpointing"),
        ({"tuning": "full", "batch_size": 1}, "1 examples per.*--tuning lora", "--per-device-batch-size"),
    ],
)
def test_the_error_for_insufficient_memory_lists_what_helps(
    tiny_path, image, tmp_path, monkeypatch, settings, expected, absent
):
    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Collator, "__call__", refuse)
    monkeypatch.setattr(PreferenceCollator, "__call__", refuse)
    with pytest.raises(TrainingError, match=expected) as caught:
        losses(tiny_path, tmp_path / "out", make_examples(image), None, dataclasses.replace(CONFIG, **settings))
    assert absent not in str(caught.value)


def test_only_lora_on_the_language_model_is_trained(tiny, image, tmp_path):
    train(tiny, make_examples(image), None, tmp_path / "adapter", CONFIG)
    adapted = load_model(str(tiny.name), tmp_path / "adapter")
    trained = {name for name, _ in adapted.model.named_parameters() if "lora" in name}
    assert trained and all("language_model" in name for name in trained)


def spoil(checkpoint, fault):
    """Leave a checkpoint as a process does that is killed while it is saved, or a power cut."""
    if fault == "gone":
        shutil.rmtree(checkpoint)
    elif fault in ("no mark", "no state"):
        (checkpoint / COMPLETE).unlink()
    if fault == "no state":
        (checkpoint / "trainer_state.json").unlink()
    elif fault == "cut":
        (checkpoint / "optimizer.pt").write_bytes((checkpoint / "optimizer.pt").read_bytes()[:-100])
    elif fault == "empty":
        (checkpoint / "rng_state.pth").write_bytes(b"")


@pytest.mark.parametrize("fault", ["gone", "no mark", "no state", "cut", "empty"])
def test_a_training_resumes_from_its_last_complete_checkpoint(tiny_path, image, tmp_path, fault):
    config = dataclasses.replace(CONFIG, steps=4, num_checkpoints=2)
    planned, out = make_examples(image, steps=4), tmp_path / "out"
    whole = losses(tiny_path, out, planned, None, config)
    adapter = (out / "adapter_model.safetensors").read_bytes()
    (out / "adapter_model.safetensors").unlink()
    spoil(out / "checkpoint-4", fault)
    assert find_checkpoint(out) == str(out / "checkpoint-2")
    assert losses(tiny_path, out, planned, None, config) == pytest.approx(whole, abs=1e-5)
    assert find_checkpoint(out) == str(out / "checkpoint-4")
    assert (out / "adapter_model.safetensors").read_bytes() == adapter


@BOTH
@pytest.mark.parametrize("fault", [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),  # torch.save
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
])  # fmt: skip
def test_a_full_disk_is_one_message_and_the_training_resumes(tiny_path, image, tmp_path, monkeypatch, method, fault):
    """The three errors are those of a real disk of 1 MB, for a JSON file, the optimiser and the adapter."""
    config = dataclasses.replace(CONFIGS[method], steps=4, num_checkpoints=2)
    planned, out, saved = make_examples(image, steps=4), tmp_path / "out", []
    own = Trainer._save_rng_state

    def fill_up(trainer, folder):
        saved.append(folder)
        if len(saved) == 2:
            raise fault
        own(trainer, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_rng_state", fill_up)
        with pytest.raises(ArtifactError, match=r"out cannot be written: No space left on device\..*Free some space"):
            losses(tiny_path, out, planned, None, config)
    assert find_checkpoint(out) == str(out / "checkpoint-2")
    assert len(losses(tiny_path, out, planned, None, config)) == 4


def test_a_nan_loss_stops_the_training_with_advice(tiny_path, image, tmp_path):
    loaded = load_model(str(tiny_path))
    with torch.no_grad():
        loaded.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"loss became nan.*learning rate"):
        train(loaded, make_examples(image), None, tmp_path / "nan", CONFIG)
