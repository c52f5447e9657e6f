"""Every stage reads media by `read_medium`. Nothing else opens images, videos or sounds that users give."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import seawall
from seawall.media import readers

SOURCE = Path(seawall.__file__).parent
OPENERS = {("Image", "open"), ("av", "open"), ("wave", "open"), ("ImageOps", "exif_transpose"), ("soundfile", "read")}
ALLOWED = {
    "media/pixels.py": "reads images",
    "media/streams.py": "reads videos and sounds",
    "media/video.py": "writes videos",
    "media/sound.py": "writes sounds",
    "media/speech.py": "reads what the speech program has just written",
    "evaluation/controls.py": "writes silence",
    "lab/": "makes the media of the built-in models, and reads only those",
}
"""Where files may be opened, and why."""


def find_calls(path):
    """Return the calls in a module that open a medium."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = [
        (call.value.id, call.attr)
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
    ]
    return [name for name in names if name in OPENERS]


def test_media_are_opened_in_one_place():
    found = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if find_calls(path)}
    assert {"media/pixels.py", "media/streams.py"} <= found
    assert not [name for name in found if not name.startswith(tuple(ALLOWED))]


@pytest.fixture
def picture(tmp_path):
    """A picture that is wrong in every reader but one: black on a transparent ground, and sideways."""
    alpha = np.zeros((48, 32), np.uint8)
    alpha[:8] = 255
    layers = Image.merge("LA", (Image.new("L", (32, 48)), Image.fromarray(alpha)))
    exif = Image.Exif()
    exif[274] = 6
    layers.save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


def test_stages_and_builder_see_the_same_pixels(picture, tiny):
    from seawall.media.clips import read_still
    from seawall.reporting.embeddings.media import view_medium

    seen = np.asarray(readers.read_image(picture))
    assert seen.shape == (32, 48, 3) and seen[:, -8:].max() == 0 and seen[:, :-8].min() == 255
    assert np.array_equal(np.asarray(tiny.chat.load(picture)), seen), "evaluation, alignment and synthesis"
    assert np.array_equal(np.asarray(read_still(picture)), seen), "builder"
    assert view_medium(tiny.chat, picture).picture
