"""Tiny random models of the real classes, each with its real processor around a byte-level tokenizer.

What cannot be built without torchvision (video processors), torchaudio (Granite) or mistral_common (Voxtral) is written
here by its published arithmetic; `STAND_INS` says for which rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedTokenizerFast

TYPED = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
    "{% if c.type == 'text' %}{{ c.text }}{% else %}MARK{% endif %}{% endfor %}"
    "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {}


def builds(model_type: str) -> Callable:
    def register(build: Callable[[], tuple[Any, Any]]) -> Callable:
        BUILDERS[model_type] = build
        return build

    return register


def tokenizer(*special: str, **named: str) -> Any:
    """Return a byte-level tokenizer; `named` special tokens become its attributes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<pad>", "</s>", *alphabet]
    bpe = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    built = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", bos_token="</s>", extra_special_tokens=named
    )
    built.add_special_tokens({"additional_special_tokens": [*special, *named.values()]}, replace_extra_special_tokens=False)
    return built


def text(model_type: str, tokens: Any, **more: Any) -> dict:
    return {"model_type": model_type, **TEXT, "vocab_size": len(tokens), **more}


def unchecked(cls: type) -> type:
    """Return a processor class that takes any object for its parts."""
    return type(cls.__name__, (cls,), {"check_argument_for_proper_class": lambda *_: None, "__init__": cls.__init__})


@builds("llava")
def llava() -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>")
    config = AutoConfig.for_model(
        "llava",
        text_config=text("llama", tokens),
        vision_config={"model_type": "clip_vision_model", **VISION},
        image_token_index=tokens.image_token_id,
    )
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    return config, transformers.LlavaProcessor(
        images, tokens, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TYPED.replace("MARK", "<image>"),
    )  # fmt: skip


@builds("llava_next")
def llava_next() -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>")
    pinpoints = [[56, 112], [112, 56], [112, 112]]
    config = AutoConfig.for_model(
        "llava_next",
        text_config=text("llama", tokens),
        vision_config={"model_type": "clip_vision_model", **VISION},
        image_token_index=tokens.image_token_id,
        image_grid_pinpoints=pinpoints,
    )
    images = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=pinpoints
    )
    return config, transformers.LlavaNextProcessor(
        images, tokens, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TYPED.replace("MARK", "<image>"),
    )  # fmt: skip


@builds("qwen2_vl")
def qwen2_vl() -> tuple[Any, Any]:
    tokens = tokenizer(
        "<|vision_start|>", "<|vision_end|>", image_token="<|image_pad|>", video_token="<|video_pad|>"
    )
    ids = tokens.convert_tokens_to_ids
    config = AutoConfig.for_model(
        "qwen2_vl",
        text_config=text("qwen2_vl_text", tokens, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}),
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14},
        image_token_id=tokens.image_token_id, video_token_id=tokens.video_token_id,
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    images = transformers.Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 224 * 224})
    return config, unchecked(transformers.Qwen2VLProcessor)(
        images, tokens, None, chat_template=TYPED.replace("MARK", "<|vision_start|><|image_pad|><|vision_end|>")
    )
