"""Which weights of the language model a training changes, by count, and which it leaves as they are."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from seawall.models.families import get_module
from seawall.models.load import LoadedModel

log = logging.getLogger(__name__)

MINOR = ("embed", "norm", "conv", "gate.weight", "router")
"""Parts of the names of weights that LoRA leaves out by intention: tables, scales, short filters and routers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """The weight matrices of a language model that a training changes, and those that it does not."""

    trained: Mapping[str, int]
    """Name of a module or weight, such as `q_proj` -> number of these that are trained."""
    left_out: Mapping[str, int]
    """The same for weights that are not trained, without embeddings, norms, filters and routers."""

    def describe(self) -> str:
        """Return both as one or two sentences."""
        trained = f"Trained: {_list_counts(self.trained)}."
        return f"{trained} Not trained: {_list_counts(self.left_out)}." if self.left_out else trained


def measure_coverage(loaded: LoadedModel) -> Coverage:
    """Return what a training changes in the language model.

    Args:
        loaded: The model, after PEFT has added its layers, or with the gradients of full tuning switched on.
    """
    language_model = get_module(loaded.model, loaded.family, loaded.family.language_model)
    trained: collections.Counter[str] = collections.Counter(_list_adapted(language_model))
    has_adapter = bool(trained)
    left_out: collections.Counter[str] = collections.Counter()
    for name, weight in language_model.named_parameters():
        if weight.dim() < 2 or "lora_" in name or ".base_layer." in f".{name}":
            continue
        short = ".".join(name.removesuffix(".weight").split(".")[-2:])
        if weight.requires_grad and not has_adapter:
            trained[short.rpartition(".")[2]] += 1
        elif not any(part in name for part in MINOR):
            left_out[short] += 1
    return Coverage(trained=dict(trained), left_out=dict(left_out))


def report_coverage(coverage: Coverage) -> None:
    """Log what is trained. Warn about large parts that are not: fused experts and linear-attention layers."""
    log.info("%s", coverage.describe())
    missing = {name: count for name, count in coverage.left_out.items() if "proj" in name or "expert" in name}
    if missing:
        log.warning(
            "LoRA does not reach a part of the language model: %s. The adapter trains the rest alone. docs/how_to/training.md "
            "says what that means.",
            _list_counts(missing),
        )


def _list_adapted(language_model: Any) -> Iterator[str]:
    """Yield the name of each module or weight that has a LoRA layer."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in language_model.named_modules():
        if isinstance(module, BaseTunerLayer):
            parts = [part for part in name.split(".") if part != "base_layer"]
            weight = getattr(module, "parameter_name", None)  # of fused experts
            yield f"{parts[-1]}.{weight}" if weight else parts[-1]


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
