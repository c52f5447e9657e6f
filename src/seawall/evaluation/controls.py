"""Controls: the same text with a blank medium, and with none, to tell the medium's effect from that of any medium."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import ConfigError, DataError
from seawall.media.modality import Modality, find_modality, read_medium
from seawall.media.readers import SAMPLING_RATE
from seawall.store.caches import make_private
from seawall.store.files import write_durably
from seawall.store.items import Item

log = logging.getLogger(__name__)

BLANK, NONE = "blank", "none"
GREY = 128
"""Level of every pixel of a blank image or video, as of the blank media that a synthesis starts from."""


def add_controls(items: Sequence[Item], controls: Sequence[str]) -> list[Item]:
    """Return items followed by their controls. Items without a medium have none.

    A blank image is grey and has the size of the medium. A blank video has also its number of frames, and a blank sound is
    silence of its length. They are kept in the user's cache.

    Args:
        items: Items of a benchmark.
        controls: `blank`, `none`, or both.

    Raises:
        ConfigError: No item has a medium, or there is no blank medium of a modality.
    """
    shown = [item for item in items if item.modality]
    if controls and not shown:
        raise ConfigError("No item that is asked has a medium, so there is nothing to control. Leave out --controls.")
    added, textless, broken = [], 0, 0
    for item in shown:
        for control in controls:
            if control == NONE and not item.text:
                textless += 1
                continue
            try:
                added.append(_make_control(item, control))
            except DataError:  # its own question fails with the reason
                broken += 1
    if textless:
        log.warning("%d items have no text, so they are not asked without their medium.", textless)
    if broken:
        log.warning("%d media cannot be read, so they have no blank control.", broken)
    return [*items, *added]


def _make_control(item: Item, control: str) -> Item:
    changes: dict[str, Any] = {"id": f"{item.id}/{control}", "control": control}
    if control == NONE:
        return dataclasses.replace(item, modality=None, medium=None, **changes)
    assert item.modality and item.medium
    return dataclasses.replace(item, medium=find_blank(find_modality(item.modality), item.medium), **changes)


def find_blank(modality: Modality, medium: Path) -> Path:
    """Return the file of a blank medium of the same size. It is written once, into the user's cache.

    Args:
        modality: Modality of the medium.
        medium: File of the medium.

    Raises:
        ConfigError: There is no blank medium of the modality.
        DataError: The medium cannot be read.
    """
    from platformdirs import user_cache_path

    if modality.name not in _WRITERS:
        raise ConfigError(
            f"There is no blank control for the modality {modality.name!r}. Known: {', '.join(_WRITERS)}. Use --controls none."
        )
    size, ending, write = _WRITERS[modality.name]
    shape = size(read_medium(modality, medium))
    folder = user_cache_path("seawall") / "blanks"
    path = folder / f"{modality.name}-{'x'.join(map(str, shape))}{ending}"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=make_private(folder)) as own:  # two processes may write the same one
            write(Path(own) / path.name, *shape)
            os.replace(Path(own) / path.name, path)
    return path


def _write_image(path: Path, width: int, height: int) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (width, height), (GREY,) * 3).save(file, "PNG")
    write_durably(path, file.getvalue())


def _write_video(path: Path, frames: int, width: int, height: int) -> None:
    from PIL import Image

    from seawall.media.video import write_video

    write_video(path, [Image.new("RGB", (width, height), (GREY,) * 3)] * frames)


def _write_sound(path: Path, samples: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLING_RATE)
        sound.writeframes(bytes(2 * samples))
    write_durably(path, file.getvalue())


def _make_even(pixels: int) -> int:
    return pixels + pixels % 2  # H.264 has no odd sizes


_WRITERS: dict[str, tuple[Any, str, Any]] = {
    "image": (lambda image: image.size, ".png", _write_image),
    "video": (lambda video: (len(video), *map(_make_even, video.shape[2:0:-1])), ".mp4", _write_video),
    "audio": (lambda sound: (len(sound),), ".wav", _write_sound),
}
"""Modality -> size of a medium as it was read, ending of a blank file, and what writes one of a size."""
