"""Tiny random models of the real classes, each with its real processor around a byte-level tokenizer.

`stand_ins.py` replaces the parts of processors that need torchvision, torchaudio or mistral_common.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedTokenizerFast, WhisperFeatureExtractor

from conformance import stand_ins
from seawall.compat import make_processor
from seawall.models.custom.qwen_video import QwenVideoProcessor
from seawall.models.families import Family

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
CLIP = {"model_type": "clip_vision_model", **VISION}
SIGLIP = {"model_type": "siglip_vision_model", **VISION, "vision_use_head": False}
AUDIO = {
    "num_mel_bins": 16,
    "max_source_positions": 100,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "d_model": 32,
}
CLIP_TOKENS = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
QWEN_SPECIAL = ("<|vision_start|>", "<|vision_end|>")
QWEN_NAMED = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
QWEN_MARKS = {f"{m}": f"<|vision_start|><|{m}_pad|><|vision_end|>" for m in ("image", "video")}
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
SQUARE = {"height": 56, "width": 56}
PINPOINTS = [[56, 112], [112, 56], [112, 112]]

BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {}


def builds(*model_types: str) -> Callable:
    """Register a function that returns configuration and processor of a model type."""

    def register(build: Callable[[str], tuple[Any, Any]]) -> Callable:
        BUILDERS.update((name, lambda name=name: build(name)) for name in model_types)
        return build

    return register


def tokenizer(*special: str, **named: str) -> Any:
    """Return a byte-level tokenizer. Special tokens in `named` become its attributes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = ["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bpe = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    built = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", bos_token="</s>", extra_special_tokens=named
    )
    built.add_tokens([*special], special_tokens=True)
    return built


def template(**marks: str) -> str:
    """Return a chat template that writes a mark for a medium of each type."""
    cases = "".join(f"{{% elif c.type == '{kind}' %}}{mark}" for kind, mark in marks.items())
    return (
        "{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
        "{% if c.type == 'text' %}{{ c.text }}" + cases + "{% endif %}{% endfor %}"
        "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )


def text(model_type: str, tokens: Any, **more: Any) -> dict:
    return {"model_type": model_type, **TEXT, "vocab_size": len(tokens) + 8} | more


def clip_images(cls: Any = transformers.CLIPImageProcessorPil, **more: Any) -> Any:
    return cls(size={"shortest_edge": 56}, crop_size=SQUARE, **more)


def windows(**more: Any) -> Any:
    """Return a feature extractor with windows of two seconds."""
    return WhisperFeatureExtractor(**{"feature_size": 16, "chunk_length": 2} | more)


def llava_config(name: str, tokens: Any, language: str = "llama", vision: dict = CLIP, **more: Any) -> Any:
    """Return a configuration of a LLaVA-like class. `more` is added to tower and tokens."""
    named = {f"{m}_token_index": getattr(tokens, f"{m}_token_id", None) for m in ("image", "video")}
    named = {key: number for key, number in named.items() if number is not None}
    return AutoConfig.for_model(name, text_config=text(language, tokens), vision_config=vision, **named, **more)


@builds("llava", "vipllava")
def llava(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>")
    more = {"vision_feature_layer": [-2, -1]} if name == "vipllava" else {}
    processor = transformers.LlavaProcessor(
        clip_images(), tokens, **CLIP_TOKENS, chat_template=template(image="<image>")
    )
    return llava_config(name, tokens, **more), processor


@builds("llava_next")
def llava_next(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>")
    images = clip_images(transformers.LlavaNextImageProcessorPil, image_grid_pinpoints=PINPOINTS)
    processor = transformers.LlavaNextProcessor(images, tokens, **CLIP_TOKENS, chat_template=template(image="<image>"))
    return llava_config(name, tokens, image_grid_pinpoints=PINPOINTS), processor


@builds("llava_onevision")
def llava_onevision(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>", video_token="<video>")
    pinpoints = [[56, 56], *PINPOINTS]
    images = transformers.LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=pinpoints)
    config = llava_config(name, tokens, "qwen2", SIGLIP, image_grid_pinpoints=pinpoints)
    return config, make_processor(
        transformers.LlavaOnevisionProcessor,
        images,
        tokens,
        stand_ins.Frames(56),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template(image="<image>", video="<video>"),
    )


@builds("llava_next_video")
def llava_next_video(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>", video_token="<video>")
    config = llava_config(name, tokens, image_grid_pinpoints=PINPOINTS)
    return config, make_processor(
        transformers.LlavaNextVideoProcessor,
        stand_ins.Frames(56),
        clip_images(transformers.LlavaNextImageProcessorPil, image_grid_pinpoints=PINPOINTS),
        tokens,
        **CLIP_TOKENS,
        chat_template=template(image="<image>", video="<video>"),
    )


@builds("video_llava")
def video_llava(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>", video_token="<video>")
    return llava_config(name, tokens), make_processor(
        transformers.VideoLlavaProcessor,
        clip_images(),
        stand_ins.Frames(56),
        tokens,
        patch_size=14,
        num_additional_image_tokens=1,
        chat_template=template(image="<image>", video="<video>"),
    )


@builds("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
def qwen_vl(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(*QWEN_SPECIAL, **QWEN_NAMED)
    patch = 16 if "qwen3" in name else 14
    moe = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16} if "moe" in name else {}
    layers = 3 if "qwen3" in name else 2  # a deep projector after the last layer would get no gradient
    config = AutoConfig.for_model(
        name,
        text_config=text(f"{name}_text", tokens, rope_parameters=MROPE, num_hidden_layers=layers, **moe),
        vision_config=qwen_vision(name),
        **qwen_ids(tokens),
    )
    cls = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor"}.get(name, "Qwen3VLProcessor")
    videos = (
        stand_ins.QwenVideo(patch)
        if patch == 16
        else QwenVideoProcessor(size={"shortest_edge": 56**2, "longest_edge": 56**2})
    )
    return config, make_processor(
        getattr(transformers, cls), qwen_images(patch), tokens, videos, chat_template=template(**QWEN_MARKS)
    )


def qwen_ids(tokens: Any) -> dict[str, int]:
    start, end = tokens.convert_tokens_to_ids(QWEN_SPECIAL)
    named = {"image_token_id": tokens.image_token_id, "video_token_id": tokens.video_token_id}
    return {**named, "vision_start_token_id": start, "vision_end_token_id": end}


def qwen_images(patch: int) -> Any:
    limits = {"shortest_edge": (2 * patch) ** 2, "longest_edge": 448**2}
    return transformers.Qwen2VLImageProcessorPil(patch_size=patch, size=limits)


def qwen_vision(name: str) -> dict:
    if name == "qwen2_vl":
        return {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    common = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 32}
    if "qwen2_5" in name:
        return {"depth": 2, "fullatt_block_indexes": [1], "window_size": 56, "patch_size": 14, **common}
    return {
        "depth": 3,
        "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 16,
        "patch_size": 16,
        **common,
    }


@builds("internvl")
def internvl(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(
        context_image_token="<IMG_CONTEXT>", start_image_token="<img>", end_image_token="</img>", video_token="<video>"
    )
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen2", tokens),
        vision_config={**VISION, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokens.context_image_token_id,
    )
    images = transformers.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True)
    return config, make_processor(
        transformers.InternVLProcessor,
        images,
        tokens,
        stand_ins.Frames(56),
        image_seq_length=4,
        chat_template=template(image="<IMG_CONTEXT>"),
    )


@builds("idefics3", "smolvlm")
def idefics3(name: str) -> tuple[Any, Any]:
    special = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    special += tuple(f"<row_{row}_col_{col}>" for row in (1, 2) for col in (1, 2))
    tokens = tokenizer(*special, image_token="<image>")
    config = AutoConfig.for_model(
        name,
        text_config=text("llama", tokens),
        vision_config={**VISION, "model_type": f"{name}_vision"},
        image_token_id=tokens.image_token_id,
        pad_token_id=0,
    )
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    if name == "idefics3":
        images = transformers.Idefics3ImageProcessorPil(**sizes)
        return config, transformers.Idefics3Processor(
            images, tokens, image_seq_len=4, chat_template=template(image="<image>")
        )
    from transformers.models.smolvlm import processing_smolvlm

    processing_smolvlm.num2words = processing_smolvlm.num2words or str  # only video prompts use it
    return config, make_processor(
        transformers.SmolVLMProcessor,
        transformers.SmolVLMImageProcessorPil(**sizes),
        tokens,
        stand_ins.Frames(56),
        image_seq_len=4,
        chat_template=template(image="<image>"),
    )


@builds("gemma3")
def gemma3(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>")
    config = AutoConfig.for_model(
        name,
        text_config=text("gemma3_text", tokens, layer_types=["sliding_attention", "full_attention"]),
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        image_token_id=tokens.image_token_id,
        boi_token_index=tokens.boi_token_id,
        eoi_token_index=tokens.eoi_token_id,
    )
    return config, transformers.Gemma3Processor(
        transformers.Gemma3ImageProcessorPil(size=SQUARE),
        tokens,
        image_seq_length=4,
        chat_template=template(image="<start_of_image>"),
    )


@builds("paligemma")
def paligemma(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image>")
    images = transformers.SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = 16
    config = AutoConfig.for_model(
        name,
        text_config=text("gemma", tokens),
        vision_config={**SIGLIP, "projection_dim": 32},
        image_token_id=tokens.image_token_id,
        projection_dim=32,
        hidden_size=32,
    )
    return config, transformers.PaliGemmaProcessor(images, tokens, chat_template=template(image="<image>"))


@builds("mistral3", "llava:pixtral")
def pixtral(name: str) -> tuple[Any, Any]:
    tokens = tokenizer("[IMG_BREAK]", "[IMG_END]", image_token="[IMG]")
    llava = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"} if ":" in name else {}
    config = AutoConfig.for_model(
        name.split(":")[0],
        text_config=text("mistral", tokens),
        vision_config={**VISION, "model_type": "pixtral", "image_size": 112, "head_dim": 16},
        image_token_index=tokens.image_token_id,
        **llava,
    )
    size = 14 if llava else 28  # as `PixtralProcessor` sets it: the patch size times the spatial merge size
    images = transformers.PixtralImageProcessorPil(patch_size=size, size={"longest_edge": 112})
    return config, stand_ins.Pixtral(images, tokens, size, template(image="[IMG]"))


@builds("qwen2_audio")
def qwen2_audio(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(audio_token="<|AUDIO|>", audio_bos_token="<|audio_bos|>", audio_eos_token="<|audio_eos|>")
    config = AutoConfig.for_model(
        name, text_config=text("qwen2", tokens), audio_config=AUDIO, audio_token_index=tokens.audio_token_id
    )
    return config, transformers.Qwen2AudioProcessor(
        windows(),
        tokens,
        chat_template=template(audio="<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )


@builds("audioflamingo3")
def audioflamingo3(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(audio_token="<sound>")
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen2", tokens),
        audio_config={**VISION, "num_mel_bins": 16, "max_source_positions": 100},
        audio_token_id=tokens.audio_token_id,
    )
    return config, transformers.AudioFlamingo3Processor(windows(), tokens, chat_template=template(audio="<sound>"))


@builds("voxtral")
def voxtral(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(audio_token="[AUDIO]")
    config = AutoConfig.for_model(
        name,
        text_config=text("llama", tokens),
        audio_config={**VISION, "intermediate_size": 128, "num_mel_bins": 16, "max_source_positions": 100},
        audio_token_id=tokens.audio_token_id,
        hidden_size=32,
    )
    return config, stand_ins.Voxtral(windows(), tokens, 100 // 4, template(audio="[AUDIO]"))


@builds("granite_speech")
def granite_speech(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(audio_token="<|audio|>")
    config = AutoConfig.for_model(
        name,
        text_config=text("granite", tokens),
        encoder_config={
            "input_dim": 32, "num_layers": 2, "hidden_dim": 32, "num_heads": 2, "dim_head": 16, "output_dim": 8,
            "context_size": 20, "max_pos_emb": 32, "conv_kernel_size": 3, "dropout": 0.0,
        },
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 48, "encoder_hidden_size": 32, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        audio_token_index=tokens.audio_token_id,
        has_lora_adapter=False,
    )  # fmt: skip
    return config, make_processor(
        transformers.GraniteSpeechProcessor,
        stand_ins.GraniteAudio(32),
        tokens,
        chat_template=template(audio="<|audio|>"),
    )


@builds("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker")
def omni(name: str) -> tuple[Any, Any]:
    named = {f"{m}_{end}_token": f"<|{m}_{end}|>" for m in ("vision", "audio") for end in ("bos", "eos")}
    tokens = tokenizer(**named, audio_token="<|audio_pad|>", **QWEN_NAMED)
    three = "qwen3" in name
    short, patch = ("qwen3_omni_moe", 16) if three else ("qwen2_5_omni", 14)
    moe = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16} if three else {}
    suffix = "id" if three else "index"
    audio = {**AUDIO, "n_window": 50, "output_dim": 32, "max_source_positions": 1500}
    audio |= {"n_window_infer": 100, "conv_chunksize": 50, "downsample_hidden_size": 8} if three else {}
    config = AutoConfig.for_model(
        name,
        text_config=text(f"{short}_text", tokens, rope_parameters=MROPE, num_hidden_layers=3, **moe),
        vision_config=qwen_vision(short),
        audio_config=audio,
        **{f"{m}_token_{suffix}": getattr(tokens, f"{m}_token_id") for m in ("image", "video", "audio")},
        audio_start_token_id=tokens.audio_bos_token_id,
        vision_start_token_id=tokens.vision_bos_token_id,
        **({} if three else {"audio_end_token_id": tokens.audio_eos_token_id}),
    )
    cls = transformers.Qwen3OmniMoeProcessor if three else transformers.Qwen2_5OmniProcessor
    marks = {m: f"<|vision_bos|><|{m}_pad|><|vision_eos|>" for m in ("image", "video")}
    return config, make_processor(
        cls,
        qwen_images(patch),
        stand_ins.QwenVideo(patch),
        windows(chunk_length=4, return_attention_mask=True),
        tokens,
        chat_template=template(**marks, audio="<|audio_bos|><|audio_pad|><|audio_eos|>"),
    )


def build(family: Family) -> tuple[Any, Any]:
    """Return a random model of a family and its processor. Its weights are large enough to tell media apart."""
    torch.manual_seed(0)
    config, processor = BUILDERS[":".join(filter(None, (family.model_type, family.tower)))]()
    model = getattr(transformers, family.auto_class).from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model, processor
