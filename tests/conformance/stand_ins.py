"""Replacements for parts of processors that need packages which the test machines do not have.

They return the names and shapes of the real ones, by the arithmetic in transformers. Frames and spectra are simpler: no
resampling filter, no mel bank.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, GotOcr2ImageProcessorPil
from transformers.video_utils import VideoMetadata


def flatten(media: Any) -> Any:
    """Return a list of media. transformers passes a list for each conversation if it applies the template itself."""
    return [one for inner in media for one in inner] if isinstance(media[0], list) else media


def frames_of(videos: Any, edge: int) -> Tensor:
    """Return the normalised frames of videos, shape = (videos, frames, 3, edge, edge)."""
    frames = torch.tensor(np.stack(flatten(videos))).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    return torch.stack([torch.nn.functional.interpolate(video, size=(edge, edge)) for video in frames])


class Frames:
    """Replaces the video processors of LLaVA-like models (need torchvision): resizes and normalises every frame."""

    model_input_names = ["pixel_values_videos"]
    num_frames = fps = video_sampling = None

    def __init__(self, edge: int) -> None:
        self.edge = edge

    def __call__(self, videos: Any, **_: Any) -> BatchFeature:
        return BatchFeature({"pixel_values_videos": frames_of(videos, self.edge)})


class QwenVideo:
    """Replaces `Qwen2VLVideoProcessor` (needs torchvision): pairs of frames, cut into patches in 2 x 2 blocks."""

    model_input_names = ["pixel_values_videos", "video_grid_thw"]
    merge_size = temporal_patch_size = 2

    def __init__(self, patch: int, edge: int = 4) -> None:
        self.patch, self.edge = patch, edge

    def __call__(self, videos: Any, **_: Any) -> BatchFeature:
        frames = frames_of(videos, self.edge * self.patch)
        count, pairs, half = len(frames), frames.shape[1] // 2, self.edge // 2
        patches = frames.view(count, pairs, 2, 3, half, 2, self.patch, half, 2, self.patch)
        patches = patches.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(-1, 3 * 2 * self.patch**2)
        grid = torch.tensor([[pairs, self.edge, self.edge]] * count)
        shown = [VideoMetadata(total_num_frames=2 * pairs, fps=2, frames_indices=list(range(2 * pairs)))] * count
        return BatchFeature({"pixel_values_videos": patches, "video_grid_thw": grid, "video_metadata": shown})


class CohereImages(GotOcr2ImageProcessorPil):
    """Replaces the image processor of Cohere2-Vision (needs torchvision), which cuts tiles like that of GOT-OCR."""

    patch_size = 2  # tokens of a tile's edge


class KimiImages:
    """Replaces the image processor of Kimi K2.5 (needs torchvision): patches, shape = (patches, 3, edge, edge)."""

    model_input_names = ["pixel_values", "image_grid_thw"]
    merge_size = 2

    def __init__(self, patch: int) -> None:
        self.patch = patch

    def fetch_images(self, images: Any) -> Any:
        return images

    def __call__(self, images: Any, **_: Any) -> BatchFeature:
        pixels = (
            torch.tensor(np.stack([np.asarray(image) for image in flatten(images)])).permute(0, 3, 1, 2) / 127.5 - 1
        )
        count, _, height, width = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        patches = pixels.view(count, 3, rows, self.patch, columns, self.patch).permute(0, 2, 4, 1, 3, 5)
        grid = torch.tensor([[1, rows, columns]] * count)
        return BatchFeature({"pixel_values": patches.reshape(-1, 3, self.patch, self.patch), "image_grid_thw": grid})


class GraniteAudio:
    """Replaces `GraniteSpeechFeatureExtractor` (needs torchaudio): pairs of 10 ms frames, 3 tokens for 15 pairs."""

    model_input_names = ["input_features"]
    sampling_rate = 16_000

    def __init__(self, width: int) -> None:
        self.width = width

    def fetch_audio(self, audio: Any, **_: Any) -> Any:
        return audio

    def __call__(self, audios: Any, **_: Any) -> BatchFeature:
        audio = torch.tensor(np.stack(audios))
        pairs = (audio.shape[1] // 160 + 1) // 2
        frames = audio[:, : pairs * 320 // self.width * self.width].reshape(len(audio), -1, self.width)
        sizes = [-(-pairs // 15) * 3] * len(audio)
        return BatchFeature(
            {
                "input_features": frames[:, :pairs],
                "audio_embed_sizes": sizes,
                "input_features_mask": torch.ones(len(audio), sizes[0], dtype=torch.bool),
            }
        )


class Processor:
    """A complete processor, which replaces each `mark` in a text by the tokens of a medium."""

    mark = "<image>"

    def __init__(self, part: Any, tokenizer: Any, size: int, chat_template: str) -> None:
        self.part, self.tokenizer, self.size, self.chat_template = part, tokenizer, size, chat_template

    def apply_chat_template(self, messages: Any, **settings: Any) -> str:
        return self.tokenizer.apply_chat_template(messages, chat_template=self.chat_template, **settings)

    def __call__(
        self, text: list[str], images: Any = None, audio: Any = None, add_special_tokens: bool = True, **_: Any
    ) -> BatchFeature:
        media = self.encode(images if audio is None else audio)
        texts = [line.replace(self.mark, self.tokens(media)) for line in text]
        ids = self.tokenizer(texts, add_special_tokens=add_special_tokens, return_tensors="pt")
        return BatchFeature({**ids, **media})

    def encode(self, media: Any) -> Any:
        """Return the model inputs of media."""
        return self.part(media, return_tensors="pt")

    def tokens(self, media: Any) -> str:
        """Return the text of one medium's tokens."""
        return self.mark * self.size


class Voxtral(Processor):
    """Replaces `VoxtralProcessor` (its tokenizer needs mistral_common): windows of `size` tokens."""

    mark = "[AUDIO]"

    def encode(self, media: Any) -> Any:
        features = self.part(media, sampling_rate=16_000, return_tensors="pt")
        return {"input_features": features["input_features"]}


class Pixtral(Processor):
    """Replaces `PixtralProcessor` (needs torchvision): rows of tokens of `size` pixels, breaks, and an end token."""

    mark = "[IMG]"

    def tokens(self, media: Any) -> str:
        height, width = (int(edge) // self.size for edge in media["image_sizes"][0])
        return "[IMG_BREAK]".join([self.mark * width] * height) + "[IMG_END]"


class Tiles(Processor):
    """Processes square images of one tile, `size` tokens each. That of Ovis 2 also cuts tiles and adds indicators."""
