"""What the demo compares and how: its arms, their syntheses, the training recipe, and the demo's settings.

Every trained arm gets the same steps, batch size, learning rate, text records and share of harmful examples. The
recipe was chosen on validation phrases: docs/results/index.md.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from seawall.alignment.config import AlignConfig, Mixture
from seawall.errors import ConfigError
from seawall.lab.organisms import FETCHED, ORGANISMS
from seawall.lab.world.dialogue import POLICIES
from seawall.steering.config import SteerConfig
from seawall.synthesis.config import SynthesizeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to make a model refuse harm."""

    mixture: Mixture | None = None
    """What it trains on. None: it is not trained."""
    dpo_mixture: Mixture | None = None
    """What it trains on by DPO. None: the same as by SFT."""
    embeddings: str | None = None
    """Synthesis whose embeddings it uses, a key of `SYNTHESES`. None: it uses none."""
    media: tuple[str, ...] = ()
    """Folders of real media that it trains on."""
    system_prompt: str | None = None
    """System prompt of the evaluation. None: the model gets none."""
    steering: SteerConfig | None = None
    """Makes its steering vector, from the text records. None: the model is not steered."""

    def get_mixture(self, method: str) -> Mixture | None:
        """Return what it trains on by `sft` or `dpo`. None: it is not trained."""
        return (self.dpo_mixture if method == "dpo" else None) or self.mixture


def _mix(**shares: float) -> Mixture:
    """Return a mixture with 30 % text. Components that are not given are left out."""
    left_out = dict.fromkeys(("synthetic_harmful", "synthetic_harmless", "media_harmful", "media_harmless"), 0.0)
    return Mixture(**{"text_harmful": 0.15, "text_harmless": 0.15, **left_out, **shares})


_REAL = _mix(media_harmful=0.25, media_harmless=0.45)
ARMS = {
    "base": Arm(),
    "safety_prompt": Arm(system_prompt=POLICIES[-1]),
    "steering": Arm(steering=SteerConfig()),
    "text_only": Arm(mixture=_mix(text_harmful=0.4, text_harmless=0.6)),
    "rendered_media": Arm(mixture=_REAL, media=("harmless", "rendered")),
    "sea_paper": Arm(
        mixture=_mix(synthetic_harmful=0.25, media_harmless=0.45),
        embeddings="sea_paper",
        media=("harmless",),
    ),
    "seawall": Arm(
        mixture=_mix(synthetic_harmful=0.25, synthetic_harmless=0.25, media_harmless=0.2),
        dpo_mixture=_mix(synthetic_harmful=0.25, synthetic_harmless=0.35, media_harmless=0.1),
        embeddings="seawall",
        media=("harmless",),
    ),
    "real_media": Arm(mixture=_REAL, media=("harmless", "harmful")),
}
SYNTHESES = {
    "seawall": SynthesizeConfig(),
    "sea_paper": SynthesizeConfig(
        copies=1,
        twins=False,
        start="blank",
        warm_start=0,
        content_questions=1,
        learning_rate=0.1,
        threshold=0,
        max_steps=20,
        attempts=1,
    ),
}
"""`sea_paper`: blank start, one content and one style control, a fixed number of steps, harmful records only."""
PAIRS = {"seawall": "pairs", "sea_paper": "pairs-one-prefix"}
"""Synthesis -> folder of its pairs. The paper announces every medium by the same prefix."""

SCHEMA = 2
"""Version of the layout of the demo's `results.json`."""
PLANE = "plane.json"
"""File of a demo with the metrics of each arm after each number of steps."""

RECIPE = AlignConfig(learning_rate=2e-3, num_checkpoints=3, allow_shortcut=True)
"""Training of every arm, except mixture and steps."""
DEFAULT_STEPS = 240
STEPS = {("audio", "sft"): 480}
"""Modality and method -> optimiser steps, where `DEFAULT_STEPS` are too few."""
QUICK = {"steps": 120, "num_checkpoints": 1}
"""Settings of the demo of all modalities: about a quarter of an hour."""

PUBLISHED_ARMS = ("base", "seawall")
"""Arms that are also evaluated through Inspect, in the layout of a published benchmark; see `organisms.worlds`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Settings of `demo`."""

    modality: Literal["image", "video", "audio", "reader", "all"] = "image"
    """Built-in model. `reader` has a pretrained language model, which `seawall organism fetch reader` gets; it takes longer.
    `all` runs a quick demo of each of the other three in turn, in folders of their own."""
    seeds: int = 1
    """Number of seeds. Each makes its own embeddings and adapters."""
    method: Literal["sft", "dpo"] = "sft"
    """Training of every trained arm; see `seawall align`. `dpo` takes twice as long and lets less harm through."""
    steps: int | None = None
    """Optimiser steps of every trained arm. Default: 240; 480 for sounds by SFT; 120 with `--modality all`."""
    num_checkpoints: int | None = None
    """Checkpoints of each trained arm that are measured, evenly spaced. Default: 3; 1 with `--modality all`."""
    phrases: int | None = None
    """Maximum number of phrases of each kind, for a quick look. Default: all."""
    part: Literal["test", "validation"] = "test"
    """Phrases and styles of the evaluation. `validation` is for choosing a recipe."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Arms to run. `base` always runs."""

    def __post_init__(self) -> None:
        faults = []
        if self.modality not in (*ORGANISMS, *FETCHED, "all"):
            choices = ", ".join(map(repr, (*ORGANISMS, *FETCHED, "all")))
            faults.append(f"modality is {self.modality!r}; it must be one of {choices}")
        if self.method not in ("sft", "dpo"):
            faults.append(f"method is {self.method!r}; it must be 'sft' or 'dpo'")
        for name, minimum in (("seeds", 1), ("steps", 4), ("num_checkpoints", 1), ("phrases", 1)):
            if (value := getattr(self, name)) is not None and value < minimum:
                faults.append(f"{name} is {value}; it must be at least {minimum}")
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            faults.append(f"arms contains {', '.join(map(repr, unknown))}; choose from {', '.join(ARMS)}")
        if faults:
            raise ConfigError("; ".join(faults) + ".")

    def get_steps(self) -> int:
        """Return the optimiser steps of every trained arm."""
        return self.steps or STEPS.get((self.modality, self.method), DEFAULT_STEPS)

    def list_arms(self) -> list[str]:
        """Return the names of the arms to run, in the order of `ARMS`."""
        return [arm for arm in ARMS if arm == "base" or arm in self.arms]

    def list_demos(self) -> dict[str, DemoConfig]:
        """Return the settings of each demo to run, by the name of its subfolder (an empty name if there is one demo)."""
        if self.modality != "all":
            return {"": self}
        quick = {name: getattr(self, name) or value for name, value in QUICK.items()}
        return {name: dataclasses.replace(self, modality=name, **quick) for name in ORGANISMS}  # type: ignore[arg-type]
