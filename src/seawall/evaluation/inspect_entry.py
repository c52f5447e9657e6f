"""The entry point of Inspect: the provider `seawall/`, and the tasks and scorers of all benchmarks and judges."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from seawall.evaluation.benchmarks.tasks import define_tasks
from seawall.evaluation.judges.registry import JUDGES

TASKS = define_tasks()
SCORERS = {name: JUDGES.find(name).load() for name in JUDGES.names()}


@modelapi(name="seawall")
def seawall() -> type[ModelAPI]:
    """Return the provider of local multimodal models."""
    from seawall.evaluation.provider import SeawallAPI

    return SeawallAPI
