"""Listings of the command line, as rows of a table."""

from __future__ import annotations

from seawall.media.modality import find_modality
from seawall.models.families import FAMILIES


def list_families() -> list[dict[str, str]]:
    """Return one row for each supported model family: its names and the places of encoder (M), projector (P) and LM."""
    return [
        {
            "model type": family.model_type + (f" ({family.tower})" if family.tower else ""),
            "modality": family.modality,
            "M's layers": family.encoder_layers or "",
            "P": family.projector + (f", {family.deep_projectors}.*" if family.deep_projectors else ""),
            "LM": family.language_model,
            "blank": f"{family.blank} {find_modality(family.modality).unit}" if family.blank else "processor's",
            "auto class": family.auto_class,
            "placeholder": family.placeholder or f'{{"type": "{family.modality}"}}',
            "checked on": family.checked_on,
        }
        for family in FAMILIES
    ]
