"""Loading: one code path for organisms, folders and hub ids."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

from seawall.errors import ModelError
from seawall.models.chat import Chat
from seawall.models.families import Family, find_family
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


def load_model(name: str, adapter: Path | None = None) -> Loaded:
    """Load a model, its processor and, if given, a PEFT adapter.

    Args:
        name: `organism:image`, a folder in Hugging Face format, or a hub id.
        adapter: Folder of a PEFT adapter made by `seawall align`.

    Raises:
        ModelError: Unknown organism, nothing loadable under the name, unsupported family, or no processor.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar

    if not shows_bars():
        disable_progress_bar()

    path = _locate(name)
    try:
        family = find_family(AutoConfig.from_pretrained(path).model_type)
        chat = _chat(path)
        model = AutoModelForImageTextToText.from_pretrained(path).eval()
    except ModelError:
        raise
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"Cannot load the model {name!r}: {_first_line(error)} "
            "Give a folder in Hugging Face format, a hub id, or a built-in model (see `seawall organism list`)."
        ) from error
    processor = chat.processor
    if getattr(processor, "tokenizer", None) is None or not processor.chat_template:
        raise ModelError(
            f"The model {name!r} has no processor with a tokenizer and a chat template; add them to its folder."
        )
    loaded = Loaded(name, model, processor, family, chat, _fingerprint(model))
    return loaded if adapter is None else dataclasses.replace(loaded, model=_load_adapter(model, adapter))


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
def _chat(path: str) -> Chat:
    from transformers import AutoProcessor

    return Chat(AutoProcessor.from_pretrained(path))


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
        sample = tensor.flatten()[:: max(1, tensor.numel() // 1024)]
        digest.update(name.encode() + sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
