"""Further tiny models, in the manner of `tiny.py`."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import AutoConfig

from conformance import stand_ins
from conformance.tiny import (
    MROPE,
    QWEN_MARKS,
    QWEN_NAMED,
    QWEN_SPECIAL,
    SIGLIP,
    SQUARE,
    TEXT,
    VISION,
    builds,
    qwen_ids,
    qwen_images,
    template,
    text,
    tokenizer,
    windows,
)  # fmt: skip
from seawall.compat import make_processor


@builds("aya_vision")
def aya_vision(name: str) -> tuple[Any, Any]:
    special = (
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_LINE_BREAK|>",
        "TILE_GLOBAL",
        *(f"TILE_{n}" for n in range(1, 5)),
    )
    tokens = tokenizer(*special, image_token="<image>", patch_token="<|IMG_PATCH|>")
    config = AutoConfig.for_model(
        name,
        text_config=text("cohere2", tokens, layer_types=["sliding_attention", "full_attention"]),
        vision_config=SIGLIP,
        image_token_index=tokens.patch_token_id,
    )
    return config, transformers.AyaVisionProcessor(
        transformers.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True),
        tokens,
        patch_size=14,
        img_size=56,
        downsample_factor=2,
        chat_template=template(image="<image>"),
    )


@builds("cohere2_vision")
def cohere2_vision(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(
        boi_token="<|START_OF_IMG|>",
        eoi_token="<|END_OF_IMG|>",
        image_token="<|IMG_PATCH|>",
        img_line_break_token="<|BREAK|>",
    )
    config = AutoConfig.for_model(
        name,
        text_config=text("cohere2", tokens, layer_types=["sliding_attention", "full_attention"]),
        vision_config=SIGLIP,
        image_token_id=tokens.image_token_id,
        alignment_intermediate_size=64,
    )
    images = stand_ins.CohereImages(size=SQUARE, crop_to_patches=True)
    return config, transformers.Cohere2VisionProcessor(images, tokens, chat_template=template(image="<|IMG_PATCH|>"))


@builds("glm4v", "glm46v")
def glm4v(name: str) -> tuple[Any, Any]:
    special = [f"<|{e}_of_{m}|>" for m in ("image", "video") for e in ("begin", "end")]
    tokens = tokenizer(*special, image_token="<|image|>", video_token="<|video|>")
    ids = dict(zip(special, tokens.convert_tokens_to_ids(special), strict=True))
    config = AutoConfig.for_model(
        name,
        text_config=text("glm4v_text", tokens, rope_parameters=MROPE),
        vision_config={
            "depth": 2, "hidden_size": 32, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32,
            "intermediate_size": 48, "image_size": 56,
        },
        image_token_id=tokens.image_token_id,
        video_token_id=tokens.video_token_id,
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
    )  # fmt: skip
    cls = {"glm4v": "Glm4v", "glm46v": "Glm46V"}[name]
    images = getattr(transformers, f"{cls}ImageProcessorPil")(size={"shortest_edge": 28**2, "longest_edge": 448**2})
    return config, make_processor(
        getattr(transformers, f"{cls}Processor"),
        images,
        tokens,
        None,
        chat_template=template(image="<|begin_of_image|><|image|><|end_of_image|>"),
    )


@builds("qwen3_5")
def qwen3_5(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(*QWEN_SPECIAL, **QWEN_NAMED)
    config = AutoConfig.for_model(
        name,
        text_config=text(
            "qwen3_5_text", tokens, layer_types=["linear_attention", "full_attention"],
            rope_parameters={**MROPE, "partial_rotary_factor": 1.0},
            linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=2,
        ),
        vision_config={
            "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 32,
            "num_position_embeddings": 16, "patch_size": 16,
        },
        **qwen_ids(tokens),
    )  # fmt: skip
    return config, make_processor(
        transformers.Qwen3VLProcessor,
        qwen_images(16),
        tokens,
        stand_ins.QwenVideo(16),
        chat_template=template(**QWEN_MARKS),
    )


@builds("video_llama_3")
def video_llama_3(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(**QWEN_NAMED)
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen2", tokens),
        vision_config={**VISION, "model_type": "video_llama_3_vision"},
        image_token_id=tokens.image_token_id,
        video_token_id=tokens.video_token_id,
    )
    images = transformers.VideoLlama3ImageProcessorPil(size={"shortest_edge": 28**2, "longest_edge": 448**2})
    return config, make_processor(
        transformers.VideoLlama3Processor, images, tokens, None, chat_template=template(image="<|image_pad|>")
    )


@builds("idefics2")
def idefics2(name: str) -> tuple[Any, Any]:
    tokens = tokenizer("<end_of_utterance>", image_token="<image>", image_boundary_token="<fake_token_around_image>")
    config = AutoConfig.for_model(
        name,
        text_config=text("mistral", tokens),
        vision_config={**VISION, "model_type": "idefics2_vision"},
        perceiver_config={
            "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
            "resampler_head_dim": 16, "num_key_value_heads": 2,
        },
        image_token_id=tokens.image_token_id,
    )  # fmt: skip
    images = transformers.Idefics2ImageProcessorPil(
        size={"shortest_edge": 56, "longest_edge": 56}, do_image_splitting=False
    )
    return config, transformers.Idefics2Processor(
        images, tokens, image_seq_len=4, chat_template=template(image="<image>")
    )


@builds("deepseek_vl")
def deepseek_vl(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(image_token="<image_placeholder>")
    config = AutoConfig.for_model(
        name, text_config=text("llama", tokens), vision_config=SIGLIP, image_token_id=tokens.image_token_id
    )
    images = transformers.DeepseekVLImageProcessorPil(size=SQUARE, min_size=14)
    return config, transformers.DeepseekVLProcessor(
        images, tokens, chat_template=template(image="<image_placeholder>"), num_image_tokens=16
    )


@builds("lighton_ocr")
def lighton_ocr(name: str) -> tuple[Any, Any]:
    tokens = tokenizer("[IMG_BREAK]", "[IMG_END]", image_token="[IMG]")
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen3", tokens),
        vision_config={**VISION, "model_type": "pixtral", "image_size": 112, "head_dim": 16},
        image_token_id=tokens.image_token_id,
    )
    images = transformers.PixtralImageProcessorPil(patch_size=14, size={"longest_edge": 112})
    return config, stand_ins.Pixtral(images, tokens, 28, template(image="[IMG]"))


@builds("kimi_k25")
def kimi_k25(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(*QWEN_SPECIAL, **QWEN_NAMED)
    config = AutoConfig.for_model(
        name,
        text_config=text(
            "deepseek_v3", tokens, moe_intermediate_size=16, n_routed_experts=4, n_group=2, topk_group=1,
            num_experts_per_tok=2, first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8,
            v_head_dim=16, qk_nope_head_dim=8, head_dim=8,
        ),
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "pos_emb_height": 4, "pos_emb_width": 4,
        },
        projection_hidden_size=32,
        **qwen_ids(tokens),
    )  # fmt: skip
    return config, make_processor(
        transformers.Kimi_K25Processor,
        stand_ins.KimiImages(14),
        tokens,
        None,
        chat_template=template(image=QWEN_MARKS["image"]),
    )


@builds("ovis2")
def ovis2(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(*(f"<IMG_{n}>" for n in range(5)), image_token="<image>")
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen2", tokens),
        vision_config={**VISION, "vocab_size": 64, "hidden_stride": 1},
        image_token_id=tokens.image_token_id,
        visual_indicator_token_ids=tokens.convert_tokens_to_ids([f"<IMG_{n}>" for n in range(5)]),
        vocab_size=len(tokens) + 8,
        hidden_size=32,
    )
    images = transformers.SiglipImageProcessorPil(size=SQUARE)
    return config, stand_ins.Tiles(images, tokens, 16, template(image="<image>"))


@builds("glmasr")
def glmasr(name: str) -> tuple[Any, Any]:
    tokens = tokenizer(audio_token="<|audio_pad|>")
    config = AutoConfig.for_model(
        name,
        text_config=text("llama", tokens),
        audio_config={**TEXT, "intermediate_size": 128, "num_mel_bins": 16, "max_position_embeddings": 100},
        audio_token_id=tokens.audio_token_id,
    )
    return config, transformers.GlmAsrProcessor(
        windows(), tokens, audio_token="<|audio_pad|>",
        chat_template=template(audio="<|audio_pad|>"),
    )  # fmt: skip


@builds("musicflamingo")
def musicflamingo(name: str) -> tuple[Any, Any]:
    tokens = tokenizer("<|sound_bos|>", "<|sound_eos|>", audio_token="<sound>")
    start, end = tokens.convert_tokens_to_ids(["<|sound_bos|>", "<|sound_eos|>"])
    config = AutoConfig.for_model(
        name,
        text_config=text("qwen2", tokens),
        audio_config={
            "model_type": "audioflamingo3_encoder",
            **VISION,
            "num_mel_bins": 16,
            "max_source_positions": 100,
        },
        audio_token_id=tokens.audio_token_id,
        audio_bos_token_id=start,
        audio_eos_token_id=end,
        head_dim=32,
    )
    return config, transformers.MusicFlamingoProcessor(
        windows(), tokens,
        chat_template=template(audio="<sound>"),
    )  # fmt: skip


@builds("gemma4")
def gemma4(name: str) -> tuple[Any, Any]:
    named = {"image_token": "<|image|>", "boi_token": "<|boi|>", "eoi_token": "<|eoi|>"}
    named |= {"audio_token": "<|audio|>", "boa_token": "<|boa|>", "eoa_token": "<|eoa|>"}
    tokens = tokenizer("<|video|>", **named)
    config = AutoConfig.for_model(
        name,
        text_config=text(
            "gemma4_text", tokens, layer_types=["sliding_attention", "full_attention"], hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=len(tokens) + 8, per_layer_config={},
        ),
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "head_dim": 16, "pooling_kernel_size": 2, "patch_size": 14, "position_embedding_size": 64,
        },
        image_token_id=tokens.image_token_id, video_token_id=tokens.convert_tokens_to_ids("<|video|>"),
        boi_token_id=tokens.boi_token_id, eoi_token_id=tokens.eoi_token_id, audio_token_id=tokens.audio_token_id,
        boa_token_id=tokens.boa_token_id, eoa_token_id=tokens.eoa_token_id,
    )  # fmt: skip
    images = transformers.Gemma4ImageProcessorPil(patch_size=14, pooling_kernel_size=2, max_soft_tokens=70)
    return config, make_processor(
        transformers.Gemma4Processor, None, images, tokens, None, chat_template=template(image="<|image|>")
    )
