"""Settings of `synthesize`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from seawall.errors import ConfigError
from seawall.models.families import Precision

FREE = ("pairs", "batch_size", "share_prefix", "compile", "activation_checkpointing", "device_map")
"""Settings and inputs that may change when a run is resumed: which records there are, and how the work is done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """Settings of `synthesize`."""

    copies: int = 4
    """Embeddings per record. They start from different media and share one optimised offset. At most one per starting
    medium."""
    twins: bool = True
    """Also make embeddings for harmless records. Without them, training can learn "synthetic means refuse"."""
    start: Literal["bank", "blank"] = "bank"
    """Starting point: `bank`, real harmless media (needs --bank), or `blank`, a blank medium."""
    blank: float | None = None
    """Size of the blank medium, in whose place the embeddings stand: pixels of an image's edge, frames of a video, or
    seconds of a sound. It determines the size of an embedding: choose it as large as your media. Default: the size that
    `seawall models` lists, or the window of the model's feature extractor if that is shorter."""
    warm_start: int = 96
    """Number of records solved first. A ridge regression fitted on them predicts starting points for the rest, which
    saves about a third of the steps. 0 disables it."""
    content_questions: int = 4
    """Content questions optimised for each embedding, in addition to one style question."""
    learning_rate: float = 0.2
    """Learning rate of Adam, in units of the standard deviation of the starting points."""
    threshold: float = 0.01
    """Stop a record when the mean loss of its content questions is below this, in nats per token. 0 always runs
    `max_steps`."""
    max_steps: int = 60
    """Maximum optimiser steps per attempt."""
    attempts: int = 2
    """Maximum attempts per record, each from different starting media. After the last failure the record is marked
    unverified."""
    threshold_retries: int = 1
    """How often a record that reaches the threshold but fails verification continues with a lower one (times 0.3),
    before the next attempt."""
    share_prefix: bool = True
    """Compute the tokens that all questions of a record share only once. Used only where the model gives the same
    numbers."""
    batch_size: int | None = None
    """Embeddings per forward pass. Default: as many as fit into memory, at most 48. Halved when memory runs out."""
    compile: bool = False
    """Compile the layers of the language model. About 20 % faster for 7B models on a GPU; needs a C++ compiler."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass. Saves memory, takes about a third more time."""
    precision: Precision | None = None
    """Precision of the model. Default: that of the checkpoint. `4bit` quantises the language model only. Embeddings are
    always fp32."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""
    seed: int = 0
    """Random seed for starting points and questions. Each record uses its own stream."""

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)}; it must be at least 1"
            for name in ("copies", "attempts", "batch_size", "content_questions")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if self.start not in ("bank", "blank"):
            faults.append(f"start is {self.start!r}; it must be 'bank' or 'blank'")
        if self.blank is not None and self.blank <= 0:
            faults.append(f"blank is {self.blank}; it must be above 0")
        if self.learning_rate <= 0:
            faults.append(f"learning_rate is {self.learning_rate}; it must be above 0")
        faults += [
            f"{name} is {getattr(self, name)}; it must not be negative"
            for name in ("threshold", "max_steps", "threshold_retries", "warm_start")
            if getattr(self, name) < 0
        ]
        if faults:
            raise ConfigError("; ".join(faults) + ".")
