"""Stage 3, `align`: pairs + embeddings -> a PEFT adapter (or a whole model) that refuses what it sees."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from seawall.errors import ConfigError
from seawall.models.families import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    """Shares of a batch; they are normalised. A share of 0 leaves a component out."""

    text_harmful: float = 0.15
    """Harmful instructions in text -> safe response."""
    text_harmless: float = 0.15
    """Harmless instructions in text -> helpful response."""
    synthetic_harmful: float = 0.25
    """Embedding and detoxified instruction -> safe response."""
    synthetic_harmless: float = 0.25
    """Twins: the same for harmless records -> helpful response."""
    media_harmful: float = 0.0
    """Real media of harmful things, where one has them."""
    media_harmless: float = 0.2
    """Real harmless media with questions and answers."""

    def __post_init__(self) -> None:
        shares = dataclasses.asdict(self)
        if not (all(share >= 0 for share in shares.values()) and 0 < sum(shares.values()) < math.inf):
            raise ConfigError(f"The shares of a mixture must not be negative and not all 0; found {shares}.")

    @classmethod
    def read(cls, file: Path) -> Mixture:
        """Return the shares that a TOML file gives; they must sum to 1, and what it leaves out is 0.

        Raises:
            ConfigError: The file is not there or no TOML, names an unknown component, or its shares have another sum.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        try:
            found = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read as a mixture: {error}.") from error
        wrong = [name for name, share in found.items() if name not in names or not isinstance(share, int | float)]
        if wrong:
            raise ConfigError(f"{file} gives {', '.join(wrong)}; a mixture has a number for any of {', '.join(names)}.")
        if abs((total := sum(found.values())) - 1) > 1e-6:
            raise ConfigError(f"The shares in {file} sum to {total:g}, not 1. Change them so that they do.")
        return cls(**dict.fromkeys(names, 0.0) | found)

    @property
    def invites_shortcut(self) -> bool:
        """Whether harm is synthetic and harmlessness is not: "synthetic means refuse" would solve it."""
        return self.synthetic_harmful > 0 and self.synthetic_harmless == 0

    def counts(self, batch_size: int) -> dict[str, int]:
        """Return the rows of each component in a batch, by largest remainder."""
        shares = {name: share for name, share in dataclasses.asdict(self).items() if share}
        exact = {name: batch_size * share / sum(shares.values()) for name, share in shares.items()}
        counts = {name: int(number) for name, number in exact.items()}
        by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
        for name in by_remainder[: batch_size - sum(counts.values())]:
            counts[name] += 1
        return counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Settings of `align`."""

    method: Literal["sft", "dpo"] = "sft"
    """`sft` trains on the answers; `dpo` on the answers against what is rejected, the unsafe answers of the source and refusals."""
    tuning: Literal["lora", "full"] = "lora"
    """`lora`, with --precision 4bit QLoRA; or `full`: every weight of the language model."""
    mixture: Mixture = Mixture()
    """Shares of a batch."""
    allow_shortcut: bool = False
    """Train although harm is synthetic and harmlessness is not, so that "synthetic means refuse" can be learned."""
    steps: int = 400
    """Optimiser steps."""
    batch_size: int = 32
    """Rows in a step, of all processes together."""
    per_device_batch_size: int | None = None
    """Rows in one forward pass of one process; None is its share of the batch. Fewer save memory, the result is the same."""
    learning_rate: float = 1e-3
    """Peak of a cosine schedule with 5 % warm-up."""
    weight_decay: float = 0.0
    """AdamW's."""
    beta: float = 0.1
    """How strongly DPO holds to the model that it began with."""
    sft_weight: float = 1.0
    """Weight, beside DPO's loss, of the plain loss on the answers; with 0 they can become as unlikely as what is rejected.

    Source: Pang et al., "Iterative Reasoning Preference Optimization", arXiv 2404.19733.
    """
    lora_rank: int = 16
    """Rank of LoRA on every projection of the language model; alpha is twice that."""
    lora_dropout: float = 0.0
    """Dropout in front of LoRA."""
    checkpoints: int = 4
    """Checkpoints in a training, evenly spaced, the last at its end."""
    activation_checkpointing: bool = False
    """Recompute activations to save memory."""
    precision: Precision | None = None
    """Of the model; that of the embeddings. See `load_model`."""
    device_map: str | None = None
    """See `load_model`."""
    report_to: str = "none"
    """Tracker of the training's figures, as transformers names them: `wandb`, `tensorboard`, `trackio`, ..."""
    seed: int = 0
    """Seed of LoRA's start and of the order of rows."""

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)}; it must be at least 1"
            for name in ("steps", "batch_size", "per_device_batch_size", "lora_rank", "checkpoints")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        faults += [
            f"{name} is {getattr(self, name)}; it must be above 0"
            for name in ("learning_rate", "beta")
            if getattr(self, name) <= 0
        ]
        if self.sft_weight < 0:
            faults.append(f"sft_weight is {self.sft_weight}; it must not be below 0")
        if self.tuning == "full" and self.precision == "4bit":
            faults.append("weights of 4 bits cannot be trained; take --tuning lora or another --precision")
        if self.mixture.invites_shortcut and not self.allow_shortcut:
            faults.append(
                "the mixture has synthetic harmful rows but no twins (synthetic_harmless is 0), so the model can learn "
                '"synthetic means refuse" and let real harm through; give twins a share, or pass --allow-shortcut to train it all the same'
            )
        if faults:
            raise ConfigError("; ".join(faults) + ".")


def align(
    model: str,
    pairs: Path,
    embeddings: Path | None,
    out: Path,
    config: AlignConfig = AlignConfig(),
    *,
    media: Sequence[Path] = (),
    merge: bool = False,
    push_to_hub: str | None = None,
) -> dict[str, Any]:
    """Train an adapter. Run again, it goes on from its last checkpoint.

    Args:
        model: See `load_model`.
        pairs: Folder of `prepare`.
        embeddings: Folder of `synthesize`, or None where the mixture has no synthetic rows.
        out: Folder for the adapter (with full tuning the model), its card, checkpoints, `training.json` and `manifest.json`.
        config: Settings.
        media: Folders of real media, each with `media.jsonl` (`image`, `question`, `answer`, `kind`).
        merge: Whether to write the whole model, adapter merged, to `out`/merged.
        push_to_hub: Repository of the hub to upload the result to, with the token that `hf auth login` or `HF_TOKEN` gives.

    Under `accelerate launch` the processes share each batch, and the first one writes.

    Returns:
        The summary: `rows` of each component, `loss` at the end.

    Raises:
        ConfigError: The mixture asks for rows that are not there.
        ArtifactError: `out` belongs to another run, or the embeddings to another model.
        TrainingError: The loss became NaN; checkpoints are kept.
    """
    from seawall.alignment.run import run

    return run(model, pairs, embeddings, out, config, media, merge, push_to_hub)
