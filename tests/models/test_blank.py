"""The size of the blank medium: its default, the option that changes it, and the check where embeddings are used."""

from __future__ import annotations

import dataclasses
import logging
import shutil

import numpy as np
import pytest
from transformers import AudioFlamingo3Processor

import seawall
from conformance import tiny
from conformance.media import write_sound
from seawall.errors import ArtifactError, ConfigError, ModelError
from seawall.lab.world import data
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.families import find_family
from seawall.models.load import load_model
from seawall.store.artifacts import read_manifest, write_manifest

SYNTHESIS = seawall.SynthesizeConfig(start="blank", copies=1, max_steps=20, attempts=1, threshold=0.1, blank=2)
ALIGNMENT = seawall.AlignConfig(
    steps=1,
    batch_size=4,
    lora_rank=2,
    num_checkpoints=1,
    mixture=seawall.Mixture(synthetic_harmless=0, media_harmless=0),
    allow_shortcut=True,
)


@pytest.fixture(scope="module")
def flamingo():
    """Model and processor of a tiny Audio Flamingo 3, which takes windows of 2 s."""
    return tiny.build(find_family("audioflamingo3"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder with pairs for the built-in audio model and embeddings with a blank of 2 s."""
    out = tmp_path_factory.mktemp("blank")
    data.write_records(out / "records.jsonl", 1)
    seawall.prepare(out / "records.jsonl", out / "pairs", seawall.PrepareConfig(modality="audio"))
    seawall.synthesize("organism:audio", out / "pairs", out / "embeddings", SYNTHESIS)
    return out


def test_the_blank_is_as_long_as_the_window_of_the_feature_extractor(flamingo, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    chat = Chat(flamingo[1], find_family("audioflamingo3"))
    write_sound(tmp_path / "a.wav", np.full(32_000, 9000, np.int16))
    blank, real = (
        len(chat.encode(Example(question="What?", medium=medium)).ids) for medium in (BLANK, tmp_path / "a.wav")
    )
    assert chat.blank_size == 2
    assert blank == real, "an embedding has as many tokens as a real sound of one window"
    assert "the blank has 2 seconds, the window of this model (others of its type: 30" in caplog.text
    assert len(Chat(flamingo[1], find_family("audioflamingo3"), blank=6).encode(Example(question="What?", medium=BLANK)).ids) > 2 * blank  # fmt: skip


def test_a_window_of_30_seconds_changes_nothing(flamingo, caplog):
    caplog.set_level(logging.INFO)
    parts = {"tokenizer": flamingo[1].tokenizer, "chat_template": flamingo[1].chat_template}
    processor = AudioFlamingo3Processor(tiny.windows(chunk_length=30), **parts)
    chat = Chat(processor, find_family("audioflamingo3"))
    chat.load(BLANK)
    assert chat.blank_size == 30 and "blank" not in caplog.text


@pytest.mark.parametrize(
    ("name", "blank", "message"),
    [
        ("organism:audio", 5, r"A blank of 5 seconds is too long.*takes 4\. Give at most that as --blank"),
        ("organism:image", 33.5, r"The blank has 33\.5 pixels; it must be a whole number above 0"),
        ("organism:video", -1, "The blank has -1 frames; it must be a whole number above 0"),
    ],
)
def test_a_blank_that_the_model_cannot_take(name, blank, message):
    with pytest.raises(ModelError, match=message):
        load_model(name, modality=name.partition(":")[2], blank=blank)


def test_a_blank_that_the_processor_cannot_take():
    chat = load_model("organism:video", modality="video", blank=1).chat  # its processor samples several frames
    with pytest.raises(
        ModelError, match=r"The processor cannot take a blank of 1 frames: .*Give another size as --blank"
    ):
        chat.process_medium(BLANK)


@pytest.mark.parametrize("config", [seawall.SynthesizeConfig, seawall.AlignConfig])
def test_a_blank_of_no_size(config):
    with pytest.raises(ConfigError, match=r"blank is 0; it must be"):
        config(blank=0)


def test_the_blank_is_recorded_and_training_takes_that_of_the_embeddings(run, tmp_path):
    assert read_manifest(run / "embeddings").config["blank"] == 2
    assert read_manifest(run / "embeddings").facts["blank"] == 2
    seawall.align("organism:audio", run / "pairs", run / "embeddings", tmp_path / "adapter", ALIGNMENT)
    assert read_manifest(tmp_path / "adapter").facts["blank"] == 2


def test_another_blank_than_that_of_the_embeddings_is_refused(run, tmp_path):
    """The embeddings of this family have the same shape with any blank, so only the record tells them apart."""
    config = dataclasses.replace(ALIGNMENT, blank=4)
    with pytest.raises(ArtifactError, match=r"made with a blank of size 2, and this run has 4.*give --blank 2"):
        seawall.align("organism:audio", run / "pairs", run / "embeddings", tmp_path / "adapter", config)
    with pytest.raises(ArtifactError, match="blank: 2 there, 4 now"):
        seawall.synthesize("organism:audio", run / "pairs", run / "embeddings", dataclasses.replace(SYNTHESIS, blank=4))


def test_a_store_that_was_begun_with_another_blank_is_not_continued(run, tmp_path):
    """The default may change between versions, and the settings do not show it."""
    shutil.copytree(run / "embeddings", tmp_path / "out")
    begun = read_manifest(tmp_path / "out")
    write_manifest(tmp_path / "out", dataclasses.replace(begun, complete=False, facts={**begun.facts, "blank": 3.0}))
    with pytest.raises(ArtifactError, match="made with a blank of size 3, and this run has 2"):
        seawall.synthesize("organism:audio", run / "pairs", tmp_path / "out", SYNTHESIS)
