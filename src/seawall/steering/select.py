"""The choice of layer, strength and positions on text validation: refuse the harmful, answer the harmless."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seawall.errors import ConfigError
from seawall.models.chat import Example
from seawall.models.generate import complete
from seawall.models.load import LoadedModel
from seawall.models.losses import example_losses
from seawall.models.memory import halve_on_out_of_memory
from seawall.models.steering.vector import Outcomes, Positions, SteeringVector
from seawall.progress import track
from seawall.refusals import is_refusal
from seawall.steering.config import SteerConfig
from seawall.steering.split import Instructions

DEPTH = 0.8
"""Share of the layers, from the first one, that are tried by default. Source: Arditi et al., arXiv 2406.11717."""
NUM_LAYERS = 8
"""Maximum number of layers that are tried by default."""


class Validation:
    """Measures steering vectors on validation instructions.

    Args:
        loaded: The model, without steering.
        instructions: The validation instructions.
        config: How answers are made and counted.
    """

    def __init__(self, loaded: LoadedModel, instructions: Instructions, config: SteerConfig) -> None:
        self.loaded, self.instructions, self.config = loaded, instructions, config
        answers = self._answer(loaded)
        harmless = answers[len(instructions.harmful) :]
        self._losses = self._compute_losses(harmless)
        self.unsteered = self._count(answers, self._losses)
        """Outcomes without steering."""

    def measure(self, vector: SteeringVector) -> Outcomes:
        """Return the outcomes with a vector."""
        if vector.strength == 0:
            return self.unsteered
        answers = self._answer(dataclasses.replace(self.loaded, steering=vector))
        return self._count(answers, self._compute_losses(answers[len(self.instructions.harmful) :]))

    def _answer(self, loaded: LoadedModel) -> list[str]:
        examples = [Example(question=text) for text in self.instructions.join()]
        completions = halve_on_out_of_memory(
            lambda size: complete(loaded, examples, max_new_tokens=self.config.max_tokens, batch_size=size),
            self.config.batch_size,
        )
        return [completion.text for completion in completions]

    @torch.no_grad()
    def _compute_losses(self, answers: Sequence[str]) -> Tensor:
        """Return the loss of each answer to a harmless instruction under the unsteered model, shape = (answers,)."""
        examples = [
            Example(question=text, answer=answer)
            for text, answer in zip(self.instructions.harmless, answers, strict=True)
        ]

        def compute(size: int) -> Tensor:
            parts = [examples[first : first + size] for first in range(0, len(examples), size)]
            return torch.cat([example_losses(self.loaded, part).cpu() for part in parts])

        return halve_on_out_of_memory(compute, self.config.batch_size)

    def _count(self, answers: Sequence[str], losses: Tensor) -> Outcomes:
        count = len(self.instructions.harmful)
        fluent = (losses - self._losses <= self.config.max_surprise).tolist()
        answered = [
            bool(answer.strip()) and good and not is_refusal(answer)
            for answer, good in zip(answers[count:], fluent, strict=True)
        ]
        return Outcomes(
            refused=sum(map(is_refusal, answers[:count])) / count,
            answered=sum(answered) / len(answered),
        )


def choose_vector(
    directions: Tensor, validation: Validation, config: SteerConfig, facts: dict[str, Any]
) -> SteeringVector:
    """Return the vector with the best mean of both shares. Among equals: the weakest, then the lowest layer.

    Args:
        directions: Mean difference of the states after each layer, shape = (layers, width).
        validation: Measures each vector.
        config: What is tried.
        facts: Further fields of the vector.

    Raises:
        ConfigError: The model lacks a layer of the settings.
    """
    layers, strengths = list_layers(len(directions), config), sorted(set(config.strengths))
    positions: tuple[Positions, ...] = (config.positions,) if config.positions else ("answer", "all")
    measured = []
    with track("choosing layer and strength", len(layers) * len(positions) * len(strengths)) as bar:
        for layer, place in itertools.product(layers, positions):
            answered = 1.0
            for strength in strengths:
                bar.advance()
                if answered == 0:  # the model is broken, and stronger steering does not mend it
                    continue
                vector = SteeringVector(
                    direction=directions[layer],
                    layer=layer,
                    strength=strength,
                    positions=place,
                    unsteered=validation.unsteered,
                    steered=validation.unsteered,
                    **facts,
                )
                measured.append(dataclasses.replace(vector, steered=validation.measure(vector)))
                answered = measured[-1].steered.answered
    return min(measured, key=lambda vector: (-vector.steered.score, vector.strength, vector.layer))


def list_layers(count: int, config: SteerConfig) -> list[int]:
    """Return the numbers of the layers to try, of `count`.

    Raises:
        ConfigError: The settings name a layer that the model does not have.
    """
    if config.layers is None:
        last = math.ceil(DEPTH * count) - 1
        return sorted({round(last * step / (NUM_LAYERS - 1)) for step in range(NUM_LAYERS)})
    if (last := max(config.layers)) >= count:
        raise ConfigError(f"layers has {last}, but the language model has {count} layers, from 0.")
    return sorted(set(config.layers))
