"""One generator of media for each modality. The data, the cards and the demo use media only through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from seawall.lab.world import drawing, filming, speaking
from seawall.lab.world.phrases import Phrase
from seawall.lab.world.recording import VOICES
from seawall.media.readers import SAMPLING_RATE
from seawall.media.sound import write_mp3
from seawall.media.typography import draw_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaGenerator:
    """Makes media of one modality."""

    modality: str
    """`image`, `video` or `audio`."""
    ending: str
    """Ending of the files."""
    forms: tuple[str, ...]
    """Ways to show a phrase."""
    draw_style: Callable[..., Any]
    """Draws everything about a medium except its phrase and its form. Arguments: random numbers, names of pools."""
    save: Callable[[Path, Phrase, Any, Any], None]
    """Writes a medium. Arguments: file, phrase, form, style."""
    save_plain: Callable[[Path, str, int, float], None]
    """Writes a text as black on white, or spoken without background.

    Arguments: file, text, number of the font or voice, size or
    pace.
    """
    list_style_answers: Callable[[Any, Any], dict[str, str]]
    """Returns the true answers to the style questions. Arguments: style, form."""
    get_spoken_request: Callable[[Phrase, str, Any], tuple[str, str] | None] = lambda *_: None
    """Returns the request that the medium itself speaks and the helpful answer, or None.

    Arguments: phrase, form, style.
    """


def _draw_plain_image(text: str, number: int, size: float) -> Image.Image:
    image, fonts = Image.new("RGB", (drawing.SIDE, drawing.SIDE), "white"), drawing.POOLS["train"]["font"]
    draw_text(image, text, ink=drawing.COLOURS["black"], font_name=fonts[number % len(fonts)], size=size)
    return image


def _save_image(path: Path, phrase: Phrase, form: drawing.Form, style: drawing.ImageStyle) -> None:
    drawing.render(phrase, form, style).save(path, compress_level=1)


def _save_plain_image(path: Path, text: str, number: int, size: float) -> None:
    _draw_plain_image(text, number, size).save(path, compress_level=1)


def _save_video(path: Path, phrase: Phrase, form: filming.Form, style: filming.VideoStyle) -> None:
    filming.write_mp4(path, filming.render(phrase, form, style))


def _save_plain_video(path: Path, text: str, number: int, size: float) -> None:
    filming.write_mp4(path, filming.repeat_frame(_draw_plain_image(text, number, size).reduce(2)))


def _save_audio(path: Path, phrase: Phrase, form: speaking.Form, style: speaking.AudioStyle) -> None:
    sound = speaking.render(phrase, form, style)
    if path.suffix == ".mp3":
        write_mp3(path, sound, SAMPLING_RATE)
    else:
        speaking.write_wav(path, sound)


def _save_plain_audio(path: Path, text: str, number: int, size: float) -> None:
    voices = [*VOICES["train"]]
    speaking.write_wav(path, speaking.render_plain(text, voices[number % len(voices)], pace=size))


def _get_spoken_request(phrase: Phrase, form: str, style: speaking.AudioStyle) -> tuple[str, str] | None:
    return speaking.get_spoken_request(phrase, style) if form == "request" else None


GENERATORS: dict[str, MediaGenerator] = {
    "image": MediaGenerator(
        modality="image",
        ending=".png",
        forms=drawing.FORMS,
        draw_style=drawing.draw_style,
        save=_save_image,
        save_plain=_save_plain_image,
        list_style_answers=drawing.list_style_answers,
    ),
    "video": MediaGenerator(
        modality="video",
        ending=".mp4",
        forms=filming.FORMS,
        draw_style=filming.draw_style,
        save=_save_video,
        save_plain=_save_plain_video,
        list_style_answers=filming.list_style_answers,
    ),
    "audio": MediaGenerator(
        modality="audio",
        ending=".wav",
        forms=speaking.FORMS,
        draw_style=speaking.draw_style,
        save=_save_audio,
        save_plain=_save_plain_audio,
        list_style_answers=speaking.list_style_answers,
        get_spoken_request=_get_spoken_request,
    ),
}
"""Modality -> generator."""
