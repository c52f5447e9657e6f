"""Sizes of media: the longest one that a processor takes, and the size of the blank medium."""

from __future__ import annotations

from typing import Any

from seawall.errors import ModelError
from seawall.media.modality import find_modality
from seawall.models.families import Family

WHOLE = ("pixels", "frames")
"""Units whose sizes are whole numbers."""


def find_max_seconds(family: Family, processor: Any) -> float | None:
    """Return the longest medium of which a processor cuts off nothing, in seconds. None if it cuts off nothing at any length.

    Args:
        family: The model's row in the table of families.
        processor: Its processor. `chunk_length` and `max_audio_len` are the lengths that some of transformers cut to.
    """
    if family.modality != "audio":
        return family.max_seconds
    limits = [
        family.max_seconds,
        find_window(family, processor) if family.max_seconds else None,
        getattr(processor, "max_audio_len", None),
    ]
    return min((limit for limit in limits if limit), default=None)


def find_window(family: Family, processor: Any) -> float | None:
    """Return the length of the feature extractor's window in seconds. None if the modality or the extractor has none."""
    if family.modality != "audio":
        return None
    return getattr(getattr(processor, "feature_extractor", None), "chunk_length", None)


def choose_blank(family: Family, processor: Any, wanted: float | None) -> float | None:
    """Return the size of the blank medium in the modality's unit. None leaves it to the processor's image size.

    By default it is the size in the table of families, or the window of the model's feature extractor if that is shorter: a blank
    of several windows would make an embedding several times as large as that of a real sound.

    Args:
        family: The model's row in the table of families.
        processor: Its processor.
        wanted: The size that the user chose.

    Raises:
        ModelError: The model cannot take a medium of the chosen size.
    """
    unit, longest = find_modality(family.modality).unit, find_max_seconds(family, processor)
    if wanted is not None:
        if wanted <= 0 or (unit in WHOLE and wanted != int(wanted)):
            kind = "a whole number above 0" if unit in WHOLE else "above 0"
            raise ModelError(f"The blank has {wanted:g} {unit}; it must be {kind}. Change --blank.")
        if longest and wanted > longest:
            raise ModelError(
                f"A blank of {wanted:g} {unit} is too long: this model of type {family.model_type!r} takes {longest:g}. Give at "
                "most that as --blank."
            )
        return wanted
    limits = [limit for limit in (longest, find_window(family, processor)) if limit]
    shortest = min(limits, default=None)
    if shortest is None or (family.blank and family.blank <= shortest):
        return family.blank
    return shortest
