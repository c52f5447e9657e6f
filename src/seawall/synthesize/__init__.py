"""Stage 2, `synthesize`: alignment pairs -> a store of verified synthetic embeddings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from seawall.errors import ConfigError
from seawall.models import Precision

FREE = ("pairs", "batch_size", "packing", "compile", "activation_checkpointing", "device_map")
"""What may change in a folder that goes on: which records there are, and how the work is done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """Settings of `synthesize`."""

    copies: int = 4
    """Embeddings of each record: from different starts, all made into the phrase by one change. At most as many as starts."""
    twins: bool = True
    """Whether harmless records get embeddings too. Without them alignment can learn "synthetic means refuse"."""
    start: Literal["bank", "blank"] = "bank"
    """`bank` (needs a folder of harmless media) or `blank`."""
    warm_start: int = 96
    """Records of a first block, from whose embeddings the starts of all others are foreseen by ridge regression: a third fewer
    steps; 0 is none."""
    content_questions: int = 4
    """Content questions optimised for each embedding, beside its style question."""
    rate: float = 0.2
    """Adam's learning rate, as a share of the standard deviation of the starts."""
    threshold: float = 0.01
    """A record is done when the mean loss of its content questions is below this, in nats a token; 0 always takes `max_steps`."""
    max_steps: int = 60
    """Most steps from one start."""
    starts: int = 2
    """How often a record starts, from other media, until the held-out questions bring back its phrase; then it is unverified."""
    lowerings: int = 1
    """How often a record that is done but not verified goes on to a lower threshold (times 0.3) before it starts again."""
    packing: bool = True
    """Whether a record's auxiliary turns share one row, where that gives the same numbers: faster, same embeddings."""
    batch_size: int | None = None
    """Embeddings in one forward pass; None is as many as the free memory takes, 48 at most. Halved when memory runs out."""
    compile: bool = False
    """Compile the language model's layers: a fifth faster on a card at 7B, some seconds to begin; needs a C++ compiler."""
    activation_checkpointing: bool = False
    """Recompute activations to save memory: a third more time."""
    precision: Precision | None = None
    """Of the model: `4bit` is its language model alone, by bitsandbytes; None is the checkpoint's own. `E` is always fp32."""
    device_map: str | None = None
    """`auto` lets accelerate spread the model over cards, memory and disk; None is one device."""
    seed: int = 0
    """Seed of starts and drawn questions; each record draws from its own."""

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)}; it must be at least 1"
            for name in ("copies", "starts", "batch_size", "content_questions")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if self.start not in ("bank", "blank"):
            faults.append(f"start is {self.start!r}; it must be 'bank' or 'blank'")
        if self.rate <= 0 or min(self.threshold, self.max_steps, self.lowerings, self.warm_start) < 0:
            faults.append("rate must be above 0; threshold, max_steps, lowerings and warm_start not below")
        if faults:
            raise ConfigError("; ".join(faults) + ".")


def synthesize(
    model: str,
    pairs: Path,
    out: Path,
    config: SynthesizeConfig = SynthesizeConfig(),
    *,
    bank: Path | None = None,
    engine: Literal["local", "ray"] = "local",
) -> dict[str, Any]:
    """Make synthetic embeddings for every pair. Run again, it goes on where it stopped; with more pairs, it adds theirs.

    Args:
        model: See `load_model`.
        pairs: Folder of `prepare`.
        out: Folder for the store, `synthesis.json` and `manifest.json`.
        config: Settings.
        bank: Folder of real, harmless, unlabelled media to start from.
        engine: `local`, every visible device of this machine; or `ray`, every device of a Ray cluster. The result is the same.

    Returns:
        The summary: `records`, `embeddings`, of which `verified`, `unverified` and `failed`; `vsr`, `steps_mean`; `seconds` of
        all sessions, `seconds_per_embedding`.

    Raises:
        ConfigError: A start from the bank without a bank, or the engine `ray` without Ray.
        ArtifactError: `out` belongs to another run or is being written, the disk is full, or not one embedding could be verified.
        EngineError: Workers died again and again; what was finished is kept.
    """
    from seawall.synthesize.run import run

    return run(model, pairs, out, config, bank, engine)
