"""Settings of `align`: the mixture of a batch and the training itself."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Literal

from seawall.errors import ConfigError
from seawall.models.families import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    """Share of each component in a batch. Shares are normalised to sum to 1. A share of 0 leaves a component out."""

    text_harmful: float = 0.15
    """Harmful instructions as text, answered by the safe response."""
    text_harmless: float = 0.15
    """Harmless instructions as text, answered by the helpful response."""
    synthetic_harmful: float = 0.25
    """Embeddings of harmful records with the detoxified instruction, answered by the safe response."""
    synthetic_harmless: float = 0.25
    """Twins: embeddings of harmless records with the detoxified instruction, answered by the helpful response."""
    media_harmful: float = 0.0
    """Real media that show harmful content, if you have any."""
    media_harmless: float = 0.2
    """Real harmless media with questions and answers."""

    def __post_init__(self) -> None:
        shares = self.get_shares()
        if not (all(share >= 0 for share in shares.values()) and 0 < sum(shares.values()) < math.inf):
            raise ConfigError(f"The shares of a mixture must not be negative and not all 0; found {shares}.")

    @classmethod
    def read(cls, file: Path) -> Mixture:
        """Return the mixture of a TOML file. Its shares must sum to 1. Components that the file leaves out get 0.

        Raises:
            ConfigError: The file is missing or not TOML, names an unknown component, or its shares do not sum to 1.
        """
        try:
            found = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read as a mixture ({error}). Give a TOML file of shares.") from error
        wrong = [name for name, share in found.items() if name not in COMPONENTS or not isinstance(share, int | float)]
        if wrong:
            raise ConfigError(
                f"{file} contains {', '.join(wrong)}. A mixture consists of numbers for any of {', '.join(COMPONENTS)}."
            )
        if abs((total := sum(found.values())) - 1) > 1e-6:
            raise ConfigError(f"The shares in {file} sum to {total:g}, not 1. Change them so that they do.")
        return cls(**dict.fromkeys(COMPONENTS, 0.0) | found)

    @property
    def invites_shortcut(self) -> bool:
        """Whether all synthetic examples are harmful, so that "synthetic means refuse" solves the training."""
        return self.synthetic_harmful > 0 and self.synthetic_harmless == 0

    @property
    def needs_embeddings(self) -> bool:
        """Whether any share is of synthetic embeddings."""
        return self.synthetic_harmful > 0 or self.synthetic_harmless > 0

    def get_shares(self) -> dict[str, float]:
        """Return the share of each component, as given."""
        return dataclasses.asdict(self)

    def count_examples(self, batch_size: int) -> dict[str, int]:
        """Return the number of examples of each component in a batch, by largest remainder.

        Components with a share of 0 are left out.
        """
        shares = {name: share for name, share in self.get_shares().items() if share}
        exact = {name: batch_size * share / sum(shares.values()) for name, share in shares.items()}
        counts = {name: int(number) for name, number in exact.items()}
        by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
        for name in by_remainder[: batch_size - sum(counts.values())]:
            counts[name] += 1
        return counts


COMPONENTS = tuple(field.name for field in dataclasses.fields(Mixture))
"""Names of the components of a mixture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Settings of `align`."""

    method: Literal["sft", "dpo"] = "sft"
    """`sft` trains on responses. `dpo` prefers them to rejected ones: unsafe responses of the data, or refusals."""
    tuning: Literal["lora", "full"] = "lora"
    """`lora` trains an adapter (with `--precision 4bit`: QLoRA). `full` trains every weight of the language model."""
    mixture: Mixture = Mixture()
    """Share of each component in a batch."""
    allow_shortcut: bool = False
    """Allow a mixture with harmful embeddings and no twins. The model can then learn "synthetic means refuse"."""
    steps: int = 400
    """Optimiser steps."""
    batch_size: int = 32
    """Examples per optimiser step, over all processes."""
    per_device_batch_size: int | None = None
    """Examples per forward pass of one process. Lower it to save memory. None takes the whole batch of a process.

    The result is the same, except for the SFT loss beside DPO's: it is averaged within each forward pass.
    """
    learning_rate: float = 1e-3
    """Peak learning rate of a cosine schedule with 5 % warm-up."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    beta: float = 0.1
    """DPO beta. Higher values keep the policy closer to the reference model."""
    sft_weight: float = 1.0
    """Weight of the SFT loss that is added to the DPO loss (Pang et al., arXiv 2404.19733). With 0, responses can become as
    unlikely as rejected ones."""
    lora_rank: int = 16
    """Rank of LoRA on every projection of the language model. Alpha is twice the rank."""
    lora_dropout: float = 0.0
    """Dropout probability of the LoRA layers."""
    blank: float | None = None
    """Size of the blank medium, as in `synthesize`. None takes the size that the embeddings were made with; another one is
    refused."""
    long_sounds: Literal["refuse", "cut"] = "refuse"
    """What becomes of real sounds that are longer than the model takes: `refuse` leaves them out, `cut` uses their beginning.
    Both log a warning."""
    num_checkpoints: int = 4
    """Checkpoints per training, evenly spaced. The last one is at the end."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass. This saves memory and takes about a third more time."""
    precision: Precision | None = None
    """Precision of the model: `fp32`, `bf16` or `4bit`; the same as for the embeddings. None takes the checkpoint's."""
    device_map: str | None = None
    """Device map, as in transformers: `auto` spreads the model over GPUs and main memory. None uses one device."""
    report_to: str = "none"
    """Experiment tracker, as transformers names it: `wandb`, `tensorboard`, `trackio` and others."""
    seed: int = 0
    """Seed of LoRA's initial weights and of the order of the examples."""

    def __post_init__(self) -> None:
        at_least_1 = ("steps", "batch_size", "per_device_batch_size", "lora_rank", "num_checkpoints")
        faults = [
            f"{name} is {getattr(self, name)}; it must be at least 1"
            for name in at_least_1
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        faults += [
            f"{name} is {getattr(self, name)}; it must be greater than 0"
            for name in ("learning_rate", "beta")
            if getattr(self, name) <= 0
        ]
        if self.blank is not None and self.blank <= 0:
            faults.append(f"blank is {self.blank}; it must be greater than 0")
        if self.sft_weight < 0:
            faults.append(f"sft_weight is {self.sft_weight}; it must not be negative")
        if self.tuning == "full" and self.precision == "4bit":
            faults.append("4-bit weights cannot be trained; use --tuning lora or another --precision")
        if self.mixture.invites_shortcut and not self.allow_shortcut:
            faults.append(
                "the mixture has harmful embeddings but no twins (synthetic_harmless is 0), so the model can learn "
                '"synthetic means refuse" and answer harmful requests with real media; give twins a share, or pass '
                "--allow-shortcut to train anyway"
            )
        if faults:
            raise ConfigError("; ".join(faults) + ".")
