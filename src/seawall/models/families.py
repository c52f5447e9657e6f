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
    """`image`, `video`, `audio`, or one that was registered."""
    encoder_layers: str | None
    """The layers of `M` that are skipped when every medium is synthetic; None where nothing is skipped."""
    projector: str
    """`P`: the module whose first argument a synthetic embedding replaces."""
    deep_projectors: str | None = None
    """A list of further projectors, each of which takes the output of an earlier layer of `M`."""
    language_model: str = "language_model"
    """`LM`: what alignment trains."""
    auto_class: str = "AutoModelForImageTextToText"
    """The class of transformers that loads a checkpoint."""
    blank: float | None = None
    """Size of a blank: pixels of an image's edge, frames, seconds; None is the processor's own image size."""
    placeholder: str | None = None
    """Text that announces a medium; None where the chat template takes `{"type": modality}`."""
    answer_type: int = 0
    """`token_type_ids` of an answer's tokens; not 0 where the model attends from both sides to what has type 0."""
    checked_on: str
    """Version of transformers on which the conformance suite passed."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path of the row."""
        paths = (self.encoder_layers, self.projector, self.deep_projectors, self.language_model)
        return tuple(path for path in paths if path)


def _image(model_type: str, encoder_layers: str, projector: str, **more: Any) -> Family:
    return Family(
        model_type=model_type,
        modality="image",
        encoder_layers=encoder_layers,
        projector=projector,
        **{"checked_on": "5.23.0", **more},
    )


FAMILIES = [
    _image("llava", "vision_tower.encoder.layers", "multi_modal_projector"),
    _image("llava_next", "vision_tower.encoder.layers", "multi_modal_projector"),
    _image("qwen2_vl", "visual.blocks", "visual.merger", blank=448),
]


def register_family(family: Family) -> None:
    """Add a row to the table, or replace the one of the same type and modality, for this process.

    Example:
        >>> seawall.register_family(seawall.Family(
        ...     model_type="my_llava", modality="image", encoder_layers="vision_tower.encoder.layers",
        ...     projector="multi_modal_projector", checked_on="5.23.0"))
    """
    for place, row in enumerate(FAMILIES):
        if (row.model_type, row.modality) == (family.model_type, family.modality):
            FAMILIES[place] = family
            return
    FAMILIES.append(family)


def find_family(model_type: str, modality: str | None = None) -> Family:
    """Return the row of a `model_type`; without a modality its first one.

    Raises:
        ModelError: No row has this type, or none in this modality.
    """
    rows = [family for family in FAMILIES if family.model_type == model_type]
    if not rows:
        known = ", ".join(dict.fromkeys(family.model_type for family in FAMILIES))
        raise ModelError(
            f"The model is of type {model_type!r}, which Seawall does not know (it knows: {known}). Use a checkpoint of a known "
            "type, or register this one: seawall.register_family(seawall.Family(...)), see docs/families.md."
        )
    for family in rows:
        if modality in (None, family.modality):
            return family
    has = ", ".join(family.modality for family in rows)
    raise ModelError(
        f"Models of type {model_type!r} take {has}, not {modality}. Use another model, or run `seawall prepare` with "
        f"--modality {rows[0].modality}."
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


def get_projectors(model: Any, family: Family) -> list[Any]:
    """Return `P`, and behind it the deep projectors where the family has them."""
    deep = get_module(model, family, family.deep_projectors) if family.deep_projectors else ()
    return [get_module(model, family, family.projector), *deep]


def get_layers(model: Any, family: Family) -> list[Any]:
    """Return the layers of `M` that may be skipped."""
    return list(get_module(model, family, family.encoder_layers)) if family.encoder_layers else []


def base_model(model: Any) -> Any:
    """Return the transformers model without its head, also from below a PEFT wrapper."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).base_model
