"""What Inspect finds under `seawall/`: its entry point. Nothing heavy is imported before it is used."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from seawall.evaluate.judges import harmbench, llama_guard_3, llama_guard_4, reference, refusal, strongreject

__all__ = ["harmbench", "llama_guard_3", "llama_guard_4", "reference", "refusal", "seawall", "strongreject"]


@modelapi(name="seawall")
def seawall() -> type[ModelAPI]:
    """Return the provider of local multimodal models."""
    from seawall.evaluate.provider import SeawallAPI

    return SeawallAPI
