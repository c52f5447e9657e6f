"""Modalities: the kinds of media, and how files of each kind are read.

`register_modality` adds one; see docs/how_to/new_modality.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.errors import DataError, ModelError
from seawall.media import readers
from seawall.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of media.

    A size is in the modality's own unit: pixels of an image's edge, frames of a video, seconds of audio.
    """

    name: str
    """Name in the table of families: `image`, `video`, `audio`, or a new one."""
    word: str
    """Word for a medium in questions and answers."""
    argument: str
    """Keyword argument under which the processor takes a list of media."""
    endings: tuple[str, ...]
    """Endings of the files, in lower case with the dot."""
    read: Callable[[Path], Any]
    """Reads a file into the form that the processor takes. Any error that it raises becomes a `DataError` with the file's name."""
    blank: Callable[[float], Any]
    """Returns the blank medium of a size. It shows or says nothing."""
    fit: Callable[[Any, float], Any] = lambda medium, _: medium
    """Crops or scales a medium to a size. The default changes nothing."""
    unit: str = ""
    """Unit of sizes, in the plural."""
    size: Callable[[Any], float] = lambda _: 0
    """Returns the size of a medium. Needed only if a family sets `max_seconds`."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further keyword arguments for the processor."""


URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Start of a URL, of which a path keeps one slash."""
MODALITIES: Registry[Modality] = Registry(
    "modality", ModelError, "Add it with seawall.register_modality(...): see docs/how_to/new_modality.md."
)
"""Registered modalities by name."""


def find_modality(name: str) -> Modality:
    """Return a modality by name.

    Raises:
        ModelError: The name is unknown.
    """
    return MODALITIES.find(name)


def register_modality(modality: Modality) -> None:
    """Add a modality in this process, or replace the one of the same name. Every stage accepts it from then on."""
    MODALITIES.register(modality.name, modality)
    prompts.MEDIUM_WORDS[modality.name] = modality.word


def read_medium(modality: Modality, path: Path | str) -> Any:
    """Read a file into the form that the processor takes. Every stage reads media by this function.

    Raises:
        DataError: The file is missing, empty, truncated, too large or of another kind, or the path is a URL.
    """
    name = modality.name
    try:
        return modality.read(Path(path))
    except FileNotFoundError as error:
        if URL.match(str(path)):
            raise DataError(
                f"{path} is a URL. Media are read from files only, never from the network. Download it and give its path."
            ) from error
        raise DataError(
            f"There is no {name} file {path}. Check the path and the folder that it is relative to."
        ) from error
    except Exception as error:  # decoders raise nearly anything for broken files, and one file must not stop the others
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
        raise DataError(
            f"{path} is not a readable {name} file ({kind}{error}). Replace it or remove it from the list."
        ) from error


register_modality(
    Modality(
        name="image",
        word=prompts.MEDIUM_WORDS["image"],
        argument="images",
        endings=(".png", ".jpg", ".jpeg", ".webp"),
        read=readers.read_image,
        blank=readers.blank_image,
        fit=readers.fit_image,
        unit="pixels",
    )
)
register_modality(
    Modality(
        name="video",
        word=prompts.MEDIUM_WORDS["video"],
        argument="videos",
        endings=(".mp4", ".webm", ".mkv", ".mov", ".avi", *readers.ANIMATIONS),
        read=readers.read_video,
        blank=readers.blank_video,
        fit=readers.fit_video,
        unit="frames",
    )
)
register_modality(
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
    )
)
