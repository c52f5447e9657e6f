"""What Inspect finds under `seawall/`: its entry point. Nothing heavy is imported before it is used."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="seawall")
def seawall() -> type[ModelAPI]:
    """Return the provider of local multimodal models."""
    from seawall.evaluate.provider import SeawallAPI

    return SeawallAPI
