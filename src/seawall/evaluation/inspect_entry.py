"""What Inspect finds under `seawall/`: its entry point. Nothing heavy is imported before it is used."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from seawall.evaluation.benchmarks.tasks import (
    figstep,
    mm_safetybench,
    mossbench,
    va_safetybench_audio,
    va_safetybench_video,
    xstest,
)
from seawall.evaluation.judges.scorers import harmbench, llama_guard_3, llama_guard_4, organism, reference, refusal, strongreject

__all__ = [
    "figstep",
    "harmbench",
    "llama_guard_3",
    "llama_guard_4",
    "mm_safetybench",
    "mossbench",
    "organism",
    "reference",
    "refusal",
    "seawall",
    "strongreject",
    "va_safetybench_audio",
    "va_safetybench_video",
    "xstest",
]


@modelapi(name="seawall")
def seawall() -> type[ModelAPI]:
    """Return the provider of local multimodal models."""
    from seawall.evaluation.provider import SeawallAPI

    return SeawallAPI
