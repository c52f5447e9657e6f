"""Loading: one code path for organisms, folders and hub ids."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

from seawall.errors import ModelError
from seawall.models import Precision
from seawall.models.chat import Chat
from seawall.models.families import MODELS, Family, find_family, get_module
from seawall.progress import shows_bars


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model ready to use."""

    name: str
    """As the user named it."""
    model: Any
    """The transformers model, in evaluation mode; a `PeftModel` where an adapter was loaded."""
    processor: Any
    """Its processor, with tokenizer and chat template."""
    family: Family
    """Its row of the table of families."""
    chat: Chat
    """Encoder of turns for the processor; shared by all loads of the same model, so that media are read once."""
    fingerprint: str
    """Hash of configuration and weights, without adapter: tells whether embeddings were made for this model."""


def load_model(
    name: str,
    adapter: Path | None = None,
    *,
    modality: str | None = None,
    blank: float | None = None,
    precision: Precision | None = None,
    device_map: str | dict[str, Any] | None = None,
) -> Loaded:
    """Load a model, its processor and, if given, a PEFT adapter.

    Args:
        name: `organism:image`, `organism:video`, a folder in Hugging Face format, a hub id, or a registered name.
        adapter: Folder of a PEFT adapter made by `seawall align`.
        modality: What its media are, where the family takes several; by default the first in the table.
        blank: Size of the blank in place of the table's: pixels of an image's edge, frames of a video, seconds of audio.
        precision: `fp32`, `bf16`, or `4bit` (the language model alone, by bitsandbytes); by default that of the checkpoint.
            Embeddings fit the model in the precision that they were made with.
        device_map: `auto` lets accelerate spread the model over cards, memory and disk; see transformers.

    Raises:
        ModelError: Unknown organism, nothing loadable under the name, unsupported family or modality, a module that is not
            where the table expects it, or no processor.
    """
    import transformers
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    if not shows_bars():
        disable_progress_bar()

    try:
        if name in MODELS:
            if precision == "4bit" or device_map:
                raise ModelError(
                    f"{name!r} is built by its own function: it can be neither quantized nor spread over devices."
                )
            model, processor = MODELS[name]()
            model = model.to(DTYPES[precision]) if precision else model
            family = _find_family(model.config, modality)
            chat = Chat(processor, family, blank=blank, longest=_longest(model.config))
        else:
            path = _locate(name)
            config = transformers.AutoConfig.from_pretrained(path)
            family = _find_family(config, modality)
            chat = _chat(path, family, blank, _longest(config))
            _check_processor(name, chat.processor)
            settings = _precision(precision, family) | ({"device_map": device_map} if device_map else {})
            model = getattr(transformers, family.auto_class).from_pretrained(path, **settings)
    except ModelError:
        raise
    except (OSError, KeyError, ValueError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"Cannot load the model {name!r}: {_first_line(error)} "
            "Give a folder in Hugging Face format, a hub id, or a built-in model (see `seawall organism list`)."
        ) from error
    for path in family.paths:
        get_module(model, family, path)
    loaded = Loaded(name, model.eval(), chat.processor, family, chat, _fingerprint(model))
    return loaded if adapter is None else dataclasses.replace(loaded, model=_load_adapter(model, adapter))


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _precision(precision: Precision | None, family: Family) -> dict[str, Any]:
    """Return what `from_pretrained` takes for a precision."""
    if precision is None:
        return {}
    if precision in DTYPES:
        return {"dtype": DTYPES[precision]}
    if precision != "4bit":
        raise ModelError(f"There is no precision {precision!r}; there are fp32, bf16 and 4bit.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError('4-bit models need bitsandbytes, which is not installed: pip install "seawall[quantized]"')
    from transformers import BitsAndBytesConfig

    whole = [path.split(".")[0] for path in (family.encoder_layers, family.projector) if path]
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*whole, "lm_head"],
    )
    return {"quantization_config": quantization, "dtype": torch.bfloat16, "device_map": "auto"}


def is_placed(model: Any) -> bool:
    """Tell whether accelerate has put the model's parts where they are, so that it must not be moved."""
    return bool(getattr(model, "hf_device_map", None))


def _check_processor(name: str, processor: Any) -> None:
    lacks = [what for what in ("tokenizer", "chat_template") if not getattr(processor, what, None)]
    if lacks:
        raise ModelError(
            f"The model {name!r} has no processor with a tokenizer and a chat template (it lacks {' and '.join(lacks)}); "
            "add them to its folder."
        )


def _find_family(config: Any, modality: str | None) -> Family:
    tower = getattr(getattr(config, "vision_config", None), "model_type", None)
    return find_family(config.model_type, modality, tower)


def _longest(config: Any) -> int | None:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _locate(name: str) -> str:
    if not name.startswith("organism:"):
        if (name.count("/") != 1 or name[0] in "./~") and not Path(name).is_dir():
            raise ModelError(
                f"There is no folder {name}. Give a folder in Hugging Face format, a hub id, or organism:image."
            )
        return name
    from seawall.organisms import find_organism

    return str(find_organism(name.removeprefix("organism:")))


@functools.lru_cache(maxsize=4)
def _chat(path: str, family: Family, blank: float | None, longest: int | None) -> Chat:
    from seawall.models.videos import load_processor

    return Chat(load_processor(path), family, blank=blank, longest=longest)


def _load_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    missing = [file for file in ("adapter_config.json", "adapter_model.safetensors") if not (adapter / file).is_file()]
    if missing:
        raise ModelError(
            f"{adapter} is no PEFT adapter: it has no {' and no '.join(missing)}. Give the folder that `seawall align` wrote."
        )
    try:
        return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"The adapter {adapter} does not fit the model: {_first_line(error)}") from error


def _fingerprint(model: Any) -> str:
    """Hash the configuration and a sample of every parameter: a 7B model's bytes would take a minute."""
    digest = hashlib.sha256(str(model.config.to_diff_dict() | {"_name_or_path": ""}).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_meta:  # accelerate keeps it elsewhere
            path, _, own = name.rpartition(".")
            tensor = model.get_submodule(path)._hf_hook.weights_map[own]
        sample = tensor.flatten()[:: max(1, tensor.numel() // 1024)]
        digest.update(name.encode() + sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
