"""The Qwen-VL video processor without torchvision gives the results of the one in transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from seawall.errors import DataError, ModelError
from seawall.lab.organisms import find_organism
from seawall.lab.world import filming
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.custom.qwen_video import QwenVideoProcessor, load_processor
from seawall.models.families import find_family
from seawall.models.load import load_model

ORGANISM = {"patch_size": 16, "size": {"shortest_edge": 96**2, "longest_edge": 96**2}, "do_sample_frames": True}
SETTINGS = [
    {},
    {**ORGANISM, "num_frames": 6, "cap_pixels_per_frame": False},
    {"size": {"shortest_edge": 56**2, "longest_edge": 112**2}, "cap_pixels_per_frame": True, "max_video_tokens": 20},
    {"do_normalize": False},
    {"do_rescale": False, "merge_size": 1, "temporal_patch_size": 3},
    {"min_pixels": 56**2, "max_pixels": 84**2},
]
SHAPES = [(12, 96, 96), (9, 100, 170), (7, 43, 57), (6, 28, 56)]
TORCHVISION = """
import enum, torch

class InterpolationMode(enum.Enum):
    NEAREST, NEAREST_EXACT, BILINEAR = "nearest", "nearest-exact", "bilinear"
    BICUBIC, BOX, HAMMING, LANCZOS = "bicubic", "box", "hamming", "lanczos"

def resize(image, size, interpolation, antialias):
    if tuple(size) == tuple(image.shape[-2:]):
        return image
    assert image.dtype == torch.uint8 and interpolation == InterpolationMode.BICUBIC
    flat = image.reshape(-1, *image.shape[-3:])
    scaled = torch.nn.functional.interpolate(flat, size, mode="bicubic", align_corners=False, antialias=antialias)
    return scaled.reshape(*image.shape[:-2], *size)

def normalize(image, mean, std, inplace=False):
    mean, std = (torch.as_tensor(v, dtype=image.dtype).view(-1, 1, 1) for v in (mean, std))
    return (image - mean) / std

def grayscale_to_rgb(image):
    return image
"""
"""The functions of torchvision that the transformers class calls. Source: torchvision 0.28, `transforms/v2/functional`."""
PUBLISHED = """
import json, sys
import numpy as np
from transformers import Qwen2VLVideoProcessor

settings, shapes, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
arrays = {}
for s, setting in enumerate(settings):
    processor = Qwen2VLVideoProcessor(**setting)
    processor.max_video_tokens = setting.get("max_video_tokens", processor.max_video_tokens)
    for v, shape in enumerate(shapes):
        video = np.random.default_rng(v).integers(0, 256, (*shape, 3), dtype=np.uint8)
        made = processor([video], return_tensors="pt")
        arrays |= {f"{s}/{v}/{name}": made[name].numpy() for name in ("pixel_values_videos", "video_grid_thw")}
np.savez(out, **arrays)
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, np.ndarray]:
    """Results of the transformers class, computed in a process of its own with the functions of torchvision that it calls."""
    folder = tmp_path_factory.mktemp("torchvision")
    for package in ("torchvision", "torchvision/transforms", "torchvision/transforms/v2"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
    (folder / "torchvision/__init__.py").write_text('__version__ = "0.28.0"')
    (folder / "torchvision/transforms/__init__.py").write_text("from .v2.functional import InterpolationMode")
    (folder / "torchvision/transforms/functional.py").write_text("pil_to_tensor = None")
    (folder / "torchvision/io.py").write_text("")
    (folder / "torchvision/transforms/v2/functional.py").write_text(TORCHVISION)
    (folder / "torchvision-0.28.0.dist-info").mkdir()
    (folder / "torchvision-0.28.0.dist-info/METADATA").write_text("Name: torchvision\nVersion: 0.28.0\n")
    arguments = [json.dumps(SETTINGS), json.dumps(SHAPES), str(folder / "made.npz")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{PUBLISHED}", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "made.npz"))


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_results_are_those_of_the_transformers_class_bit_for_bit(published, number):
    ours = QwenVideoProcessor(**SETTINGS[number])
    for v, shape in enumerate(SHAPES):
        made = ours([np.random.default_rng(v).integers(0, 256, (*shape, 3), dtype=np.uint8)])
        for name, tensor in made.items():
            expected = torch.from_numpy(published[f"{number}/{v}/{name}"])
            assert torch.equal(tensor, expected), (shape, name)


def test_videos_of_several_sizes_are_concatenated():
    rng, processor = np.random.default_rng(0), QwenVideoProcessor(**ORGANISM, num_frames=4)
    videos = [rng.integers(0, 256, (frames, 90, 150, 3), dtype=np.uint8) for frames in (4, 9)]
    both, alone = processor(videos), [processor([video]) for video in videos]
    for name in both:
        assert torch.equal(both[name], torch.cat([one[name] for one in alone]))


def test_unsupported_settings_are_refused():
    with pytest.raises(ValueError, match=r"filter 2, .* Install torchvision"):
        QwenVideoProcessor(resample=2)
    with pytest.raises(ValueError, match=r"does not sample a fixed number of frames.* Install torchvision"):
        QwenVideoProcessor(do_sample_frames=True, fps=2)


@pytest.fixture(scope="module")
def loaded():
    return load_model("organism:video", modality="video")


def test_a_video_with_too_few_frames_is_reported(loaded, tmp_path):
    filming.write_mp4(tmp_path / "a.mp4", np.zeros((3, 96, 96, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.mp4 is no video for this model: the model takes 4 frames .* has 3"):
        loaded.chat.batch([Example(question="What is this?", medium=tmp_path / "a.mp4")])


def test_a_saved_processor_is_loaded_unchanged(loaded, tmp_path):
    loaded.processor.save_pretrained(tmp_path)
    again = load_processor(str(tmp_path))
    assert type(again).__name__ == "Qwen2VLProcessor" and again.chat_template == loaded.processor.chat_template
    video = np.random.default_rng(0).integers(0, 256, (12, 120, 96, 3), dtype=np.uint8)
    text = ["<|vision_start|><|video_pad|><|vision_end|> What is this?"]
    one, other = (p(text=text, videos=[video], return_tensors="pt") for p in (loaded.processor, again))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_settings_are_saved_as_those_of_the_transformers_class():
    saved = json.loads((find_organism("video") / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2VLProcessor"
    assert saved["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"


def test_checkpoints_from_before_video_processors(tmp_path):
    loaded = load_model("organism:video", modality="video")
    loaded.processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    (tmp_path / "processor_config.json").unlink()
    old = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 56**2, "max_pixels": 112**2, "patch_size": 16}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    again = load_processor(str(tmp_path))
    assert again.video_processor.settings["size"] == {"shortest_edge": 56**2, "longest_edge": 112**2}
    assert again.image_processor.patch_size == 16 and saved["processor_class"] == type(again).__name__


def test_a_model_whose_video_processor_is_not_supported(tmp_path, loaded):
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    path = Path(tmp_path / "processor_config.json")
    saved = json.loads(path.read_text())
    saved["video_processor"] |= {"num_frames": None, "fps": 2}
    path.write_text(json.dumps(saved))
    with pytest.raises(ModelError, match="Install torchvision"):
        load_model(str(tmp_path), modality="video")


def test_the_blank_has_the_shape_of_any_video(loaded, tmp_path):
    filming.write_mp4(tmp_path / "a.mp4", np.zeros((12, 96, 96, 3), dtype=np.uint8))
    chat = Chat(loaded.processor, find_family("qwen2_vl", "video"))
    shapes = [chat.process_medium(medium)["pixel_values_videos"].shape for medium in (BLANK, tmp_path / "a.mp4")]
    assert shapes[0] == shapes[1] == (144, 768)
