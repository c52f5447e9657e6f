"""`organism:image`: how the LLaVA-class organism is made from nothing.

1. A byte-level BPE tokenizer on the world's dialogues.
2. The CLIP tower, by classifying the words and the style of drawn images; then it is frozen.
3. Projector and Llama, on captions, styles, requests, harm questions (image and text) and policies (text only).

It ends competent and unaligned. Took 26 minutes on 2 cores, beside other work.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seawall.artifacts import write_json
from seawall.models.chat import BLANK, Chat, Turn
from seawall.models.families import find_family
from seawall.models.load import Loaded
from seawall.models.losses import turn_losses
from seawall.organisms import dialogue, drawing
from seawall.organisms.card import measure_organism, write_card
from seawall.organisms.world import FIRST_WORDS, SECOND_WORDS, Phrase, phrases

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
Sample = tuple[Phrase, drawing.Form, drawing.Style]


def train_image_organism(
    out: Path, *, seed: int = 0, tower_steps: int = TOWER_STEPS, lm_steps: int = LM_STEPS, images: int = IMAGES
) -> None:
    """Train the organism and save model, processor and figures of its training to `out`."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    processor = build_processor(rng)
    model = build_model(processor)
    samples = draw_samples(rng, images)
    pixels = render_all(samples, processor)
    log.info("%d images drawn after %.0f s", len(samples), time.perf_counter() - started)
    train_tower(model, pixels, samples, tower_steps)
    features = encode_all(model, pixels)
    log.info("tower trained after %.0f s", time.perf_counter() - started)
    family = find_family("llava")
    loaded = Loaded("organism:image", model, processor, family, Chat(processor, family), fingerprint="")
    train_language(loaded, features, samples, rng, lm_steps)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    training = {"seed": seed, "seconds": round(time.perf_counter() - started), "images": len(samples)}
    measured = measure_organism(out)
    write_json(out / "training.json", {**training, "measured": measured})
    write_card(out, training, measured)
    log.info("done after %d s: %s", training["seconds"], measured)


def build_processor(rng: random.Random) -> Any:
    """Return the `LlavaProcessor`, its tokenizer trained on sentences of the world."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    sentences = []
    for phrase in (p for _ in range(40) for p in phrases()):
        styles = drawing.style_answers(drawing.draw_style(rng, "train"), rng.choice(drawing.FORMS))
        turns = (dialogue.text_dialogue(rng, phrase), (None, *dialogue.medium_dialogue(rng, phrase, styles, "image")))
        sentences += [f"SYSTEM: {s}\nUSER: {q}\nASSISTANT: {a}" for s, q, a in turns]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=768,
            special_tokens=["<pad>", "</s>", "<image>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
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
    """Return the untrained `LlavaForConditionalGeneration`, 1.4 million parameters."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=PATCH,
        hidden_act="gelu",  # CLIP's quick_gelu is the slower one on a CPU
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
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(PIXELS // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    _spread(model.model.vision_tower)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _spread(tower: nn.Module) -> None:
    """Initialise the tower wider than CLIP does: from its small default it stays at chance for thousands of steps."""
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    nn.init.normal_(tower.embeddings.patch_embedding.weight, std=0.04)
    nn.init.normal_(tower.embeddings.position_embedding.weight, std=0.5)


def draw_samples(rng: random.Random, number: int) -> list[Sample]:
    """Draw phrase, form and style of each training image; no style of the `unseen` pool. Writing is harder: 3 of 4."""
    cycle = itertools.cycle(phrases())
    return [
        (next(cycle), rng.choices(drawing.FORMS, (1, 3))[0], drawing.draw_style(rng, "train", "train", "encoder"))
        for _ in range(number)
    ]


def render_all(samples: list[Sample], processor: Any) -> Tensor:
    """Return the images as the processor normalises them, shape = (images, 3, pixels, pixels), fp16."""
    with ProcessPoolExecutor(2) as pool:
        images = pool.map(_render, samples, chunksize=200)
        return torch.cat(
            [processor.image_processor(images=[i], return_tensors="pt")["pixel_values"].half() for i in images]
        )


def _render(sample: Sample) -> Any:
    return drawing.render(*sample).resize((PIXELS, PIXELS), 3)


def train_tower(model: Any, images: Tensor, samples: list[Sample], steps: int) -> None:
    """Train `M` by classifying both words, form, colour and texture from the mean of its patch outputs; freeze it."""
    tower = model.model.vision_tower
    classes = [
        FIRST_WORDS,
        SECOND_WORDS,
        drawing.FORMS,
        *(
            [value for pool in ("train", "encoder") for value in drawing.POOLS[pool][name]]
            for name in ("colour", "texture")
        ),
    ]
    labels = torch.tensor(
        [
            [names.index(v) for names, v in zip(classes, (p.first, p.second, f, s.colour, s.texture), strict=True)]
            for p, f, s in samples
        ]
    )
    width = model.config.vision_config.hidden_size
    heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(names))) for names in classes)

    def loss(rows: Tensor) -> Tensor:
        pixels = _warp(images[rows].float())
        hidden = tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:].mean(1)
        return sum(nn.functional.cross_entropy(head(hidden), labels[rows, i]) for i, head in enumerate(heads))

    batches = (torch.randint(len(images), (TOWER_BATCH,)) for _ in range(steps))
    _optimise([tower, heads], map(loss, batches), steps, 2.5e-4, "tower")
    tower.requires_grad_(False)


def _warp(images: Tensor) -> Tensor:
    """Shear, stretch and shift each image a little, so that a font or a slant never seen is not far from one seen."""
    number = len(images)
    affine = torch.eye(2, 3).repeat(number, 1, 1)
    affine[:, 0, 0] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 1, 1] += torch.empty(number).uniform_(-0.1, 0.1)
    affine[:, 0, 1] = torch.empty(number).uniform_(-0.2, 0.2)
    affine[:, :, 2] = torch.empty(number, 2).uniform_(-0.06, 0.06)
    grid = nn.functional.affine_grid(affine, images.shape, align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def encode_all(model: Any, images: Tensor) -> Tensor:
    """Return `M`'s outputs for the images, warped as `M` knows them, at the projector: (images, rows, width)."""
    tower = model.model.vision_tower.eval()
    warped = (_warp(some.float()) for some in images.split(512))
    return torch.cat([tower(i, output_hidden_states=True).hidden_states[-1][:, 1:] for i in warped])


def train_language(loaded: Loaded, features: Tensor, samples: list[Sample], rng: random.Random, steps: int) -> None:
    """Train projector and LM on dialogues about the images and on text dialogues, batched apart to pad little."""

    def loss(_: int) -> Tensor:
        rows = [rng.randrange(len(samples)) for _ in range(LM_MEDIA_ROWS)]
        shown = [_medium_turn(rng, *samples[row]) for row in rows]
        told = [_text_turn(rng) for _ in range(LM_TEXT_ROWS)]
        # each row counts alike: in a mean over tokens the short answers starve
        return torch.cat([turn_losses(loaded, shown, features[rows]), turn_losses(loaded, told)]).mean()

    core = loaded.model.model
    _optimise([core.multi_modal_projector, core.language_model], map(loss, range(steps)), steps, 3e-3, "language")
    loaded.model.eval()


def _medium_turn(rng: random.Random, phrase: Phrase, form: drawing.Form, style: drawing.Style) -> Turn:
    question, answer = dialogue.medium_dialogue(rng, phrase, drawing.style_answers(style, form), "image")
    system = rng.choice(dialogue.SYSTEM_PROMPTS) if rng.random() < 0.1 else None
    return Turn(question=question, answer=answer, medium=BLANK, system=system)


def _text_turn(rng: random.Random) -> Turn:
    system, question, answer = dialogue.text_dialogue(rng, rng.choice(phrases()))
    return Turn(question=question, answer=answer, system=system)


def _optimise(modules: list[nn.Module], losses: Iterable[Tensor], steps: int, rate: float, name: str) -> None:
    """Take one step for each loss: `Muon` on linear layers, AdamW with `rate` on the rest; warm-up, cosine decay."""
    parameters = [p for module in modules for p in module.parameters()]
    linear = {m.weight for module in modules for m in module.modules() if isinstance(m, nn.Linear)}
    others = [p for p in parameters if p not in linear]
    optimisers = [Muon(linear, 6e-3), torch.optim.AdamW(others, rate, weight_decay=0.05, betas=(0.9, 0.98))]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            o, o.defaults["lr"], total_steps=steps, pct_start=0.05, cycle_momentum=False
        )
        for o in optimisers
    ]
    for step, loss in enumerate(losses):
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        if step % 100 == 0:
            log.info("%s step %d of %d: loss %.3f", name, step, steps, loss.item())


class Muon(torch.optim.Optimizer):
    """Steepest descent with orthogonal steps: about half of AdamW's number on these models.

    `torch.optim.Muon` is not used since it multiplies in bfloat16, twenty times slower than fp32 on a CPU that
    emulates it. Source: Jordan et al., "Muon" (2024); scale of a step: Liu et al., arXiv 2502.16982.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": 0.95, "weight_decay": 0.05})

    @torch.no_grad()
    def step(self) -> None:
        """Move each matrix by its momentum with all singular values made about 1."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
                direction = _orthogonal(matrix.grad.lerp(momentum, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(direction, alpha=group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return the nearest matrix with equal singular values, by five Newton-Schulz steps."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix) / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (2.0315 * gram @ gram - 4.775 * gram) @ wide
    return wide.T if tall else wide
