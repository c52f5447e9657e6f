"""A composed model with the built-in audio modality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

import seawall
from conformance.media import write_sound
from conformance.tiny import template, tokenizer
from sample_records import RECORDS, write_lines
from seawall.errors import DataError
from seawall.media.readers import blank_audio
from seawall.models import families
from seawall.models.chat import BLANK, Example, to_model
from seawall.models.custom.compose import compose
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore

WIDTH, HIDDEN, ROWS = 16, 32, 10


class Encoder(nn.Module):
    """(media, samples) -> (media, rows, width)"""

    def __init__(self):
        super().__init__()
        self.cut = nn.Conv1d(1, WIDTH, kernel_size=16_000 // ROWS, stride=16_000 // ROWS)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.0, batch_first=True)])

    def forward(self, sounds):
        return self.layers[0](self.cut(sounds[:, None]).transpose(1, 2))


def build():
    torch.manual_seed(0)
    tokens = tokenizer("<sound>", audio_token="<sound>")
    tokens.chat_template = template(audio="<sound>")
    llama = LlamaConfig(
        vocab_size=len(tokens), hidden_size=HIDDEN, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    return compose(
        model_type="ears",
        encoder=Encoder(),
        projector=nn.Linear(WIDTH, HIDDEN),
        language_model=LlamaForCausalLM(llama),
        tokenizer=tokens,
        placeholder="<sound>",
        blank=blank_audio(1),
    )


@pytest.fixture
def ears(monkeypatch):
    """Name of a registered composed model for sounds of up to 1 s."""
    monkeypatch.setattr(families, "FAMILIES", list(families.FAMILIES))
    families.MODELS.names()  # loads the plugins, which must stay
    monkeypatch.setattr(families.MODELS, "_values", dict(families.MODELS._values))
    monkeypatch.setattr(families.MODELS, "_local", set(families.MODELS._local))
    parts = {"encoder_layers": "encoder.layers", "projector": "projector", "checked_on": "5.23.0"}
    seawall.register_family(seawall.Family(model_type="ears", modality="audio", blank=1, max_seconds=1, **parts))
    seawall.register_model("ears", build)
    return "ears"


def write_noise(path, seconds):
    write_sound(path, np.random.default_rng(0).integers(-9000, 9000, int(seconds * 16_000), dtype=np.int16))
    return path


def test_it_hears_sounds_of_different_lengths(ears, tmp_path):
    loaded = load_model(ears, modality="audio")
    files = [write_noise(tmp_path / f"{seconds}.wav", seconds) for seconds in (1, 0.5)]
    batch = loaded.chat.batch([Example(question="What?", medium=medium) for medium in (*files, BLANK)])
    assert batch["media"].shape == (3, 16_000)
    batch.pop("labels")
    with torch.no_grad():
        one, half, blank = loaded.model(**to_model(batch, loaded.model)).logits[:, -1]
    assert not torch.allclose(one, half) and not torch.allclose(half, blank)
    with pytest.raises(DataError, match=r"long.wav has 1.5 seconds; this model of type 'ears' takes 1"):
        loaded.chat.process_medium(write_noise(tmp_path / "long.wav", 1.5))


def test_tokens_and_placeholders_that_do_not_match_are_an_error(ears):
    loaded = load_model(ears, modality="audio")
    batch = loaded.chat.batch([Example(question="What?", medium=BLANK)])
    with pytest.raises(DataError, match=f"give {2 * ROWS} tokens, and the prompts have {ROWS} placeholders"):
        loaded.model(input_ids=batch["input_ids"], media=torch.zeros(1, 32_000))


def test_synthesize_and_align_run_on_it(ears, tmp_path):
    seawall.prepare(
        write_lines(tmp_path / "r.jsonl", RECORDS), tmp_path / "pairs", seawall.PrepareConfig(modality="audio")
    )
    config = seawall.SynthesizeConfig(copies=2, max_steps=1, attempts=1, warm_start=0)
    (tmp_path / "bank").mkdir()
    for seconds in (0.3, 0.6):
        write_noise(tmp_path / "bank" / f"{seconds}.wav", seconds)
    with pytest.raises(seawall.SeawallError, match="verified"):  # the model is random
        seawall.synthesize(ears, tmp_path / "pairs", tmp_path / "out", config, bank=tmp_path / "bank")
    store = EmbeddingStore(tmp_path / "out")
    assert len(store.entries) == 8
    assert all(store.read(key).shape == (ROWS, WIDTH) for key in store.entries)
    write_lines(tmp_path / "bank" / "media.jsonl", [{"audio": "0.3.wav", "question": "What?", "answer": "Noise."}])
    mixture = seawall.Mixture(synthetic_harmful=0, synthetic_harmless=0)
    config = seawall.AlignConfig(steps=1, batch_size=4, num_checkpoints=1, lora_rank=2, mixture=mixture)
    result = seawall.align(ears, tmp_path / "pairs", None, tmp_path / "adapter", config, media=[tmp_path / "bank"])
    assert result.examples["media_harmless"].available == 1
