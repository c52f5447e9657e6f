"""Sounds that are longer than the window of the feature extractor: refused, or cut with a warning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import seawall
from conformance.media import write_sound
from sample_records import RECORDS, write_lines
from seawall.errors import DataError
from seawall.evaluation.config import BenchmarkConfig
from seawall.models.encode import encode_media
from seawall.models.load import load_model
from seawall.reporting.embeddings.media import view_medium

ALIGN = seawall.AlignConfig(
    steps=1,
    batch_size=4,
    num_checkpoints=1,
    lora_rank=2,
    mixture=seawall.Mixture(synthetic_harmful=0, synthetic_harmless=0),
)


@pytest.fixture
def sounds(tmp_path):
    """A folder with a sound of 4.7 s, its first 4 s, and one of 1 s. The built-in model takes 4 s."""
    noise = np.random.default_rng(0).integers(-9000, 9000, 75_200, dtype=np.int16)
    for name, seconds in (("long", 4.7), ("start", 4), ("short", 1)):
        write_sound(tmp_path / f"{name}.wav", noise[: int(seconds * 16_000)])
    lines = [{"audio": f"{name}.wav", "question": "What?", "answer": "Noise."} for name in ("long", "short")]
    write_lines(tmp_path / "media.jsonl", lines)
    item = {"set": "media_harmless", "first": "wash", "second": "boat", "category": "activity", "question": "What?"}
    write_lines(tmp_path / "items.jsonl", [{**item, "id": line["audio"], "audio": line["audio"]} for line in lines])
    return tmp_path


def test_a_long_sound_is_refused_or_cut(sounds, caplog):
    chat = load_model("organism:audio").chat
    with pytest.raises(
        DataError, match=r"long.wav has 4.7 seconds.*takes 4 .*Shorten the file, or give --long-sounds cut"
    ):
        chat.load(sounds / "long.wav")
    chat.cut_long(True)
    assert np.array_equal(chat.load(sounds / "long.wav"), chat.load(sounds / "start.wav"))
    assert "long.wav is cut from 4.7 to 4 seconds" in caplog.text
    chat.process_medium(sounds / "long.wav")
    chat.cut_long(False)
    with pytest.raises(DataError):
        chat.process_medium(sounds / "long.wav")  # not from the cache


def test_a_long_sound_of_the_bank_is_cut_to_the_blank(sounds):
    loaded = load_model("organism:audio")
    long, start = encode_media(loaded, [sounds / "long.wav", sounds / "start.wav"])
    assert torch.equal(long, start)
    assert view_medium(loaded.chat, sounds / "long.wav").sound


def test_evaluate_asks_about_the_beginning_of_a_long_sound(sounds, caplog):
    config = seawall.EvaluateConfig(max_tokens=2, long_sounds="cut")
    benchmark = BenchmarkConfig(benchmark="organism")
    results = seawall.evaluate("organism:audio", sounds, sounds / "out", benchmark, config, judges=["refusal"])
    assert results["failed"] == 0 and "is cut from 4.7 to 4 seconds" in caplog.text


def test_align_leaves_out_or_cuts_a_long_sound(sounds, caplog):
    seawall.prepare(write_lines(sounds / "r.jsonl", RECORDS), sounds / "pairs", seawall.PrepareConfig(modality="audio"))
    for mode, count in (("refuse", 1), ("cut", 2)):
        config = dataclasses.replace(ALIGN, long_sounds=mode)
        result = seawall.align("organism:audio", sounds / "pairs", None, sounds / mode, config, media=[sounds])
        assert result.examples["media_harmless"].available == count
    assert "left out of the training" in caplog.text and "is cut from 4.7 to 4 seconds" in caplog.text
