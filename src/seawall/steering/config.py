"""Settings of `steer`."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from seawall.errors import ConfigError
from seawall.models.families import Precision

FREE = ("batch_size", "device_map")
"""Settings that say how the work is done and do not change the result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SteerConfig:
    """Settings of `steer`."""

    layers: tuple[int, ...] | None = None
    """Layers of the language model to try, from 0. The best one on validation is used. None tries up to 8, spread over the first
    80 %: the last ones write the next token directly."""
    strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
    """Strengths to try, as factors of the mean difference. The best one on validation is used. 0 changes nothing, so it is
    chosen if no other helps. Once no harmless instruction is answered, stronger ones are not tried."""
    positions: Literal["answer", "all"] | None = None
    """Tokens whose states are changed: `answer`, from the last token of the prompt on; `all`, also the prompt. None tries
    both."""
    validation: float = 0.2
    """Share of the phrases of each kind whose instructions are kept for validation."""
    examples: int = 256
    """Maximum number of instructions of each kind from which the direction is computed."""
    validation_examples: int = 32
    """Maximum number of instructions of each kind for validation. Each is answered once for every layer, strength and choice of
    positions."""
    max_surprise: float = 0.5
    """A steered answer to a harmless instruction counts only if its loss under the unsteered model is at most this much above
    that of the unsteered answer, in nats per token. It keeps broken text, and answers about something else, from counting."""
    max_tokens: int = 32
    """Maximum tokens of an answer in validation."""
    seed: int = 0
    """Random seed of the split."""
    batch_size: int = 64
    """Instructions in one forward pass. Halved when memory runs out."""
    precision: Precision | None = None
    """Precision of the model. Default: that of the checkpoint. The vector only fits the model in this precision."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""

    def __post_init__(self) -> None:
        faults = []
        if self.layers is not None and (not self.layers or min(self.layers) < 0):
            faults.append(f"layers is {self.layers!r}; it must list numbers from 0")
        if not self.strengths or not all(0 <= strength < math.inf for strength in self.strengths):
            faults.append(
                f"strengths is {self.strengths!r}; it must list numbers from 0, because negative ones weaken refusals"
            )
        if self.positions not in (None, "answer", "all"):
            faults.append(f"positions is {self.positions!r}; it must be 'answer' or 'all'")
        if not 0 < self.validation < 1:
            faults.append(f"validation is {self.validation}; it must be between 0 and 1")
        if not self.max_surprise >= 0:
            faults.append(f"max_surprise is {self.max_surprise}; it must be at least 0")
        for name in ("examples", "validation_examples", "max_tokens", "batch_size"):
            if (value := getattr(self, name)) < 1:
                faults.append(f"{name} is {value}; it must be at least 1")
        if faults:
            raise ConfigError("; ".join(faults) + ".")
