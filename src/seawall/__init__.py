"""Seawall: make multimodal models refuse harm that arrives through an image, a video or a sound, using only text safety data.

Each stage is one function and one package: `prepare` in `seawall.preparation`, `synthesize` in `seawall.synthesis`, `align` in
`seawall.alignment`, `steer` in `seawall.steering`, `evaluate` and `judge` in `seawall.evaluation`, `report` in `seawall.reporting`,
`build` in `seawall.building`. `run` in `seawall.recipes` runs them all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seawall.errors import SeawallError

if TYPE_CHECKING:
    from seawall import (
        alignment,
        building,
        evaluation,
        media,
        models,
        preparation,
        recipes,
        reporting,
        steering,
        store,
        synthesis,
    )  # fmt: skip
    from seawall.alignment.card import add_results
    from seawall.alignment.config import AlignConfig, Mixture
    from seawall.alignment.run import align
    from seawall.building.config import BuildConfig
    from seawall.building.run import build
    from seawall.evaluation.benchmarks.registry import Benchmark, register_benchmark
    from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
    from seawall.evaluation.judges.registry import Judge, register_judge
    from seawall.evaluation.run import evaluate, judge
    from seawall.media.modality import Modality, register_modality
    from seawall.models.families import Family, register_family, register_model
    from seawall.preparation.config import PrepareConfig
    from seawall.preparation.run import prepare
    from seawall.preparation.sources.source import Columns, Source
    from seawall.recipes.pipeline import run
    from seawall.recipes.read import read_recipe
    from seawall.recipes.tables import Recipe
    from seawall.reporting.run import report
    from seawall.steering.config import SteerConfig
    from seawall.steering.run import steer
    from seawall.synthesis.config import SynthesizeConfig
    from seawall.synthesis.run import synthesize

__version__ = "0.2.0"

_PACKAGES = (
    "alignment", "building", "evaluation", "media", "models", "preparation", "recipes", "reporting", "steering", "store",
    "synthesis",
)  # fmt: skip
_PLACES = {
    "AlignConfig": "alignment.config",
    "Benchmark": "evaluation.benchmarks.registry",
    "BenchmarkConfig": "evaluation.config",
    "BuildConfig": "building.config",
    "Columns": "preparation.sources.source",
    "EvaluateConfig": "evaluation.config",
    "Family": "models.families",
    "Judge": "evaluation.judges.registry",
    "Mixture": "alignment.config",
    "Modality": "media.modality",
    "PrepareConfig": "preparation.config",
    "Recipe": "recipes.tables",
    "Source": "preparation.sources.source",
    "SteerConfig": "steering.config",
    "SynthesizeConfig": "synthesis.config",
    "add_results": "alignment.card",
    "align": "alignment.run",
    "build": "building.run",
    "evaluate": "evaluation.run",
    "judge": "evaluation.run",
    "prepare": "preparation.run",
    "read_recipe": "recipes.read",
    "register_benchmark": "evaluation.benchmarks.registry",
    "register_family": "models.families",
    "register_judge": "evaluation.judges.registry",
    "register_modality": "media.modality",
    "register_model": "models.families",
    "report": "reporting.run",
    "run": "recipes.pipeline",
    "steer": "steering.run",
    "synthesize": "synthesis.run",
}
__all__ = ["SeawallError", *_PACKAGES, *_PLACES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import seawall` does not import torch."""
    if name in _PACKAGES:
        return importlib.import_module(f"seawall.{name}")
    if name in _PLACES:
        return getattr(importlib.import_module(f"seawall.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'seawall' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
