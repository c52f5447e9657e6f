"""The table of families as users see it: registration, and errors for what is missing or does not fit."""

from __future__ import annotations

import dataclasses
import json
import shutil
import wave

import pytest
import torch

import seawall
from sample_records import write_lines
from seawall.errors import DataError, ModelError, SeawallError
from seawall.evaluation.config import BenchmarkConfig
from seawall.models import families
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.encode import encode_media
from seawall.models.families import find_family, register_family
from seawall.models.inject import _count_rows, inject
from seawall.models.load import load_model


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """Undo registrations after each test."""
    monkeypatch.setattr(families, "FAMILIES", list(families.FAMILIES))


def write_wav(path, seconds):
    """Write silence."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16_000 * seconds))


def test_the_error_for_an_unknown_type_says_how_to_register_it():
    with pytest.raises(ModelError, match=r"type 'zork'.*register_family\(seawall\.Family"):
        find_family("zork")


def test_a_registered_family_is_found_and_replaced():
    row = seawall.Family(model_type="zork", modality="image", encoder_layers="a", projector="b", checked_on="1")
    register_family(row)
    assert find_family("zork") is row
    register_family(dataclasses.replace(row, projector="c"))
    assert find_family("zork", "image").projector == "c"


def test_a_row_for_one_vision_tower_is_preferred():
    assert find_family("llava", "image", "pixtral").encoder_layers == "vision_tower.transformer.layers"
    assert find_family("llava", "image", "siglip_vision_model") == find_family("llava")


def test_a_modality_that_the_model_does_not_take(tiny_path):
    with pytest.raises(ModelError, match="'llava' take image, not audio"):
        load_model(str(tiny_path), modality="audio")


def test_a_row_that_does_not_fit_fails_at_load_with_path_and_version(tiny_path):
    register_family(dataclasses.replace(find_family("llava"), projector="moved", checked_on="4.0"))
    with pytest.raises(ModelError, match=r"no module 'moved'.*'llava'.*checked on transformers 4\.0"):
        load_model(str(tiny_path))


def test_a_processor_without_tokenizer(tiny_path, tmp_path):
    model = shutil.copytree(tiny_path, tmp_path / "model")
    for file in model.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="model'"):
        load_model(str(model))


def test_a_processor_without_chat_template(tiny_path, tmp_path):
    model = shutil.copytree(tiny_path, tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="missing: chat_template"):
        load_model(str(model))


def test_embeddings_that_do_not_fit_the_blank(tiny):
    blank = tiny.chat.batch([Example(question="What is this?", answer="A.", medium=BLANK)])
    for wrong in (torch.zeros(1, 35, 96), torch.zeros(1, 36, 95), torch.zeros(2, 36, 96)):
        with (
            pytest.raises(DataError, match=r"shape \(1, 36, 96\).*fit only the blank"),
            inject(tiny.model, tiny.family, wrong),
        ):
            tiny.model(**blank)


def test_a_medium_longer_than_the_model_takes_is_refused(tiny, tmp_path):
    write_wav(tmp_path / "a.wav", seconds=31)
    chat = Chat(tiny.processor, find_family("qwen2_audio"))
    with pytest.raises(DataError, match=r"a\.wav has 31\.0 seconds; this model of type 'qwen2_audio' takes 30 "):
        chat.load(tmp_path / "a.wav")


def test_a_chat_template_without_media_types_gets_the_placeholder_as_text(tiny):
    chat = Chat(tiny.processor, dataclasses.replace(tiny.family, placeholder="<image>"))
    ids = chat.encode(Example(question="What is this?", medium=BLANK)).ids
    assert ids.count(tiny.processor.image_token_id) == 36


def test_an_example_longer_than_the_context_is_refused(tiny):
    chat = Chat(tiny.processor, tiny.family, context_length=40)
    assert chat.encode(Example(question="Hi"))
    with pytest.raises(DataError, match=r"blank.* tokens; the model takes 40"):
        chat.encode(Example(question="What is this?", medium=BLANK))


def test_a_loaded_model_knows_its_context_length(tiny):
    with pytest.raises(DataError, match="the model takes 512"):
        tiny.chat.encode(Example(question="What? " * 300))


def test_every_stage_refuses_data_of_another_modality(tiny_path, source, tmp_path):
    model, pairs = str(tiny_path), tmp_path / "pairs"
    seawall.prepare(source, pairs, seawall.PrepareConfig(modality="audio"))
    write_wav(tmp_path / "a.wav", seconds=1)
    item = {"id": "0", "set": "media_harmless", "first": "wash", "second": "boat", "category": "activity"}
    write_lines(tmp_path / "items.jsonl", [{**item, "question": "What?", "audio": "a.wav"}])
    for stage in (
        lambda: seawall.synthesize(model, pairs, tmp_path / "a", seawall.SynthesizeConfig(start="blank")),
        lambda: seawall.align(model, pairs, None, tmp_path / "b"),
        lambda: seawall.evaluate(model, tmp_path, tmp_path / "c", BenchmarkConfig(benchmark="organism")),
    ):
        with pytest.raises(SeawallError, match="take image, not audio"):
            stage()


def test_a_blank_of_a_chosen_size(tiny_path, images):
    """CLIP scales every image to its own size, so the size of the blank has no effect but must not fail."""
    loaded = load_model(str(tiny_path), blank=64)
    assert loaded.chat.load(BLANK).size == (64, 64)
    assert encode_media(loaded, images).shape == (3, 36, 96)


E = torch.zeros(4, 8)


@pytest.mark.parametrize(
    ("media", "total", "sizes"),
    [
        ([E, E], 8, [4, 4]),
        ([E, E], 9, None),
        ([E, None], 16, [4, 12]),
        ([None, None, E], 20, [8, 8, 4]),
        ([None, E, None], 12, [4, 4, 4]),
        ([None, E, None], 20, None),  # the 16 rows cannot be assigned
        ([E, None], 4, None),
        ([None, None], 7, [3, 4]),  # adjacent real media: only the sum counts
    ],
)
def test_rows_of_real_media_are_assigned_or_refused(media, total, sizes):
    assert _count_rows(media, total) == sizes


def test_the_table_has_each_row_once_and_is_json():
    keys = [(row.model_type, row.tower, row.modality) for row in families.FAMILIES]
    assert len(keys) == len(set(keys)) >= 25
    assert json.loads(json.dumps([dataclasses.asdict(row) for row in families.FAMILIES]))
