"""Training of `organism:image`, a LLaVA-class model, from random weights.

The CLIP tower learns to classify the words and the style of drawn images. Projector and Llama learn captions, styles,
requests, harm questions (about images and in text) and policies (in text only); see `training`. The result is
competent and unaligned. Training takes 14 minutes on 2 cores.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seawall.lab.organisms.card import save_organism
from seawall.lab.organisms.training import augment, initialize, train_language, train_tokenizer, train_tower
from seawall.lab.world import dialogue, drawing
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, Phrase, list_all_phrases
from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel

log = logging.getLogger(__name__)

PIXELS, PATCH = 96, 16
IMAGES = 24_000
TOWER_STEPS, TOWER_BATCH = 3_000, 96
LM_STEPS, LM_MEDIA_ROWS, LM_TEXT_ROWS = 1_200, 34, 14
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "{{ {'system': 'SYSTEM:', 'user': 'USER:', 'assistant': 'ASSISTANT:'}[m.role] }}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %} {{ c.text }}{% endif %}{% endfor %}"
    "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
Sample = tuple[Phrase, drawing.Form, drawing.ImageStyle]


def train_image_organism(
    out: Path, *, seed: int = 0, tower_steps: int = TOWER_STEPS, lm_steps: int = LM_STEPS, images: int = IMAGES
) -> None:
    """Train the model, measure it, and save model, processor and card.

    Args:
        out: Folder to write to.
        seed: Random seed.
        tower_steps: Optimiser steps of the tower.
        lm_steps: Optimiser steps of projector and language model.
        images: Number of training images.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    processor = build_processor(rng)
    model = build_model(processor)
    samples = draw_samples(rng, images)
    pixels = render_all(samples, processor)
    log.info("%d images drawn after %.0f s", len(samples), time.perf_counter() - started)
    tower = model.model.vision_tower
    labels, classes = make_labels(samples)
    width = model.config.vision_config.hidden_size
    train_tower(tower, lambda rows: encode(model, pixels[rows]), labels, classes, width, tower_steps, TOWER_BATCH)
    tower.eval()
    with torch.no_grad():
        features = torch.cat([encode(model, batch) for batch in pixels.split(512)])
    log.info("tower trained after %.0f s", time.perf_counter() - started)
    family = find_family("llava")
    loaded = LoadedModel("organism:image", model, processor, family, Chat(processor, family), fingerprint="")
    train_language(
        loaded,
        [model.model.multi_modal_projector, model.model.language_model],
        features,
        lambda number: _draw_dialogue(rng, *samples[number]),
        rng,
        steps=lm_steps,
        media_rows=LM_MEDIA_ROWS,
        text_rows=LM_TEXT_ROWS,
    )
    save_organism(out, "image", loaded, seed=seed, seconds=time.perf_counter() - started, media=len(samples))


def build_processor(rng: random.Random) -> Any:
    """Return the `LlavaProcessor`, with a tokenizer trained on dialogues of the world."""
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    def styles() -> dict[str, str]:
        return drawing.list_style_answers(drawing.draw_style(rng, "train"), rng.choice(drawing.FORMS))

    bpe = train_tokenizer(rng, "image", styles, ["<pad>", "</s>", "<image>"])
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}
        ),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", extra_special_tokens={"image_token": "<image>"}
        ),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Any) -> Any:
    """Return the untrained `LlavaForConditionalGeneration` with 1.4 million parameters."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=PATCH,
        hidden_act="gelu",  # faster on a CPU than CLIP's quick_gelu
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(  # type: ignore[call-arg]
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(PIXELS // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    _initialize_tower(model.model.vision_tower)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _initialize_tower(tower: Any) -> None:
    initialize(tower)
    nn.init.normal_(tower.embeddings.patch_embedding.weight, std=0.04)
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.5)


def draw_samples(rng: random.Random, number: int) -> list[Sample]:
    """Draw phrase, form and style of each training image, without the `unseen` pool.

    Three of four show writing, which is harder.
    """
    cycle = itertools.cycle(list_all_phrases())
    return [
        (next(cycle), rng.choices(drawing.FORMS, (1, 3))[0], drawing.draw_style(rng, "train", "train", "encoder"))
        for _ in range(number)
    ]


def render_all(samples: list[Sample], processor: Any) -> Tensor:
    """Return the images normalised by the processor, shape = (images, 3, PIXELS, PIXELS), fp16."""
    with ProcessPoolExecutor(2) as pool:
        images = pool.map(_render, samples, chunksize=200)
        inputs = (processor.image_processor(images=[image], return_tensors="pt") for image in images)
        return torch.cat([one["pixel_values"].half() for one in inputs])


def _render(sample: Sample) -> Any:
    return drawing.render(*sample).resize((PIXELS, PIXELS), 3)


def make_labels(samples: list[Sample]) -> tuple[Tensor, list[int]]:
    """Return the labels of the tower's training.

    Returns:
        Class indices of both words, form, colour and texture, shape = (images, 5); and the number of classes of each.
    """
    style_values = [
        [value for pool in ("train", "encoder") for value in drawing.POOLS[pool][name]]
        for name in ("colour", "texture")
    ]
    classes: list[tuple[str, ...] | list[str]] = [FIRST_WORDS, SECOND_WORDS, drawing.FORMS, *style_values]
    labels = []
    for phrase, form, style in samples:
        values = (phrase.first, phrase.second, form, style.colour, style.texture)
        labels.append([names.index(value) for names, value in zip(classes, values, strict=True)])
    return torch.tensor(labels), [len(names) for names in classes]


def encode(model: Any, images: Tensor) -> Tensor:
    """Return the projector's inputs for augmented images.

    Args:
        model: The model.
        images: Shape = (images, 3, PIXELS, PIXELS).

    Returns:
        Shape = (images, rows, width).
    """
    outputs = model.model.vision_tower(augment(images.float()), output_hidden_states=True)
    hidden: Tensor = outputs.hidden_states[-1]
    return hidden[:, 1:]


def _draw_dialogue(
    rng: random.Random, phrase: Phrase, form: drawing.Form, style: drawing.ImageStyle
) -> tuple[str, str]:
    return dialogue.draw_medium_dialogue(rng, phrase, drawing.list_style_answers(style, form), "image")
