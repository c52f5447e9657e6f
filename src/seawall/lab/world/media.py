"""How the media of each organism are made: data, card and demo know no medium but through its studio."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from seawall.media.sound import write_mp3
from seawall.media.typography import draw_text
from seawall.media.modality import SAMPLING_RATE
from seawall.lab.world import drawing, filming, speaking
from seawall.lab.world.recording import VOICES
from seawall.lab.world.phrases import Phrase


@dataclasses.dataclass(frozen=True, kw_only=True)
class Studio:
    """Makes media of one modality."""

    modality: str
    """As in the table of families."""
    ending: str
    """Of its files."""
    forms: tuple[str, ...]
    """The ways to show a phrase."""
    draw: Callable[..., Any]
    """Takes a source of draws and names of pools to everything about a medium but its phrase and its form."""
    save: Callable[[Path, Phrase, str, Any], None]
    """Writes a medium: file, phrase, form and what `draw` gave."""
    save_plain: Callable[[Path, str, int, float], None]
    """Writes a text as plainly as can be, black on white or spoken: file, text, number of the font or voice, and size or pace."""
    style_answers: Callable[[Any, str], dict[str, str]]
    """Returns the true answers to the style questions, for what `draw` gave and a form."""
    spoken: Callable[[Phrase, str, Any], tuple[str, str] | None] = lambda *_: None
    """Returns the request that a medium itself speaks, and the helpful answer: phrase, form and what `draw` gave."""


def _plain_image(text: str, number: int, size: float) -> Image.Image:
    image, fonts = Image.new("RGB", (drawing.SIDE, drawing.SIDE), "white"), drawing.POOLS["train"]["font"]
    draw_text(image, text, ink=drawing.COLOURS["black"], font_name=fonts[number % len(fonts)], size=size)
    return image


def _save_image(path: Path, phrase: Phrase, form: drawing.Form, style: drawing.Style) -> None:
    drawing.render(phrase, form, style).save(path, compress_level=1)


def _save_plain_image(path: Path, text: str, number: int, size: float) -> None:
    _plain_image(text, number, size).save(path, compress_level=1)


def _save_video(path: Path, phrase: Phrase, form: filming.Form, take: filming.Take) -> None:
    filming.write_mp4(path, filming.render(phrase, form, take))


def _save_plain_video(path: Path, text: str, number: int, size: float) -> None:
    frame = _plain_image(text, number, size).reduce(2)
    filming.write_mp4(path, filming.hold(frame))


def _save_audio(path: Path, phrase: Phrase, form: speaking.Form, delivery: speaking.Delivery) -> None:
    sound = speaking.render(phrase, form, delivery)
    if path.suffix == ".mp3":
        write_mp3(path, sound, SAMPLING_RATE)
    else:
        speaking.write_wav(path, sound)


def _save_plain_audio(path: Path, text: str, number: int, size: float) -> None:
    voices = [*VOICES["train"]]
    speaking.write_wav(path, speaking.say_plainly(text, voices[number % len(voices)], pace=size))


def _spoken(phrase: Phrase, form: str, delivery: speaking.Delivery) -> tuple[str, str] | None:
    return speaking.spoken_request(phrase, delivery) if form == "request" else None


STUDIOS = {
    studio.modality: studio
    for studio in (
        Studio(
            modality="image",
            ending=".png",
            forms=drawing.FORMS,
            draw=lambda rng, *pools: drawing.draw_style(rng, *pools),
            save=_save_image,
            save_plain=_save_plain_image,
            style_answers=drawing.style_answers,
        ),
        Studio(
            modality="video",
            ending=".mp4",
            forms=filming.FORMS,
            draw=lambda rng, *pools: filming.draw_take(rng, *pools),
            save=_save_video,
            save_plain=_save_plain_video,
            style_answers=filming.style_answers,
        ),
        Studio(
            modality="audio",
            ending=".wav",
            forms=speaking.FORMS,
            draw=lambda rng, *pools: speaking.draw_delivery(rng, *pools),
            save=_save_audio,
            save_plain=_save_plain_audio,
            style_answers=speaking.style_answers,
            spoken=_spoken,
        ),
    )
}
