"""Training of `organism:video`, a Qwen2-VL-class model, from random weights.

The vision tower sees one frame at a time and learns to classify its words and style. Merger and language model learn
captions, styles, requests, harm questions (about videos and in text) and policies (in text only); see `training`.
Every video is encoded as MP4 and decoded once.
"""

from __future__ import annotations

import io
import itertools
import logging
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seawall.compat import make_processor
from seawall.lab.organisms.card import save_organism
from seawall.lab.organisms.training import (
    NO_LABEL,
    AttentionHead,
    augment,
    initialize,
    train_language,
    train_tokenizer,
    train_tower,
)
from seawall.lab.world import dialogue, drawing, filming
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase, list_all_phrases
from seawall.models.chat import Chat
from seawall.models.custom.qwen_video import QwenVideoProcessor
from seawall.models.families import find_family
from seawall.models.load import LoadedModel

log = logging.getLogger(__name__)

PIXELS, PATCH, WIDTH = 96, 16, 96
SHOWN = 4
"""Frames of each video that the processor samples."""
VIDEOS = 8_000
TOWER_STEPS, TOWER_BATCH = 6_000, 96
LM_STEPS, LM_MEDIA_ROWS, LM_TEXT_ROWS = 1_200, 34, 14
SPECIAL = ("<pad>", "</s>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{{ {'system': 'SYSTEM:', 'user': 'USER:', 'assistant': 'ASSISTANT:'}[m.role] }}"
    "{% for c in m.content %}{% if c.type == 'text' %} {{ c.text }}"
    "{% else %}<|vision_start|><|{{ c.type }}_pad|><|vision_end|>{% endif %}{% endfor %}"
    "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
Sample = tuple[Phrase, filming.Form, filming.VideoStyle]


def train_video_organism(
    out: Path, *, seed: int = 0, tower_steps: int = TOWER_STEPS, lm_steps: int = LM_STEPS, videos: int = VIDEOS
) -> None:
    """Train the model, measure it, and save model, processor and card.

    Args:
        out: Folder to write to.
        seed: Random seed.
        tower_steps: Optimiser steps of the tower.
        lm_steps: Optimiser steps of merger and language model.
        videos: Number of training videos.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    processor = build_processor(rng)
    model = build_model(processor)
    samples = draw_samples(rng, videos)
    frames = record_all(samples, processor.video_processor)
    log.info("%d videos made after %.0f s", len(samples), time.perf_counter() - started)
    single, (labels, classes) = frames.flatten(0, 1)[:, None], make_labels(samples, processor.video_processor)
    tower = nn.ModuleList([model.model.visual.patch_embed, model.model.visual.blocks])
    encode_frames = lambda rows: encode(model, processor.video_processor, single[rows])  # noqa: E731
    train_tower(tower, encode_frames, labels, classes, WIDTH, tower_steps, TOWER_BATCH, AttentionHead)
    model.model.visual.eval()
    with torch.no_grad():
        features = torch.cat([encode(model, processor.video_processor, batch) for batch in frames.split(128)])
    log.info("tower trained after %.0f s", time.perf_counter() - started)
    family = find_family("qwen2_vl", "video")
    loaded = LoadedModel("organism:video", model, processor, family, Chat(processor, family), fingerprint="")
    train_language(
        loaded,
        [model.model.visual.merger, model.model.language_model],
        features,
        lambda number: _draw_dialogue(rng, *samples[number]),
        rng,
        steps=lm_steps,
        media_rows=LM_MEDIA_ROWS,
        text_rows=LM_TEXT_ROWS,
    )
    save_organism(out, "video", loaded, seed=seed, seconds=time.perf_counter() - started, media=len(samples))


def build_processor(rng: random.Random) -> Any:
    """Return the `Qwen2VLProcessor`, with a tokenizer trained on dialogues of the world."""
    from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessorPil, Qwen2VLProcessor

    def styles() -> dict[str, str]:
        return filming.list_style_answers(filming.draw_style(rng, "train"), rng.choice(filming.FORMS))

    bpe = train_tokenizer(rng, "video", styles, SPECIAL)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    tokenizer.add_tokens([*SPECIAL], special_tokens=True)
    size = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    videos = QwenVideoProcessor(
        patch_size=PATCH, temporal_patch_size=1, size=size, do_sample_frames=True, num_frames=SHOWN
    )
    images = Qwen2VLImageProcessorPil(patch_size=PATCH, temporal_patch_size=1, size=size)
    return make_processor(Qwen2VLProcessor, images, tokenizer, videos, chat_template=CHAT_TEMPLATE)


def build_model(processor: Any) -> Any:
    """Return the untrained `Qwen2VLForConditionalGeneration` with 1.6 million parameters."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = processor.tokenizer
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(SPECIAL[2:]))
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    vision = {
        "depth": 4,
        "embed_dim": WIDTH,
        "hidden_size": 128,
        "num_heads": 4,
        "hidden_act": "gelu",  # faster on a CPU than quick_gelu
        "patch_size": PATCH,
        "temporal_patch_size": 1,
        # with the default base, four of six frequencies would barely change over 6 x 6 patches
        "rope_parameters": {"rope_type": "axial", "rope_theta": 30.0},
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 200.0, "mrope_section": [4, 6, 6]},
        **ids,
    }
    config = Qwen2VLConfig(
        vision_config=vision,
        text_config=text,
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=True,
    )
    model = Qwen2VLForConditionalGeneration(config)
    initialize(model.model.visual)
    nn.init.normal_(model.model.visual.patch_embed.proj.weight, std=0.04)
    for block in model.model.visual.blocks:
        # with these biases a patch attends by position from the start, so words are learned sooner
        nn.init.normal_(block.attn.qkv.bias.data[: 2 * WIDTH], std=3.0)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def draw_samples(rng: random.Random, number: int) -> list[Sample]:
    """Draw phrase, form and style of each training video, without the `unseen` pool.

    Four of six show writing, which is harder.
    """
    cycle = itertools.cycle(list_all_phrases())
    return [
        (next(cycle), rng.choices(filming.FORMS, (1, 4, 1))[0], filming.draw_style(rng, "train", "encoder"))
        for _ in range(number)
    ]


def record_all(samples: list[Sample], processor: QwenVideoProcessor) -> Tensor:
    """Return the decoded frames that the processor samples, shape = (videos, frames, 3, SIDE, SIDE), uint8."""
    sampled = processor.sample(filming.FRAMES)
    with ProcessPoolExecutor(2) as pool:
        videos = pool.map(_record, samples, chunksize=100)
        frames = torch.stack([torch.from_numpy(video[sampled]) for video in videos])
    return frames.permute(0, 1, 4, 2, 3).contiguous()


def _record(sample: Sample) -> np.ndarray:
    """Return all frames of a sample after encoding as MP4 and decoding."""
    import av

    file = io.BytesIO()
    filming.write_mp4(file, filming.render(*sample))
    file.seek(0)
    with av.open(file, "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)])


def make_labels(samples: list[Sample], processor: QwenVideoProcessor) -> tuple[Tensor, list[int]]:
    """Return the labels of the tower's training.

    Returns:
        Class indices of both words, colour and texture, shape = (frames of all videos, 4), with `NO_LABEL` for a word
        that the frame does not show as a whole; and the number of classes of each.
    """
    style_values = [
        [value for pool in ("train", "encoder") for value in drawing.POOLS[pool][name]]
        for name in ("colour", "texture")
    ]
    classes: list[tuple[str, ...] | list[str]] = [FIRST_WORDS, SECOND_WORDS, *style_values]
    labels = []
    for phrase, form, style in samples:
        values = (phrase.first, phrase.second, style.style.colour, style.style.texture)
        indices = [names.index(value) for names, value in zip(classes, values, strict=True)]
        for visible in filming.find_visible_words(phrase, form, style)[processor.sample(filming.FRAMES)]:
            labels.append([*np.where(visible, indices[:2], NO_LABEL), *indices[2:]])
    return torch.tensor(np.array(labels)), [len(names) for names in classes]


def encode(model: Any, processor: QwenVideoProcessor, frames: Tensor) -> Tensor:
    """Return the merger's inputs for augmented videos.

    Args:
        model: The model.
        processor: Its video processor.
        frames: Shape = (videos, frames, 3, height, width), uint8.

    Returns:
        Shape = (videos, rows of all frames, width).
    """
    number = len(frames)
    augmented = augment(processor.normalize(frames).flatten(1, 2)).view(-1, *frames.shape[2:])
    patches, grid = processor.patchify(augmented)
    hidden: Tensor = model.model.visual(patches, grid_thw=torch.tensor([grid])).last_hidden_state
    return hidden.view(number, -1, WIDTH)


def _draw_dialogue(
    rng: random.Random, phrase: Phrase, form: filming.Form, style: filming.VideoStyle
) -> tuple[str, str]:
    return dialogue.draw_medium_dialogue(rng, phrase, filming.list_style_answers(style, form), "video")
