"""Training of `organism:audio`, a Qwen2-Audio-class model, from random weights.

The audio tower learns to classify the words, the request, the voice and the background of a sound. Projector and
language model learn captions, styles, requests, harm questions (about sounds and in text) and policies (in text
only); see `training`. The tower's inputs are features of the Whisper feature extractor.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seawall.lab.organisms.card import save_organism
from seawall.lab.organisms.training import (
    NO_LABEL,
    AttentionHead,
    initialize,
    train_language,
    train_tokenizer,
    train_tower,
)
from seawall.lab.world import dialogue, speaking
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase, list_all_phrases
from seawall.lab.world.recording import VOICES
from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel

log = logging.getLogger(__name__)

MELS, HOP, WINDOW, WIDTH = 64, 400, 512, 112
"""Mel bands, samples between frames, samples of a frame, and width of the tower."""
SOUNDS = 10_000
TOWER_STEPS, TOWER_BATCH = 3_000, 64
LM_STEPS, LM_MEDIA_ROWS, LM_TEXT_ROWS = 900, 34, 14
SPECIAL = ("<pad>", "</s>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{{ {'system': 'SYSTEM:', 'user': 'USER:', 'assistant': 'ASSISTANT:'}[m.role] }}"
    "{% for c in m.content %}{% if c.type == 'text' %} {{ c.text }}"
    "{% else %}<|audio_bos|><|AUDIO|><|audio_eos|>{% endif %}{% endfor %}"
    "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
Sample = tuple[Phrase, speaking.Form, speaking.AudioStyle]


def train_audio_organism(
    out: Path, *, seed: int = 0, tower_steps: int = TOWER_STEPS, lm_steps: int = LM_STEPS, sounds: int = SOUNDS
) -> None:
    """Train the model, measure it, and save model, processor and card.

    Args:
        out: Folder to write to.
        seed: Random seed.
        tower_steps: Optimiser steps of the tower.
        lm_steps: Optimiser steps of projector and language model.
        sounds: Number of training sounds.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    processor = build_processor(rng)
    model = build_model(processor)
    samples = draw_samples(rng, sounds)
    spectrograms = extract_all(samples, processor)
    log.info("%d sounds made after %.0f s", len(samples), time.perf_counter() - started)
    tower, (labels, classes) = model.model.audio_tower, make_labels(samples)
    tower.train()
    encode = lambda rows: tower(augment(spectrograms[rows].float())).last_hidden_state  # noqa: E731
    train_tower(tower, encode, labels, classes, WIDTH, tower_steps, TOWER_BATCH, AttentionHead)
    tower.eval()
    with torch.no_grad():
        features = torch.cat([encode(rows) for rows in torch.arange(len(samples)).split(128)])
    log.info("tower trained after %.0f s", time.perf_counter() - started)
    family = find_family("qwen2_audio")
    loaded = LoadedModel("organism:audio", model, processor, family, Chat(processor, family), fingerprint="")
    train_language(
        loaded,
        [
            model.model.multi_modal_projector,
            model.model.language_model,
            model.lm_head,
        ],  # this class never ties the head
        features,
        lambda number: _draw_dialogue(rng, *samples[number]),
        rng,
        steps=lm_steps,
        media_rows=LM_MEDIA_ROWS,
        text_rows=LM_TEXT_ROWS,
    )
    save_organism(out, "audio", loaded, seed=seed, seconds=time.perf_counter() - started, media=len(samples))


def build_processor(rng: random.Random) -> Any:
    """Return the `Qwen2AudioProcessor`, with a tokenizer trained on dialogues of the world."""
    from transformers import PreTrainedTokenizerFast, Qwen2AudioProcessor, WhisperFeatureExtractor

    def styles() -> dict[str, str]:
        return speaking.list_style_answers(speaking.draw_style(rng, "train"), rng.choice(speaking.FORMS))

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(rng, "audio", styles, SPECIAL), pad_token="<pad>", eos_token="</s>"
    )
    tokenizer.add_tokens([*SPECIAL], special_tokens=True)
    extractor = WhisperFeatureExtractor(
        feature_size=MELS, hop_length=HOP, n_fft=WINDOW, chunk_length=speaking.SECONDS, return_attention_mask=True
    )
    return Qwen2AudioProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE)


def build_model(processor: Any) -> Any:
    """Return the untrained `Qwen2AudioForConditionalGeneration` with 1.8 million parameters."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    tokenizer, positions = processor.tokenizer, processor.feature_extractor.nb_max_frames // 2
    audio = {
        "num_mel_bins": MELS,
        "d_model": WIDTH,
        "encoder_layers": 4,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 4 * WIDTH,
        "max_source_positions": positions,
    }
    text = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 200.0},
        "tie_word_embeddings": False,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    token = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    config = Qwen2AudioConfig(  # type: ignore[call-arg]
        audio_config=audio, text_config=text, audio_token_index=token, tie_word_embeddings=False
    )
    model = Qwen2AudioForConditionalGeneration(config)
    initialize(model.model.audio_tower)
    model.model.audio_tower.embed_positions.weight.data = make_sinusoids(positions)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def make_sinusoids(positions: int) -> Tensor:
    """Return Whisper's fixed position embeddings, shape = (positions, WIDTH)."""
    rates = torch.exp(-torch.arange(WIDTH // 2) * np.log(10_000) / (WIDTH // 2 - 1))
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1).float()


def draw_samples(rng: random.Random, number: int) -> list[Sample]:
    """Draw phrase, form and style of each training sound, without the `unseen` pool."""
    cycle = itertools.cycle(list_all_phrases())
    return [
        (next(cycle), rng.choice(speaking.FORMS), speaking.draw_style(rng, "train", "encoder")) for _ in range(number)
    ]


def extract_all(samples: list[Sample], processor: Any) -> Tensor:
    """Return the log-mel spectrogram of each sound, shape = (sounds, MELS, frames), fp16."""
    parts = [samples[first : first + 100] for first in range(0, len(samples), 100)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # with fork, the extractor would hang in torch's threads
        extracted = pool.map(extract_features, parts, itertools.repeat(processor.feature_extractor))
        return torch.cat([torch.from_numpy(part) for part in extracted])


def extract_features(samples: list[Sample], extractor: Any) -> np.ndarray:
    """Return the log-mel spectrogram of each sound, shape = (sounds, MELS, frames), fp16, computed in this process."""
    sounds = [speaking.render(*sample) for sample in samples]
    features: np.ndarray = np.stack(extractor(sounds, sampling_rate=extractor.sampling_rate)["input_features"])
    return features.astype(np.float16)


def make_labels(samples: list[Sample]) -> tuple[Tensor, list[int]]:
    """Return the labels of the tower's training.

    Returns:
        Class indices of both words, request, voice and background, shape = (sounds, 5), with `NO_LABEL` for the
        request of a sound that speaks none; and the number of classes of each.
    """
    voices = [voice for pool in ("train", "encoder") for voice in VOICES[pool]]
    backgrounds = [*speaking.BACKGROUNDS["train"], *speaking.BACKGROUNDS["encoder"]]
    labels = [
        (
            FIRST_WORDS.index(phrase.first),
            SECOND_WORDS.index(phrase.second),
            style.request if form == "request" else NO_LABEL,
            voices.index(style.voice),
            backgrounds.index(style.background),
        )
        for phrase, form, style in samples
    ]
    requests = len(dialogue.REQUESTS)
    return torch.tensor(labels), [len(FIRST_WORDS), len(SECOND_WORDS), requests, len(voices), len(backgrounds)]


def augment(spectrograms: Tensor) -> Tensor:
    """Shift and stretch each spectrogram in time and pitch, tilt its timbre, and mask stripes of it, at random.

    Args:
        spectrograms: Shape = (sounds, MELS, frames).

    Returns:
        The same shape.

    Source: the masks are those of Park et al., "SpecAugment", arXiv 1904.08779.
    """
    number = len(spectrograms)
    affine = torch.eye(2, 3).repeat(number, 1, 1)
    affine[:, 0, 0] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 1, 1] += torch.empty(number).uniform_(-0.12, 0.12)
    affine[:, :, 2] = torch.empty(number, 2).uniform_(-0.06, 0.06)
    grid = nn.functional.affine_grid(affine, [number, 1, *spectrograms.shape[1:]], align_corners=False)
    warped = nn.functional.grid_sample(spectrograms[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    slope = torch.linspace(-1, 1, MELS)[:, None]
    warped = warped + torch.empty(number, 1, 1).uniform_(-0.2, 0.2) * slope
    for axis, widest in ((1, 8), (2, 10)):
        length = spectrograms.shape[axis]
        first, width = torch.rand(number, 1) * length, torch.rand(number, 1) * widest
        place = torch.arange(length)
        stripe = (place >= first) & (place < first + width)
        mean = warped.mean((1, 2), keepdim=True)
        warped = torch.where(stripe[:, :, None] if axis == 1 else stripe[:, None], mean, warped)
    return warped


def _draw_dialogue(
    rng: random.Random, phrase: Phrase, form: speaking.Form, style: speaking.AudioStyle
) -> tuple[str, str]:
    spoken = speaking.get_spoken_request(phrase, style) if form == "request" else None
    return dialogue.draw_medium_dialogue(rng, phrase, speaking.list_style_answers(style, form), "audio", spoken)
