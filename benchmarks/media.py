"""Attack success of the built-in models on transformed copies of their media: `python benchmarks/media.py [--json]`.

A copy shows or says the same as the plain file, in a form that a careless reader gets wrong: transparent, with an EXIF
orientation, with 16 bits, with a display matrix, or with several channels. The reader is right if the figures agree.
`--careless` also measures a reader that ignores all of this.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from seawall.evaluation.config import BenchmarkConfig
from seawall.lab.benchmark import NAME, measure_directly
from seawall.lab.metrics import get_outcome
from seawall.lab.world.data import ITEMS, write_benchmark
from seawall.lab.world.filming import CODEC
from seawall.media import readers
from seawall.media.modality import find_modality
from seawall.models.load import load_model
from seawall.store.files import read_jsonl, write_jsonl

SETS = ("media_harmful_trained", "media_harmful_unseen", "media_harmful_reworded")
"""Scenarios of harmful media."""
TURNS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
         Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270)  # fmt: skip
"""How a camera stores an image, by EXIF orientation from 2 on."""
Transform = Callable[[Any, Path, int], Path]
"""Writes a copy of what a file contains beside it, given the number of the item, and returns its path."""


def write_plain(image: Image.Image, path: Path, number: int) -> Path:
    """Copy an image as grey, to compare the transparent copies and those of 16 bits with."""
    image.convert("L").save(path)
    return path


def write_transparent(image: Image.Image, path: Path, number: int) -> Path:
    """Make an image as transparent as it can be without another look on white: grey becomes black with some opacity."""
    opacity = image.convert("L").point(lambda value: 255 - value)
    layers = Image.merge("LA", (Image.new("L", image.size), opacity))
    layers.save(path, "WEBP" if number % 2 else "PNG", **({"lossless": True} if number % 2 else {}))
    return path


def write_turned(image: Image.Image, path: Path, number: int) -> Path:
    """Turn an image and say so in its EXIF data."""
    exif = Image.Exif()
    exif[274] = 2 + number % 7
    image.transpose(TURNS[number % 7]).save(path, "JPEG" if number % 2 else "PNG", exif=exif, quality=95)
    return path


def write_16_bits(image: Image.Image, path: Path, number: int) -> Path:
    """Write an image as grey with 16 bits."""
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    return path


def write_rotated(video: np.ndarray, path: Path, number: int) -> Path:
    """Turn a video and say so in its display matrix."""
    turns, flip = number % 4, number % 8 >= 4
    stored = np.rot90(video[:, :, ::-1] if flip else video, -turns, axes=(1, 2))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=8, options={**CODEC, "crf": "12"})
        stream.height, stream.width, stream.pix_fmt = *stored.shape[1:3], "yuv420p"
        stream.set_display_rotation(90 * turns, hflip=flip)
        for pixels in stored:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        file.mux(stream.encode(None))
    return path


def write_upright(video: np.ndarray, path: Path, number: int) -> Path:
    """Encode a video again without turning it, to compare the turned copies with."""
    return write_rotated(video, path, 0)


def write_channels(channels: np.ndarray, path: Path, layout: str) -> Path:
    """Write a sound of several channels."""
    path = path.with_suffix(".wav")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_f32le", rate=readers.SAMPLING_RATE, layout=layout)
        packed = np.ascontiguousarray(channels.T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = readers.SAMPLING_RATE
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def write_six_channels(sound: np.ndarray, path: Path, number: int) -> Path:
    """Put a sound on one of six channels. The others have noise 60 dB below it."""
    level = 1e-3 * float(np.sqrt(np.mean(sound**2)))
    channels = np.random.default_rng(number).normal(0, level, (6, len(sound)))
    channels[number % 6] += sound
    return write_channels(channels, path, "5.1")


def write_antiphase(sound: np.ndarray, path: Path, number: int) -> Path:
    """Write a sound on two channels, one of them reversed."""
    return write_channels(np.stack([sound, -sound]), path, "stereo")


def write_two_rooms(sound: np.ndarray, path: Path, number: int) -> Path:
    """Write a sound on two channels, one of them half a millisecond late and quieter."""
    late = np.pad(sound, (8, 0))[: len(sound)]
    return write_channels(np.stack([sound, 0.7 * late]), path, "stereo")


TRANSFORMS: dict[str, dict[str, Transform | None]] = {
    "image": {
        "plain": None, "EXIF orientation": write_turned, "grey": write_plain, "grey, transparent": write_transparent,
        "grey, 16 bits": write_16_bits,
    },
    "video": {"plain": None, "encoded again": write_upright, "display matrix": write_rotated},
    "audio": {
        "plain": None, "one of six channels": write_six_channels, "antiphase": write_antiphase,
        "delayed stereo": write_two_rooms,
    },
}  # fmt: skip
"""Modality -> copy -> how it is made. None leaves the files as they are."""


def read_carelessly(name: str) -> Callable[[Path], Any]:
    """Return a reader that converts modes naively, ignores orientations, and averages channels."""

    def read_image(path: Path) -> Any:
        return Image.open(path).convert("RGB")

    def read_video(path: Path) -> Any:
        with av.open(str(path)) as file:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])

    def read_audio(path: Path) -> Any:
        from seawall.media.streams import decode_audio

        return decode_audio(path, readers.SAMPLING_RATE).mean(0)

    return {"image": read_image, "video": read_video, "audio": read_audio}[name]


def measure(name: str, folder: Path, items: int, careless: bool) -> list[dict[str, Any]]:
    """Return the base attack success on each copy, for the same items."""
    plain, modality = folder / "plain", find_modality(name)
    write_benchmark(plain, "validation", None, name)
    rows = [row for _, row in read_jsonl(plain / ITEMS) if row["set"] in SETS]
    rows = [rows[round(at)] for at in np.linspace(0, len(rows) - 1, min(items, len(rows)))]
    figures = []
    for copy, transform in TRANSFORMS[name].items():
        data = folder / copy.replace(" ", "-")
        changed = []
        for number, row in enumerate(rows):
            target = data / row[name]
            target.parent.mkdir(parents=True, exist_ok=True)
            if transform:
                target = transform(modality.read(plain / row[name]), target, number)
            elif data != plain:
                target.write_bytes((plain / row[name]).read_bytes())
            changed.append({**row, name: target.relative_to(data).as_posix()})
        write_jsonl(data / ITEMS, changed)
        figure = {"model": name, "copy": copy, "asr": ask(name, data, folder / f"answers-{data.name}"), "n": len(rows)}
        if careless:
            chat = load_model(f"organism:{name}", modality=name).chat  # all loads of a model share it
            chat.modality = dataclasses.replace(modality, read=read_carelessly(name))
            chat.forget()
            figure["careless"] = ask(name, data, folder / f"careless-{data.name}")
            chat.modality = modality
            chat.forget()
        figures.append(figure)
    return figures


def ask(name: str, data: Path, out: Path) -> float:
    """Return the attack success of a built-in model without alignment."""
    answers = measure_directly(f"organism:{name}", data, out, BenchmarkConfig(benchmark=NAME))
    return sum(get_outcome(answer) == "answered" for answer in answers) / len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=96, help="items of each model")
    parser.add_argument("--modality", nargs="*", default=list(TRANSFORMS))
    parser.add_argument("--careless", action="store_true", help="also measure a careless reader")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = []
    for name in options.modality:
        with tempfile.TemporaryDirectory() as folder:
            figures += measure(name, Path(folder), options.items, options.careless)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'model':8}{'copy':22}{'ASR':>6}{'careless':>10}{'n':>6}")
    for one in figures:
        careless = f"{one['careless']:10.3f}" if options.careless else " " * 10
        print(f"{one['model']:8}{one['copy']:22}{one['asr']:6.3f}{careless}{one['n']:6}")


if __name__ == "__main__":
    main()
