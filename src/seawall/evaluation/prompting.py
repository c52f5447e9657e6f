"""What a prompt of Inspect asks of a local model: the media of its messages, and the settings of its decoding."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import Content, ContentData, GenerateConfig

from seawall import compat

PrerequisiteError = compat.prerequisite_error()

SUPPORTED = ("max_tokens", "temperature", "top_p", "top_k", "seed", "max_connections")
UNSUPPORTED = ("stop_seqs", "num_choices", "logprobs", "frequency_penalty", "presence_penalty", "logit_bias")
"""Settings of Inspect that would change the answers and that no model here follows."""


def read_decoding(config: GenerateConfig) -> dict[str, Any]:
    """Return the settings for transformers' `generate`: greedy unless a temperature above 0 is set.

    Raises:
        PrerequisiteError: A setting that would have no effect.
    """
    if ignored := [name for name in UNSUPPORTED if getattr(config, name)]:
        raise PrerequisiteError(
            f"seawall/ models do not support {', '.join(ignored)}. They support {', '.join(SUPPORTED)}."
        )
    if not config.temperature:
        return {"do_sample": False}
    settings = {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k}
    return {name: value for name, value in settings.items() if value is not None}


def read_content(part: Content) -> tuple[str, str]:
    """Return modality and reference of a medium. A registered modality is `ContentData` with `modality` and `path`."""
    if isinstance(part, ContentData) and {"modality", "path"} <= set(part.data):
        return str(part.data["modality"]), str(part.data["path"])
    if part.type in ("image", "audio", "video"):
        return part.type, str(getattr(part, part.type))
    raise PrerequisiteError(f"seawall/ models take text, image, video and audio. Found: {part.type}.")
