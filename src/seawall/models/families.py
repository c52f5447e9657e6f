"""The table of model families: where each keeps its encoder layers, its projector and its language model.

No other module knows a module path of a transformers model. M is the encoder, P the projector, LM the language model.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from seawall.errors import ModelError
from seawall.registry import Registry

Precision = Literal["fp32", "bf16", "4bit"]
"""Precisions that a model can be loaded in. `4bit` quantises the language model only, with bitsandbytes."""
ModelSource = Path | Callable[[], Path | tuple[Any, Any]]
"""Folder in Hugging Face format, or a function that returns model and processor."""
MODELS: Registry[ModelSource] = Registry("model", ModelError)
"""Registered models by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One model family in one modality.

    All paths are dotted and start at the base model, that is, below `model.` in the full model.
    """

    model_type: str
    """`config.model_type` of the checkpoints."""
    tower: str | None = None
    """`config.vision_config.model_type`, if checkpoints of one model type differ in it. None matches every tower."""
    modality: str
    """`image`, `video`, `audio` or a registered modality."""
    encoder_layers: str | None
    """Path of the list of encoder layers. They are skipped while every medium is synthetic. None skips nothing."""
    layers_return_tuples: bool = False
    """Whether an encoder layer returns a tuple instead of a tensor."""
    projector: str
    """Path of the projector, whose first argument a synthetic embedding replaces."""
    deep_projectors: str | None = None
    """Path of a list of further projectors, which read the outputs of earlier encoder layers. None if there are none."""
    language_model: str = "language_model"
    """Path of the language model, which alignment trains."""
    decoder_layers: str = "layers"
    """Path of the list of the language model's layers, below the language model. Steering changes the output of one of them."""
    auto_class: str = "AutoModelForImageTextToText"
    """transformers class that loads a checkpoint."""
    blank: float | None = None
    """Size of the blank medium: pixels of an image's edge, frames of a video, or seconds of audio. None takes the image size of
    the processor. Of audio, the window of the feature extractor is taken if it is shorter."""
    max_seconds: float | None = None
    """Longest medium that the model accepts, in seconds. Set it if the processor silently cuts off the rest. None sets no limit."""
    placeholder: str | None = None
    """Text that stands for a medium in a prompt. None if the chat template accepts `{"type": modality}`."""
    answer_token_type: int = 0
    """`token_type_ids` of answer tokens. Not 0 if the model attends to tokens of type 0 in both directions."""
    checked_on: str
    """transformers version on which the conformance suite passed."""

    @property
    def paths(self) -> tuple[str, ...]:
        """All module paths of the row."""
        paths = (self.encoder_layers, self.projector, self.deep_projectors, self.language_model)
        return tuple(path for path in paths if path)


def _row(model_type: str, modality: str, encoder_layers: str, projector: str, **more: Any) -> Family:
    settings = {"auto_class": "AutoModelForMultimodalLM", "checked_on": "5.23.0", **more}
    return Family(
        model_type=model_type, modality=modality, encoder_layers=encoder_layers, projector=projector, **settings
    )


_TOWER, _VISION, _MMP = "vision_tower.encoder.layers", "vision_model.encoder.layers", "multi_modal_projector"
_DEEP = {"deep_projectors": "visual.deepstack_merger_list"}
_OMNI = {"deep_projectors": "visual.merger_list"}
_SEQ2SEQ = {"auto_class": "AutoModelForSeq2SeqLM"}

# fmt: off
FAMILIES = [
    #    model type                modality  encoder layers                    projector
    _row("llava",                  "image",  _TOWER,                           _MMP),
    _row("llava",                  "image",  "vision_tower.transformer.layers", _MMP, tower="pixtral", blank=448),
    _row("vipllava",               "image",  _TOWER,                           _MMP),
    _row("llava_next",             "image",  _TOWER,                           _MMP),
    _row("llava_next_video",       "video",  _TOWER,                           _MMP, blank=8),
    _row("llava_next_video",       "image",  _TOWER,                           _MMP),
    _row("llava_onevision",        "image",  _TOWER,                           _MMP),
    _row("llava_onevision",        "video",  _TOWER,                           _MMP, blank=8),
    _row("video_llava",            "video",  "video_tower.encoder.layers",     _MMP, blank=8),
    _row("video_llava",            "image",  "image_tower.encoder.layers",     _MMP),
    _row("qwen2_vl",               "image",  "visual.blocks",                  "visual.merger", blank=448),
    _row("qwen2_vl",               "video",  "visual.blocks",                  "visual.merger", blank=8),
    _row("qwen2_5_vl",             "image",  "visual.blocks",                  "visual.merger", blank=448),
    _row("qwen2_5_vl",             "video",  "visual.blocks",                  "visual.merger", blank=8),
    _row("qwen3_vl",               "image",  "visual.blocks",                  "visual.merger", **_DEEP, blank=512),
    _row("qwen3_vl",               "video",  "visual.blocks",                  "visual.merger", **_DEEP, blank=8),
    _row("qwen3_vl_moe",           "image",  "visual.blocks",                  "visual.merger", **_DEEP, blank=512),
    _row("qwen3_vl_moe",           "video",  "visual.blocks",                  "visual.merger", **_DEEP, blank=8),
    _row("qwen3_5",                "image",  "visual.blocks",                  "visual.merger", blank=512),
    _row("qwen3_5",                "video",  "visual.blocks",                  "visual.merger", blank=8),
    _row("qwen2_5_omni_thinker",   "image",  "visual.blocks",                  "visual.merger", blank=448),
    _row("qwen2_5_omni_thinker",   "video",  "visual.blocks",                  "visual.merger", blank=8),
    _row("qwen2_5_omni_thinker",   "audio",  "audio_tower.layers",             "audio_tower.proj", layers_return_tuples=True, blank=30, max_seconds=300),
    _row("qwen3_omni_moe_thinker", "image",  "visual.blocks",                  "visual.merger", **_OMNI, blank=512),
    _row("qwen3_omni_moe_thinker", "video",  "visual.blocks",                  "visual.merger", **_OMNI, blank=8),
    _row("qwen3_omni_moe_thinker", "audio",  "audio_tower.layers",             "audio_tower.proj1", layers_return_tuples=True, blank=30),
    _row("glm4v",                  "image",  "visual.blocks",                  "visual.merger", blank=448),
    _row("glm46v",                 "image",  "visual.blocks",                  "visual.merger", blank=448),
    _row("internvl",               "image",  "vision_tower.encoder.layer",     _MMP),
    _row("idefics2",               "image",  _VISION,                          "connector", language_model="text_model", blank=980),
    _row("idefics3",               "image",  _VISION,                          "connector", language_model="text_model"),
    _row("smolvlm",                "image",  _VISION,                          "connector", language_model="text_model"),
    _row("gemma3",                 "image",  _TOWER,                           _MMP),
    _row("gemma4",                 "image",  _TOWER,                           "embed_vision", blank=768),
    _row("paligemma",              "image",  _TOWER,                           _MMP, answer_token_type=1),
    _row("mistral3",               "image",  "vision_tower.transformer.layers", _MMP, blank=448),
    _row("lighton_ocr",            "image",  "vision_encoder.transformer.layers", "vision_projection", blank=448),
    _row("aya_vision",             "image",  _TOWER,                           _MMP),
    _row("cohere2_vision",         "image",  _TOWER,                           _MMP),
    _row("deepseek_vl",            "image",  _VISION,                          "aligner"),
    _row("video_llama_3",          "image",  _VISION,                          "projector", blank=448),
    _row("kimi_k25",               "image",  "vision_tower.layers",            "mm_projector", blank=448),
    _row("ovis2",                  "image",  "vision_tower.transformer.encoder.layers", "vision_tower.head_linear"),
    _row("qwen2_audio",            "audio",  "audio_tower.layers",             _MMP, blank=30, max_seconds=30),
    _row("voxtral",                "audio",  "audio_tower.layers",             _MMP, blank=30),
    _row("granite_speech",         "audio",  "encoder.layers",                 "projector", blank=30),
    _row("glmasr",                 "audio",  "audio_tower.layers",             _MMP, blank=30),
    _row("audioflamingo3",         "audio",  "audio_tower.layers",             _MMP, **_SEQ2SEQ, blank=30),
    _row("musicflamingo",          "audio",  "audio_tower.layers",             _MMP, **_SEQ2SEQ, blank=30),
]
# fmt: on


def register_family(family: Family) -> None:
    """Add a row to the table in this process. It replaces a row of the same model type, tower and modality.

    Example:
        >>> seawall.register_family(seawall.Family(
        ...     model_type="my_llava", modality="image", encoder_layers="vision_tower.encoder.layers",
        ...     projector="multi_modal_projector", checked_on="5.23.0"))
    """
    key = operator.attrgetter("model_type", "tower", "modality")
    for index, row in enumerate(FAMILIES):
        if key(row) == key(family):
            FAMILIES[index] = family
            return
    FAMILIES.append(family)


def register_model(name: str, source: ModelSource) -> None:
    """Register a model under a name that every stage accepts. The table of families needs a row for its type and modality.

    Args:
        name: What users pass as `model`.
        source: Folder in Hugging Face format, or a function that returns such a folder, or model and processor. Each call of
            the function must return new objects with the same weights. See docs/how_to/new_modality.md.
    """
    MODELS.register(name, source)


def is_registered_here_only(name: str) -> bool:
    """Return whether a model is registered in this process only, so that worker processes cannot load it."""
    return name in MODELS and MODELS.is_local(name)


def find_family(model_type: str, modality: str | None = None, tower: str | None = None) -> Family:
    """Return the row of the table for a model.

    Args:
        model_type: `config.model_type`.
        modality: Modality of the media. None returns the first row of the type.
        tower: `config.vision_config.model_type`, if the model has one.

    Raises:
        ModelError: The table has no row for this type, or none for this modality.
    """
    rows = [family for family in FAMILIES if family.model_type == model_type]
    rows = [family for family in rows if family.tower == tower] or [family for family in rows if not family.tower]
    if not rows:
        supported = ", ".join(dict.fromkeys(family.model_type for family in FAMILIES))
        raise ModelError(
            f"The model has type {model_type!r}, which Seawall does not support. Supported types: {supported}. Use a checkpoint of "
            "one of these, or register the type with seawall.register_family(seawall.Family(...)); see docs/how_to/new_family.md."
        )
    for family in rows:
        if modality in (None, family.modality):
            return family
    modalities = ", ".join(family.modality for family in rows)
    raise ModelError(
        f"Models of type {model_type!r} take {modalities}, not {modality}. Use another model, or run `seawall prepare` with "
        f"--modality {rows[0].modality}."
    )


def get_module(model: Any, family: Family, path: str) -> Any:
    """Return the module at one of the family's paths. The model may be wrapped by PEFT.

    Raises:
        ModelError: The model has no module at this path.
    """
    base = base_model(model)
    try:
        return base.get_submodule(path)
    except AttributeError as error:
        raise ModelError(
            f"{type(base).__name__} has no module {path!r}, although the table of families lists it for {family.model_type!r} "
            f"(checked on transformers {family.checked_on}). Install that version, or register a corrected row with "
            "seawall.register_family."
        ) from error


def get_projectors(model: Any, family: Family) -> list[Any]:
    """Return the projector, followed by the deep projectors if the family has any."""
    deep = get_module(model, family, family.deep_projectors) if family.deep_projectors else ()
    return [get_module(model, family, family.projector), *deep]


def get_layers(model: Any, family: Family) -> list[Any]:
    """Return the encoder layers that can be skipped."""
    return list(get_module(model, family, family.encoder_layers)) if family.encoder_layers else []


def get_decoder_layers(model: Any, family: Family) -> list[Any]:
    """Return the layers of the language model.

    Raises:
        ModelError: The model has no module at the row's path.
    """
    return list(get_module(model, family, f"{family.language_model}.{family.decoder_layers}"))


def unwrap(model: Any) -> Any:
    """Return the transformers model inside a PEFT wrapper, or the model itself if it is not wrapped."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def base_model(model: Any) -> Any:
    """Return the transformers model without its head. The model may be wrapped by PEFT."""
    return unwrap(model).base_model
