"""Random models in the shapes of real checkpoints, for timings. The time of a step does not depend on the weights.

The text is tokenized by a built-in model's tokenizer, whose tokens are about as long as those of a large one. The
medium is a blank, whose tensors are made here in the shapes of the real processors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedTokenizerFast

from seawall.lab.organisms import find_organism
from seawall.models.chat import Chat
from seawall.models.families import find_family
from seawall.models.load import LoadedModel

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}"
    "{% else %}<medium>{% endif %}{% endfor %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
CLIP_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
QWEN2_7B = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL_AUDIO = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a model."""

    model_type: str
    """Type in the table of families. The model gets the family's first modality."""
    text: Mapping[str, Any]
    """Configuration of the language model."""
    tower: Mapping[str, Any]
    """Configuration of the encoder."""
    tokens: int
    """Number of tokens of a blank in the language model."""


LLAVA_7B = Shape(
    model_type="llava",
    text={**LLAMA_7B, "num_key_value_heads": 32, "vocab_size": 32064},
    tower={**CLIP_L, "image_size": 336, "patch_size": 14},
    tokens=576,
)
QWEN2_VL_7B = Shape(
    model_type="qwen2_vl",
    text={**QWEN2_7B, "num_key_value_heads": 4, "vocab_size": 152064},
    tower={"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16},
    tokens=256,
)
QWEN2_AUDIO_7B = Shape(
    model_type="qwen2_audio",
    text={**LLAMA_7B, "num_key_value_heads": 32, "vocab_size": 156032},
    tower={"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120},
    tokens=750,
)
SHAPES = {"LLaVA-1.5-7B": LLAVA_7B, "Qwen2-VL-7B": QWEN2_VL_7B, "Qwen2-Audio-7B": QWEN2_AUDIO_7B}


def shrink(shape: Shape) -> Shape:
    """Return the same model at a width that runs anywhere. The medium keeps its number of tokens."""
    small = {**SMALL, "num_key_value_heads": 4}
    towers = {
        "llava": {**shape.tower, **SMALL},
        "qwen2_vl": {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 4},
        "qwen2_audio": SMALL_AUDIO,
    }
    return dataclasses.replace(shape, text={**shape.text, **small, "vocab_size": 1000}, tower=towers[shape.model_type])


def build(shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LoadedModel:
    """Return a random, frozen model of a shape on a device."""
    family = find_family(shape.model_type)
    tokens = PreTrainedTokenizerFast(
        tokenizer_file=str(find_organism("image") / "tokenizer.json"), pad_token="<pad>", eos_token="</s>"
    )
    tokens.add_tokens(["<medium>", "<start>"], special_tokens=True)
    medium, start = tokens.convert_tokens_to_ids(["<medium>", "<start>"])
    text = {"max_position_embeddings": 4096, **shape.text}
    if shape.model_type == "llava":
        vision = {"model_type": "clip_vision_model", **shape.tower}
        parts = {"vision_config": vision, "text_config": {"model_type": "llama", **text}, "image_token_index": medium}
        media = {"pixel_values": torch.zeros(1, 3, 336, 336)}
    elif shape.model_type == "qwen2_vl":
        half = shape.text["hidden_size"] // shape.text["num_attention_heads"] // 2
        sections = [half // 4, half * 3 // 8, half * 3 // 8]
        rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
        ids = {"image_token_id": medium, "video_token_id": start, "vision_start_token_id": start}
        parts = {"vision_config": dict(shape.tower), "text_config": {**text, "rope_parameters": rope}, **ids}
        media = {"pixel_values": torch.zeros(1024, 1176), "image_grid_thw": torch.tensor([[1, 32, 32]])}
    else:
        parts = {"audio_config": {"num_mel_bins": 128, **shape.tower}, "audio_token_index": medium}
        parts["text_config"] = {"model_type": "qwen2", **text}
        media = {"input_features": torch.zeros(1, 128, 3000), "feature_attention_mask": torch.ones(1, 3000).long()}
    torch.manual_seed(0)
    with torch.device(device):
        config = AutoConfig.for_model(shape.model_type, **parts)
        model = getattr(transformers, family.auto_class).from_config(config, dtype=dtype)
    processor = BlankProcessor(tokens, shape.tokens, media)
    chat = Chat(processor, family, blank=1)
    return LoadedModel(shape.model_type, model.eval().requires_grad_(False), processor, family, chat, "")


class BlankProcessor:
    """A processor for one medium, the blank."""

    chat_template = TEMPLATE

    def __init__(self, tokenizer: Any, tokens: int, media: dict[str, Tensor]) -> None:
        self.tokenizer, self.tokens, self.media = tokenizer, tokens, media

    def apply_chat_template(self, messages: list[dict], **settings: Any) -> str:
        """Return the messages as text."""
        return self.tokenizer.apply_chat_template(messages, chat_template=TEMPLATE, **settings)

    def __call__(self, text: list[str], **_: Any) -> dict[str, Tensor]:
        """Return token ids and the tensors of the blank."""
        lines = [line.replace("<medium>", "<medium>" * self.tokens) for line in text]
        ids = self.tokenizer(lines, return_tensors="pt", return_token_type_ids=False)
        shown = ids["input_ids"] == self.tokenizer.convert_tokens_to_ids("<medium>")
        aligned = {"mm_token_type_ids": shown.long()} if "image_grid_thw" in self.media else {}
        return {**ids, **aligned, **self.media}
