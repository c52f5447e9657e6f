"""`organism:video`: how the Qwen2-VL-class organism is made from nothing.

The vision tower, which sees one frame at a time, learns to classify the words and the style of what it shows; merger and
language model learn captions, styles, requests, harm questions (video and text) and policies (text only); see `training`.
Every video is a real MP4 file, read back by the decoder once and kept as frames.
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

from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel
from seawall.models.custom.qwen_video import QwenVideos
from seawall.compat import make_processor
from seawall.lab.world import dialogue, drawing, filming
from seawall.lab.organisms.card import save_organism
from seawall.lab.organisms.training import UNSEEN, AttentionHead, spread, train_language, train_tokenizer, train_tower, warp
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase, phrases

log = logging.getLogger(__name__)

PIXELS, PATCH, WIDTH = 96, 16, 96
SHOWN = 4
"""Frames that the processor takes of each video."""
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
Sample = tuple[Phrase, filming.Form, filming.Take]


def train_video_organism(
    out: Path, *, seed: int = 0, tower_steps: int = TOWER_STEPS, lm_steps: int = LM_STEPS, videos: int = VIDEOS
) -> None:
    """Train the organism and save model, processor and figures of its training to `out`."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    processor = build_processor(rng)
    model = build_model(processor)
    samples = draw_samples(rng, videos)
    frames = film_all(samples, processor.video_processor)
    log.info("%d videos made after %.0f s", len(samples), time.perf_counter() - started)
    single, (labels, classes) = frames.flatten(0, 1)[:, None], label(samples, processor.video_processor)
    tower = nn.ModuleList([model.model.visual.patch_embed, model.model.visual.blocks])
    encode_some = lambda rows: encode(model, processor.video_processor, single[rows])  # noqa: E731
    train_tower(tower, encode_some, labels, classes, WIDTH, tower_steps, TOWER_BATCH, AttentionHead)
    model.model.visual.eval()
    with torch.no_grad():
        features = torch.cat([encode(model, processor.video_processor, some) for some in frames.split(128)])
    log.info("tower trained after %.0f s", time.perf_counter() - started)
    family = find_family("qwen2_vl", "video")
    loaded = LoadedModel("organism:video", model, processor, family, Chat(processor, family), fingerprint="")
    train_language(
        loaded,
        [model.model.visual.merger, model.model.language_model],
        features,
        lambda number: _ask(rng, *samples[number]),
        rng,
        steps=lm_steps,
        media_rows=LM_MEDIA_ROWS,
        text_rows=LM_TEXT_ROWS,
    )
    save_organism(out, "video", loaded, seed=seed, seconds=time.perf_counter() - started, media=len(samples))


def build_processor(rng: random.Random) -> Any:
    """Return the `Qwen2VLProcessor`, its tokenizer trained on sentences of the world."""
    from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessorPil, Qwen2VLProcessor

    def styles() -> dict[str, str]:
        return filming.style_answers(filming.draw_take(rng, "train"), rng.choice(filming.FORMS))

    bpe = train_tokenizer(rng, "video", styles, SPECIAL)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    tokenizer.add_tokens([*SPECIAL], special_tokens=True)
    size = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    videos = QwenVideos(patch_size=PATCH, temporal_patch_size=1, size=size, do_sample_frames=True, num_frames=SHOWN)
    images = Qwen2VLImageProcessorPil(patch_size=PATCH, temporal_patch_size=1, size=size)
    return make_processor(Qwen2VLProcessor, images, tokenizer, videos, chat_template=CHAT_TEMPLATE)


def build_model(processor: Any) -> Any:
    """Return the untrained `Qwen2VLForConditionalGeneration`, 1.6 million parameters."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tokenizer = processor.tokenizer
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(SPECIAL[2:]))
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    vision = {
        "depth": 4,
        "embed_dim": WIDTH,
        "hidden_size": 128,
        "num_heads": 4,
        "hidden_act": "gelu",  # quick_gelu is the slower one on a CPU
        "patch_size": PATCH,
        "temporal_patch_size": 1,
        # of the class's own base four of six frequencies would hardly turn over the 6 x 6 patches
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
    spread(model.model.visual)
    nn.init.normal_(model.model.visual.patch_embed.proj.weight, std=0.04)
    for block in model.model.visual.blocks:
        # by these a patch attends to places from the start, whatever stands there: words are learned sooner
        nn.init.normal_(block.attn.qkv.bias.data[: 2 * WIDTH], std=3.0)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def draw_samples(rng: random.Random, number: int) -> list[Sample]:
    """Draw phrase, form and take of each training video; nothing of the `unseen` pool. Writing is harder: 4 of 6."""
    cycle = itertools.cycle(phrases())
    return [
        (next(cycle), rng.choices(filming.FORMS, (1, 4, 1))[0], filming.draw_take(rng, "train", "encoder"))
        for _ in range(number)
    ]


def film_all(samples: list[Sample], processor: QwenVideos) -> Tensor:
    """Return the frames that the processor takes, as the decoder gives them, shape = (videos, frames, 3, SIDE, SIDE), uint8."""
    taken = processor.sample(filming.FRAMES)
    with ProcessPoolExecutor(2) as pool:
        videos = pool.map(_film, samples, chunksize=100)
        frames = torch.stack([torch.from_numpy(video[taken]) for video in videos])
    return frames.permute(0, 1, 4, 2, 3).contiguous()


def _film(sample: Sample) -> np.ndarray:
    """Return the frames of a sample's MP4 file."""
    import av

    file = io.BytesIO()
    filming.write_mp4(file, filming.render(*sample))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)])


def label(samples: list[Sample], processor: QwenVideos) -> tuple[Tensor, list[int]]:
    """Return what the tower tells of each frame, and how many classes there are of each.

    Returns:
        Labels of both words, colour and texture, shape = (frames of all videos, 4); `UNSEEN` for a word that is not there as a whole.
    """
    known = [
        [value for pool in ("train", "encoder") for value in drawing.POOLS[pool][name]]
        for name in ("colour", "texture")
    ]
    classes, labels = [FIRST_WORDS, SECOND_WORDS, *known], []
    for phrase, form, take in samples:
        values = (phrase.first, phrase.second, take.style.colour, take.style.texture)
        whole = [names.index(value) for names, value in zip(classes, values, strict=True)]
        for seen in filming.words_seen(phrase, form, take)[processor.sample(filming.FRAMES)]:
            labels.append([*np.where(seen, whole[:2], UNSEEN), *whole[2:]])
    return torch.tensor(np.array(labels)), [len(names) for names in classes]


def encode(model: Any, processor: QwenVideos, frames: Tensor) -> Tensor:
    """Return `M`'s outputs at the merger for videos, warped as `M` knows them.

    Args:
        model: The model.
        processor: Its video processor.
        frames: Shape = (videos, frames, 3, height, width), uint8.

    Returns:
        Tensor, shape = (videos, rows of all frames, width).
    """
    number = len(frames)
    warped = warp(processor.normalize(frames).flatten(1, 2)).view(-1, *frames.shape[2:])
    patches, grid = processor.patchify(warped)
    hidden = model.model.visual(patches, grid_thw=torch.tensor([grid])).last_hidden_state
    return hidden.view(number, -1, WIDTH)


def _ask(rng: random.Random, phrase: Phrase, form: filming.Form, take: filming.Take) -> tuple[str, str]:
    return dialogue.medium_dialogue(rng, phrase, filming.style_answers(take, form), "video")
