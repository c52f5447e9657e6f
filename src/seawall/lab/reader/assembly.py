"""`organism:reader` as a folder in Hugging Face format: the pretrained part is fetched, the trained part is shipped."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import ModelError
from seawall.lab.reader.language_model import build_model, fetch_language_model, make_processor
from seawall.lab.reader.world.lettering import PATCH, SIDE

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

TRAINED = "trained.safetensors"
"""File with tower, projector and LoRA. Matrices are int8 with a scale for each row, everything else is fp16."""
SCALE, LORA = ":scale", "lora."
"""Ending of the name of a scale, and start of the names of the LoRA's weights."""
PARTS = ("vision_tower", "multi_modal_projector")
SHIPPED = Path(__file__).parents[1] / "organisms" / "weights" / "reader"
"""Folder with the trained part: tower, projector and LoRA."""


def find_reader() -> Path:
    """Return the folder of the whole model.

    Raises:
        ModelError: It was not fetched yet.
    """
    folder = _find_cache()
    if not (folder / "config.json").is_file():
        raise ModelError(
            "organism:reader contains a pretrained language model (SmolLM2-135M-Instruct, Apache-2.0, 93 MB), which is "
            "not fetched yet. Run `seawall organism fetch reader` once."
        )
    return folder


def fetch_reader() -> Path:
    """Fetch the language model, join it with the trained part, and return the folder of the whole model.

    A model that was fetched before is kept.

    Raises:
        ModelError: The language model cannot be downloaded.
    """
    folder = _find_cache()
    if not (folder / "config.json").is_file():
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            join(fetch_language_model(), SHIPPED, part)
            shutil.copy(SHIPPED / "README.md", part)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def join(language_model: tuple[Any, Any], trained: Path, out: Path) -> None:
    """Save a language model with a trained tower, projector and LoRA as one model, in bf16.

    Args:
        language_model: Language model and tokenizer; see `language_model`.
        trained: Folder with the trained part.
        out: Folder to write to.
    """
    import torch
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    lm, tokenizer = language_model
    processor = make_processor(tokenizer, SIDE, PATCH)
    weights = unpack(load_file(trained / TRAINED))
    lora = {name.removeprefix(LORA): value for name, value in weights.items() if name.startswith(LORA)}
    vision = {name: value for name, value in weights.items() if not name.startswith(LORA)}
    width = vision["vision_tower.embeddings.class_embedding"].shape[0]
    layers = len({name.split(".")[3] for name in vision if ".encoder.layers." in name})
    model = build_model(lm, processor, width=width, layers=layers)
    tuned: Any = get_peft_model(model, PeftConfig.from_pretrained(str(trained)))
    unknown = [*model.model.load_state_dict(vision, strict=False).unexpected_keys]
    placed: Any = set_peft_model_state_dict(tuned, lora)
    unknown += placed.unexpected_keys
    if unknown:
        raise ModelError(f"{trained / TRAINED} does not fit the model: {', '.join(unknown[:3])}.")
    out.mkdir(parents=True)
    tuned.merge_and_unload().to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)


def save_trained(model: Any, out: Path) -> None:
    """Save what was trained: tower and projector, and the LoRA.

    Args:
        model: A `PeftModel` of the whole model.
        out: Folder to write to.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    whole = model.get_base_model().model
    weights = {f"{part}.{name}": value for part in PARTS for name, value in getattr(whole, part).state_dict().items()}
    weights |= {f"{LORA}{name}": value for name, value in get_peft_model_state_dict(model).items()}
    save_file(pack({name: value for name, value in weights.items() if value.is_floating_point()}), out / TRAINED)
    model.peft_config["default"].save_pretrained(out)


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in about one byte each: see `TRAINED`."""
    import torch

    packed: dict[str, Tensor] = {}
    for name, value in weights.items():
        value = value.detach().float().cpu()
        if value.ndim < 2:
            packed[name] = value.half().contiguous()
            continue
        rows = value.flatten(1)
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        packed[name] = (rows / scale).round().to(torch.int8).view_as(value).contiguous()
        packed[name + SCALE] = scale[:, 0].contiguous()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of `pack`, fp32."""
    return {
        name: (value.flatten(1) * packed[name + SCALE][:, None]).view_as(value)
        if name + SCALE in packed
        else value.float()
        for name, value in packed.items()
        if not name.endswith(SCALE)
    }


def _find_cache() -> Path:
    """Return the folder in the user's cache. Its name changes with the shipped weights."""
    digest = hashlib.sha256((SHIPPED / TRAINED).read_bytes()).hexdigest()[:12]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "seawall" / f"reader-{digest}"
