"""Modalities: kinds of media, and how files of each are read, blanked and fitted.

`register_modality` adds one; see docs/new_modality.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.errors import DataError, ModelError
from seawall.media import readers
from seawall.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of medium."""

    name: str
    """As in the table of families: `image`, `video`, `audio`, or one of yours."""
    word: str
    """What it is called in questions and answers."""
    argument: str
    """The keyword under which a processor takes a list of such media."""
    endings: tuple[str, ...]
    """Endings of its files."""
    read: Callable[[Path], Any]
    """Returns a file as the processor takes it; raises OSError, EOFError or ValueError where it cannot be read."""
    blank: Callable[[float], Any]
    """Returns the medium that shows nothing, of the given size."""
    fit: Callable[[Any, float], Any] = lambda medium, _: medium
    """Returns a medium cut or scaled to the given size."""
    unit: str = ""
    """What the size counts."""
    size: Callable[[Any], float] = lambda _: 0
    """Returns the size of a medium, where a family limits it."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further keywords for the processor."""


MODALITIES: Registry[Modality] = Registry(
    "modality", ModelError, "Add it with seawall.register_modality(...): see docs/new_modality.md."
)


def find_modality(name: str) -> Modality:
    """Return a modality by name.

    Raises:
        ModelError: There is no such modality.
    """
    return MODALITIES.find(name)


def register_modality(modality: Modality) -> None:
    """Add a modality, or replace one, in this process. Every stage then takes its name."""
    MODALITIES.register(modality.name, modality)
    prompts.MEDIUM_WORDS[modality.name] = modality.word


def read_medium(modality: Modality, path: Path | str) -> Any:
    """Return a medium's file as the processor takes it.

    Raises:
        DataError: The file is missing, empty, cut short or not of this modality.
    """
    name = modality.name
    try:
        return modality.read(Path(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no {name} {path}. Check the folder that the media list stands in.") from error
    except (OSError, EOFError, ValueError, SyntaxError) as error:  # Pillow and PyAV raise all of these
        raise DataError(
            f"{path} is not a readable {name} ({error}). Replace the file or take it off the list."
        ) from error


for _modality in (
    Modality(
        name="image",
        word=prompts.MEDIUM_WORDS["image"],
        argument="images",
        endings=(".png", ".jpg", ".jpeg", ".webp"),
        read=readers.read_image,
        blank=readers.blank_image,
        fit=readers.fit_image,
        unit="pixels",
    ),
    Modality(
        name="video",
        word=prompts.MEDIUM_WORDS["video"],
        argument="videos",
        endings=(".mp4", ".webm", ".mkv", ".mov", ".avi", *readers.ANIMATIONS),
        read=readers.read_video,
        blank=readers.blank_video,
        fit=readers.fit_video,
        unit="frames",
    ),
    Modality(
        name="audio",
        word=prompts.MEDIUM_WORDS["audio"],
        argument="audio",
        endings=(".wav", ".mp3", ".flac", ".ogg", ".m4a"),
        read=readers.read_audio,
        blank=readers.blank_audio,
        fit=readers.fit_audio,
        unit="seconds",
        size=lambda audio: len(audio) / readers.SAMPLING_RATE,
        settings={"sampling_rate": readers.SAMPLING_RATE},
    ),
):
    register_modality(_modality)
