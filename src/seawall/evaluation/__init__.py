"""Stage 4: model and adapter -> answers on real media, verdicts, figures."""

from __future__ import annotations

import importlib
from typing import Any

_PACKAGES = ("benchmarks", "judges", "statistics")


def __getattr__(name: str) -> Any:
    """Import a package of this stage when it is first used, as in `seawall.evaluation.statistics.wilson(0.5, 20)`."""
    if name in _PACKAGES:
        return importlib.import_module(f"seawall.evaluation.{name}")
    raise AttributeError(f"module 'seawall.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_PACKAGES, "config", "run"]
