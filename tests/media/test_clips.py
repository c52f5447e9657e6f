"""Clips from a diffusers pipeline: kinds of pipelines, and error messages."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from PIL import Image

from seawall.errors import ConfigError, EngineError
from seawall.media.clips import load_pipeline

FORMAT = {"size": (64, 48), "seconds": 1.0, "fps": 8}


class Pipeline:
    """Replaces the class of diffusers: the same calls, frames of noise from the given generator."""

    error: Exception | None = None

    @classmethod
    def from_pretrained(cls, name, torch_dtype):
        if cls.error:
            raise cls.error
        pipeline = cls()
        pipeline.name = name
        return pipeline

    def set_progress_bar_config(self, disable):
        assert disable

    def to(self, device):
        return self

    def __call__(self, *, prompt, generator, output_type):
        import torch

        assert output_type == "pil" and prompt == "A video of a boat."
        noise = torch.randint(0, 255, (5, 40, 60, 3), generator=generator).numpy().astype(np.uint8)
        frames = [Image.fromarray(frame) for frame in noise]
        answers = {"video": {"frames": [frames]}, "image": {"images": frames[:1]}, "text": {"text": "no"}}
        return types.SimpleNamespace(**answers[self.name])


@pytest.fixture(autouse=True)
def diffusers(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(DiffusionPipeline=Pipeline))


@pytest.mark.parametrize("kind", ["video", "image"])
def test_a_text_to_video_or_text_to_image_pipeline_makes_a_clip_of_the_requested_format(kind):
    make = load_pipeline(kind)
    frames = make("A video of a boat.", seed=1, **FORMAT)
    assert len(frames) == 8 and {frame.size for frame in frames} == {(64, 48)}
    assert frames[0] != frames[-1]
    assert frames == make("A video of a boat.", seed=1, **FORMAT) != make("A video of a boat.", seed=2, **FORMAT)


def test_errors_say_what_to_do(monkeypatch):
    with pytest.raises(EngineError, match="'text' returned neither frames nor images"):
        load_pipeline("text")("A video of a boat.", seed=1, **FORMAT)
    monkeypatch.setattr(Pipeline, "error", OSError("no such folder"))
    with pytest.raises(ConfigError, match=r"'x' cannot be loaded \(no such folder\)"):
        load_pipeline("x")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install 'seawall\[clips\]'"):
        load_pipeline("x")
