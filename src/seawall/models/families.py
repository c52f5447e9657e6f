"""The table of model families: where each keeps its encoder's layers, its projector and its language model.

This is the only place that knows a module path of a transformers model.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from seawall.errors import ModelError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One family in one modality. Paths are dotted, below the base model (`model.` in the full model)."""

    model_type: str
    """`config.model_type` of its checkpoints."""
    modality: str
    """`image`, `video` or `audio`."""
    encoder_layers: str
    """The layers of `M` that are skipped when every medium is synthetic."""
    projector: str
    """`P`: the module whose first argument a synthetic embedding replaces."""
    language_model: str
    """`LM`: what alignment trains."""
    checked_on: str
    """Version of transformers on which the paths were checked."""


FAMILIES = (
    Family(
        model_type="llava",
        modality="image",
        encoder_layers="vision_tower.encoder.layers",
        projector="multi_modal_projector",
        language_model="language_model",
        checked_on="5.23.0",
    ),
)


def find_family(model_type: str) -> Family:
    """Return the family of a `model_type`.

    Raises:
        ModelError: No row of the table has this type.
    """
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise ModelError(
        f"The model is of type {model_type!r}, which Seawall does not know (it knows: {known}). "
        "Use a checkpoint of a known type, or add a row to seawall/models/families.py."
    )


def get_module(model: Any, family: Family, path: str) -> Any:
    """Return the module at one of the family's paths, in a bare model or below a PEFT wrapper.

    Raises:
        ModelError: The path does not exist in this model.
    """
    base = base_model(model)
    try:
        return base.get_submodule(path)
    except AttributeError as error:
        raise ModelError(
            f"{type(base).__name__} has no module {path!r}, where the table of families expects it for "
            f"{family.model_type!r} (checked on transformers {family.checked_on}). Install that version, or mend the row."
        ) from error


def base_model(model: Any) -> Any:
    """Return the transformers model without its head, also from below a PEFT wrapper."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).base_model
