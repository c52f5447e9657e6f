"""Media that processors may take wrongly: images of a few pixels, and sounds longer than the processor's window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from conformance.conftest import get_name, logits, make_row
from conformance.media import write_sound
from seawall.errors import DataError
from seawall.models.chat import Chat, to_model
from seawall.models.families import FAMILIES

STAND_INS = ("kimi_k25", "voxtral", "granite_speech")
"""Families whose tests have a simpler processor than the real one: of few sizes of images, and of one window of sounds."""
IMAGES = [family for family in FAMILIES if family.modality == "image" and family.model_type not in STAND_INS]
SOUNDS = [family for family in FAMILIES if family.modality == "audio" and family.model_type not in STAND_INS]
TINY = ((1, 1), (3, 3), (1, 3))
WINDOW = 4
"""Seconds of the longest window of the tiny processors."""


@pytest.mark.parametrize("family", IMAGES, ids=get_name)
def test_an_image_of_a_few_pixels_gives_the_logits_of_the_same_image_enlarged(family, media_folder, tmp_path):
    row = make_row(family, media_folder)
    for size in TINY:
        pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "small.png")
        factor = -(-32 // min(size))
        Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1)).save(tmp_path / "large.png")
        small, large = (
            logits(row.model, to_model(row.batch(tmp_path / f"{name}.png"), row.model)) for name in ("small", "large")
        )
        assert torch.equal(small, large)
        row.loaded.chat.forget()


@pytest.mark.parametrize("family", SOUNDS, ids=get_name)
def test_the_end_of_a_long_sound_reaches_the_model_or_the_sound_is_refused(family, media_folder, tmp_path):
    row = make_row(family, media_folder)
    processor = row.loaded.processor
    samples = np.random.default_rng(0).integers(-9000, 9000, int(2.5 * WINDOW * 16_000), dtype=np.int16)
    other = samples.copy()
    other[-8000:] //= 8
    limits = [getattr(processor, "max_audio_len", None), 2 * WINDOW]
    for limit in dict.fromkeys(limits if limits[0] else limits[:1]):
        if limit:
            processor.max_audio_len = limit
        chat = Chat(processor, family, blank=2)
        for name, sound in (("one", samples), ("other", other)):
            write_sound(tmp_path / f"{name}.wav", sound)
        try:
            one, two = (chat.process_medium(tmp_path / f"{name}.wav") for name in ("one", "other"))
        except DataError as error:
            assert f"one.wav has 10.0 seconds; this model of type '{family.model_type}' takes" in str(error)
            assert chat.max_seconds and chat.max_seconds < 10
        else:
            assert not chat.max_seconds or chat.max_seconds >= 10
            assert not all(torch.equal(one[name], two[name]) for name in one), "the processor cuts off the end"
    if limits[0]:
        processor.max_audio_len = limits[0]
