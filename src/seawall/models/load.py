"""Loading of models: built-in and registered ones, folders in Hugging Face format, and hub ids."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import torch

from seawall import compat
from seawall.errors import ModelError
from seawall.models.chat import Chat
from seawall.models.families import MODELS, Family, Precision, find_family, get_module
from seawall.models.steering.vector import SteeringVector, read_vector_for
from seawall.progress import shows_bars

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ARCHITECTURE = frozenset(
    [
        "num_attention_heads",
        "num_key_value_heads",
        "num_heads",
        "n_heads",
        "encoder_attention_heads",
        "head_dim",
        "hidden_act",
        "activation_function",
        "layer_norm_eps",
        "rms_norm_eps",
        "rope_theta",
        "rope_type",
        "mrope_section",
        "sliding_window",
        "layer_types",
        "image_size",
        "patch_size",
        "temporal_patch_size",
        "spatial_merge_size",
        "window_size",
        "vision_feature_layer",
        "vision_feature_select_strategy",
        "scale_factor",
        "downsample_ratio",
        "image_token_id",
        "image_token_index",
        "video_token_id",
        "audio_token_id",
        "audio_token_index",
        "tie_word_embeddings",
        "num_experts_per_tok",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logit_scale",
        "query_pre_attn_scalar",
    ]
)
"""Settings of a configuration, at any depth, that change what a model computes without changing the shape of a weight."""
SAMPLES = 1024
"""Values of each parameter that the fingerprint covers: hashing all bytes of a 7B model would take a minute."""


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with everything that the stages need to use it."""

    name: str
    """The name that the user gave."""
    model: Any
    """The transformers model in evaluation mode; a `PeftModel` if an adapter was loaded."""
    processor: Any
    """Its processor, with tokenizer and chat template."""
    family: Family
    """Its row in the table of families."""
    chat: Chat
    """Encodes examples for the processor. All loads of the same model share it, so that each medium is read once."""
    fingerprint: str
    """Hash of architecture and weights without adapter. It tells whether embeddings were made for this model."""
    steering: SteeringVector | None = None
    """What is added to a layer of the language model while it generates. None adds nothing. Losses are never steered."""


def load_model(
    name: str,
    adapter: Path | None = None,
    *,
    steering: Path | None = None,
    modality: str | None = None,
    blank: float | None = None,
    precision: Precision | None = None,
    device_map: str | dict[str, Any] | None = None,
) -> LoadedModel:
    """Load a model, its processor and, if given, a PEFT adapter.

    Args:
        name: Registered name, folder in Hugging Face format, or hub id.
        adapter: Folder of a PEFT adapter made by `seawall align`.
        steering: File of a steering vector made by `seawall steer` for this model.
        modality: Modality of its media, if the family takes several. None takes the family's first one.
        blank: Size of the blank medium: pixels of an image's edge, frames of a video, seconds of audio. None takes the size in the
            table of families, or the window of the feature extractor if that is shorter.
        precision: `fp32`, `bf16`, or `4bit` (the language model only, by bitsandbytes). None takes that of the checkpoint. Embeddings
            only fit a model in the precision that they were made with.
        device_map: As in transformers. `auto` spreads the model over GPUs, main memory and disk.

    Raises:
        ModelError: There is no model of this name, its family or modality is not supported, a module is not where the table of
            families expects it, the processor is missing, or the steering vector is of another model.
    """
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    if not shows_bars():
        disable_progress_bar()
    try:
        source = MODELS.find(name) if name in MODELS else _locate(name)
        made = source() if callable(source) else source
        if isinstance(made, tuple):
            model, chat = _build(name, *made, modality, blank, precision, device_map)
        else:
            model, chat = _load(name, str(made), modality, blank, precision, device_map)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"The weights of {name!r} contain pickled objects, which could run code, so nothing was loaded. Get the model as "
            "safetensors, from somebody you trust."
        ) from error
    except (OSError, KeyError, ValueError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"Cannot load the model {name!r}: {_first_line(error)} Give a folder in Hugging Face format, a hub id, or a registered "
            f"model ({', '.join(MODELS.names())})."
        ) from error
    for path in chat.family.paths:
        get_module(model, chat.family, path)
    chat.template.check()
    fingerprint = compute_fingerprint(model)
    vector = read_vector_for(steering, name, fingerprint) if steering else None
    loaded = LoadedModel(name, model.eval(), chat.processor, chat.family, chat, fingerprint, vector)
    return loaded if adapter is None else dataclasses.replace(loaded, model=_load_adapter(model, adapter))


def is_placed(model: Any) -> bool:
    """Return whether accelerate has distributed the model over devices, so that it must not be moved."""
    return bool(getattr(model, "hf_device_map", None))


def move_to_device(model: Any) -> None:
    """Move a model to the first GPU, if there is one and accelerate has not distributed the model."""
    if torch.cuda.is_available() and not is_placed(model):
        model.to("cuda")


def compute_fingerprint(model: Any) -> str:
    """Return a hash of a model's architecture and weights.

    It covers the model type, the settings in `ARCHITECTURE` and, of every parameter, the shape and `SAMPLES` values. Names of
    parameters and other settings are left out: they change between versions of transformers while the model stays the same.
    """
    digests = []
    for name, tensor in model.named_parameters():
        if tensor.is_meta:  # accelerate keeps it elsewhere
            tensor = compat.read_offloaded(model, name)
        sample = tensor.detach().flatten()[:: max(1, tensor.numel() // SAMPLES)].float().cpu().numpy()
        digests.append(hashlib.sha256(str(tuple(tensor.shape)).encode() + sample.tobytes()).hexdigest())
    settings = _list_settings(model.config.to_dict())
    whole = f"{model.config.model_type} {' '.join(sorted(settings))} {' '.join(sorted(digests))}"
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _list_settings(config: dict[str, Any], path: str = "") -> list[str]:
    """Return the settings of a configuration and of its parts that are in `ARCHITECTURE`, each as text."""
    found = []
    for name, value in config.items():
        if isinstance(value, dict):
            found += _list_settings(value, f"{path}{name}.")
        elif name in ARCHITECTURE and value is not None:
            found.append(f"{path}{name}={value}")
    return found


def _build(
    name: str,
    model: Any,
    processor: Any,
    modality: str | None,
    blank: float | None,
    precision: Precision | None,
    device_map: str | dict[str, Any] | None,
) -> tuple[Any, Chat]:
    """Return a registered model that a function makes."""
    if precision == "4bit" or device_map:
        raise ModelError(f"{name!r} is made by a function, so it can be neither quantised nor spread over devices.")
    model = model.to(DTYPES[precision]) if precision else model
    return model, Chat(
        processor, find_family_of(model.config, modality), blank=blank, context_length=_context_length(model.config)
    )


def _load(
    name: str,
    path: str,
    modality: str | None,
    blank: float | None,
    precision: Precision | None,
    device_map: str | dict[str, Any] | None,
) -> tuple[Any, Chat]:
    """Return a model from a folder or the hub."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    chat = _make_chat(path, find_family_of(config, modality), blank, _context_length(config))
    _check_processor(name, chat.processor)
    settings = _precision_settings(precision, chat.family) | ({"device_map": device_map} if device_map else {})
    auto_class = getattr(transformers, chat.family.auto_class)
    return auto_class.from_pretrained(path, trust_remote_code=False, **settings), chat


def _precision_settings(precision: Precision | None, family: Family) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` for a precision."""
    if precision is None:
        return {}
    if precision in DTYPES:
        return {"dtype": DTYPES[precision]}
    if precision != "4bit":
        raise ModelError(f"There is no precision {precision!r}. Known: fp32, bf16, 4bit.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError('4-bit models need bitsandbytes, which is not installed: pip install "seawall[quantized]"')
    from transformers import BitsAndBytesConfig

    not_quantised = [path.split(".")[0] for path in (family.encoder_layers, family.projector) if path]
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*not_quantised, "lm_head"],
    )
    return {"quantization_config": quantization, "dtype": torch.bfloat16, "device_map": "auto"}


def _check_processor(name: str, processor: Any) -> None:
    missing = [part for part in ("tokenizer", "chat_template") if not getattr(processor, part, None)]
    if missing:
        raise ModelError(
            f"The model {name!r} has no processor with a tokenizer and a chat template (missing: {' and '.join(missing)}). "
            "Add them to its folder."
        )


def find_family_of(config: Any, modality: str | None) -> Family:
    """Return the row of the table for a configuration of transformers. Raise ModelError if there is none."""
    tower = getattr(getattr(config, "vision_config", None), "model_type", None)
    return find_family(config.model_type, modality, tower)


def _context_length(config: Any) -> int | None:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _locate(name: str) -> Path | str:
    """Return a folder or hub id; raise ModelError for what can be neither."""
    is_hub_id = name.count("/") == 1 and name[0] not in "./~"
    if not is_hub_id and not Path(name).is_dir():
        raise ModelError(
            f"There is no folder and no registered model {name!r}. Give a folder in Hugging Face format, a hub id, or one of "
            f"{', '.join(MODELS.names())}."
        )
    return name


@functools.lru_cache(maxsize=4)
def _make_chat(path: str, family: Family, blank: float | None, context_length: int | None) -> Chat:
    from seawall.models.custom.qwen_video import load_processor

    return Chat(load_processor(path), family, blank=blank, context_length=context_length)


def _load_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    files = ("adapter_config.json", "adapter_model.safetensors")
    if missing := [file for file in files if not (adapter / file).is_file()]:
        raise ModelError(
            f"{adapter} is not a PEFT adapter: it has no {' and no '.join(missing)}. Give the folder that `seawall align` wrote."
        )
    try:
        return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"The adapter {adapter} does not fit the model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
