"""A video processor for the Qwen-VL families that does not need torchvision.

The video processors of transformers require torchvision, but use only two of its functions: `normalize`, and `resize`, which for
uint8 tensors on a CPU is `torch.nn.functional.interpolate`. If torchvision is installed, nothing here is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seawall import compat

TYPE = "Qwen2VLVideoProcessor"
"""Name of the transformers class that is replaced."""
DEFAULTS = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_sample_frames": False,
    "num_frames": None,
    "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 28 * 28 * 768},
    "resample": 3,
    "rescale_factor": 1 / 255,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "cap_pixels_per_frame": False,
    "max_video_tokens": 128_000,
}
"""Settings for what a checkpoint does not set. Source: transformers 5.23, `Qwen2VLVideoProcessor`."""
BICUBIC = 3
"""Number of the bicubic filter in Pillow."""


class QwenVideoProcessor(compat.savable_mixin()):  # type: ignore[misc]  # the base class by which processors find parts to save
    """`Qwen2VLVideoProcessor` without torchvision, for uint8 RGB arrays, shape = (frames, height, width, 3).

    Args:
        min_pixels: Replaces `size["shortest_edge"]`, as in older checkpoints.
        max_pixels: Replaces `size["longest_edge"]`, as in older checkpoints.
        settings: Further settings of the transformers class.

    Raises:
        ValueError: The settings need torchvision: frames are sampled by frames per second, or the filter is not bicubic.
    """

    model_input_names = ["pixel_values_videos", "video_grid_thw"]
    _auto_class = None

    def __init__(self, *, min_pixels: int | None = None, max_pixels: int | None = None, **settings: Any) -> None:
        self.settings = DEFAULTS | settings
        limits = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self.settings["size"] = self.settings["size"] | {name: value for name, value in limits.items() if value}
        self.merge_size, self.temporal_patch_size = self.settings["merge_size"], self.settings["temporal_patch_size"]
        if self.settings["do_resize"] and self.settings["resample"] != BICUBIC:
            raise ValueError(
                f"the video processor resizes with filter {self.settings['resample']}, but without torchvision only filter "
                f"{BICUBIC} (bicubic) is available. Install torchvision."
            )
        if self.settings["do_sample_frames"] and not self.settings["num_frames"]:
            raise ValueError(
                "the video processor does not sample a fixed number of frames, but without torchvision only `num_frames` is "
                "available. Install torchvision."
            )

    def __call__(self, videos: Sequence[Any], *, return_metadata: bool = False, **_: Any) -> Any:
        """Return `pixel_values_videos`, shape = (patches of all videos, values), and `video_grid_thw`, shape = (videos, 3)."""
        from transformers import BatchFeature
        from transformers.video_utils import make_batched_metadata

        if videos and isinstance(videos[0], list):  # by conversation: so `apply_chat_template(tokenize=True)` has them
            videos = [video for conversation in videos for video in conversation]
        patches, grids = zip(*map(self._process, videos), strict=True)
        features = BatchFeature({"pixel_values_videos": torch.cat(patches), "video_grid_thw": torch.tensor(grids)})
        if return_metadata:
            features["video_metadata"] = make_batched_metadata(videos, video_metadata=None)  # type: ignore[arg-type]
            for video, metadata in zip(videos, features["video_metadata"], strict=True):
                metadata.frames_indices = self.sample(len(video))
        return features

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as the transformers class saves them, so that it can load them where torchvision is installed."""
        return {**self.settings, "video_processor_type": TYPE}

    def sample(self, frames: int) -> list[int]:
        """Return the indices of the frames to use.

        Args:
            frames: Number of frames of the video.

        Raises:
            ValueError: The video has too few frames.
        """
        number, settings = frames, self.settings
        if settings["do_sample_frames"]:
            number = round(settings["num_frames"] / self.temporal_patch_size) * self.temporal_patch_size
        if number > frames:
            raise ValueError(f"the model takes {number} frames of each video, but this one has {frames}")
        return torch.arange(0, frames, frames / number).int().tolist()

    def resize(self, frames: Tensor) -> Tensor:
        """Return frames, shape = (frames, 3, height, width), scaled to the size that the settings require."""
        settings, factor = self.settings, self.settings["patch_size"] * self.merge_size
        low, high = settings["size"]["shortest_edge"], settings["size"]["longest_edge"]
        if settings["cap_pixels_per_frame"]:
            total = int(settings["max_video_tokens"] * factor * factor * 0.9)
            high = max(min(high, total * self.temporal_patch_size // len(frames)), int(low * 1.05))
        size = compat.smart_resize()(*frames.shape[-2:], factor=factor, min_pixels=low, max_pixels=high)
        if size == tuple(frames.shape[-2:]):
            return frames
        return nn.functional.interpolate(frames, size, mode="bicubic", align_corners=False, antialias=True)

    def _process(self, video: Any) -> tuple[Tensor, list[int]]:
        settings = self.settings
        frames = torch.as_tensor(np.asarray(video))
        frames = frames[self.sample(len(frames))].permute(0, 3, 1, 2).contiguous()
        if settings["do_resize"]:
            frames = self.resize(frames)
        return self.patchify(self.normalize(frames))

    def normalize(self, frames: Tensor) -> Tensor:
        """Return rescaled and normalised frames in fp32, shape = (..., 3, height, width), from uint8 frames."""
        settings, frames = self.settings, frames.to(torch.float32, copy=True)
        scale = settings["rescale_factor"] if settings["do_rescale"] else 1
        if not settings["do_normalize"]:
            return frames * scale
        mean, deviation = (torch.tensor(settings[name]) * (1 / scale) for name in ("image_mean", "image_std"))
        return frames.sub_(mean.view(-1, 1, 1)).div_(deviation.view(-1, 1, 1))

    def patchify(self, frames: Tensor) -> tuple[Tensor, list[int]]:
        """Cut frames into patches, in the order of the blocks that the model merges.

        Args:
            frames: Shape = (frames, 3, height, width).

        Returns:
            The patches, shape = (patches, values), and their numbers along time, height and width.
        """
        depth, edge, merge = self.temporal_patch_size, self.settings["patch_size"], self.merge_size
        frames = torch.cat([frames, frames[-1:].expand(-len(frames) % depth, -1, -1, -1)])
        times, rows, columns = len(frames) // depth, frames.shape[2] // edge, frames.shape[3] // edge
        blocks = frames.view(times, depth, 3, rows // merge, merge, edge, columns // merge, merge, edge)
        patches = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(times * rows * columns, -1)
        return patches, [times, rows, columns]


def load_processor(path: str) -> Any:
    """Return a model's processor.

    It is the one that transformers makes, or one around `QwenVideoProcessor` if that only fails for lack of torchvision.

    Args:
        path: Folder in Hugging Face format, or hub id.
    """
    import transformers
    from transformers.utils import is_torchvision_available

    if is_torchvision_available() or (settings := _video_settings(path)) is None:
        return transformers.AutoProcessor.from_pretrained(path, trust_remote_code=False)
    processor, _ = transformers.ProcessorMixin.get_processor_dict(path)
    name = processor.get("processor_class") or settings.get("processor_class") or "Qwen2VLProcessor"
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    return compat.make_processor(
        getattr(transformers, name),
        transformers.Qwen2VLImageProcessorPil.from_pretrained(path),
        tokenizer,
        QwenVideoProcessor(**settings),
        chat_template=processor.get("chat_template") or tokenizer.chat_template,
    )


def _video_settings(path: str) -> dict[str, Any] | None:
    """Return the settings of a checkpoint's video processor, or None if `QwenVideoProcessor` does not replace it."""
    from transformers.video_processing_utils import VideoProcessorMixin

    try:
        settings, _ = VideoProcessorMixin.get_video_processor_dict(path)
    except OSError:
        return None
    # checkpoints from before the video processors only name the image processor
    old = str(settings.get("image_processor_type")).startswith("Qwen2VLImageProcessor")
    return settings if settings.get("video_processor_type", TYPE if old else None) == TYPE else None
