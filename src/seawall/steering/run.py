"""`steer`: a refusal direction from text, as a training-free baseline."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from seawall.errors import ArtifactError
from seawall.steering.config import FREE, SteerConfig
from seawall.steering.split import Instructions, split_instructions
from seawall.store.files import explain_failed_write, hash_file, hash_text, to_plain
from seawall.store.pair import PAIRS

if TYPE_CHECKING:
    from torch import Tensor

    from seawall.models.load import LoadedModel
    from seawall.models.steering.vector import SteeringVector

log = logging.getLogger(__name__)


def steer(model: str, pairs: Path, out: Path, config: SteerConfig = SteerConfig()) -> SteeringVector:
    """Compute a steering vector from text instructions, and write it as a safetensors file.

    The direction is the mean of the language model's states at the last token of harmful instructions, minus that of harmless
    ones. It is added to the output of one layer while the model generates. Layer, strength and positions are chosen on text
    instructions of other phrases: refuse the harmful, answer the harmless. No medium is read.

    Args:
        model: Registered name, folder in Hugging Face format, or hub id.
        pairs: Folder that `prepare` wrote.
        out: File ending in `.safetensors`, or folder for `steering.safetensors`. A finished file returns its vector.
        config: Settings.

    Returns:
        The vector, with its figures on validation.

    Raises:
        ConfigError: The model lacks a layer of the settings.
        DataError: The pairs have fewer than two phrases of a kind.
        ModelError: The model cannot be loaded.
        ArtifactError: `pairs` is not finished, or `out` holds the vector of another run.

    Source: mean difference and addition at one layer: Arditi et al., "Refusal in Language Models Is Mediated by a Single
    Direction", arXiv 2406.11717. Addition from the end of the prompt on: Panickssery et al., arXiv 2312.06681. Text directions
    in multimodal models: D'Incà et al. (MARS), arXiv 2606.31876, whose re-centring and adaptive strength are not used here.
    """
    from seawall.models.load import load_model, move_to_device
    from seawall.models.steering.vector import find_file
    from seawall.steering.select import Validation, choose_vector

    train, held_out = split_instructions(pairs, config)
    loaded = load_model(model, precision=config.precision, device_map=config.device_map)
    move_to_device(loaded.model)
    file, identity = find_file(out), _identify(loaded, pairs, config)
    if file.exists():
        return _reuse(file, identity)
    facts = {
        "model": model,
        "fingerprint": loaded.fingerprint,
        "seed": config.seed,
        "train_harmful": len(train.harmful),
        "train_harmless": len(train.harmless),
        "validation_harmful": len(held_out.harmful),
        "validation_harmless": len(held_out.harmless),
        "identity": identity,
    }
    directions = compute_directions(loaded, train, config.batch_size)
    vector = choose_vector(directions, Validation(loaded, held_out, config), config, facts)
    _warn_if_useless(vector)
    with explain_failed_write(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    vector.write(file)
    return vector


def compute_directions(loaded: LoadedModel, instructions: Instructions, batch_size: int = 64) -> Tensor:
    """Return the mean difference of the states between harmful and harmless instructions.

    Args:
        loaded: The model.
        instructions: Text instructions of both kinds.
        batch_size: Instructions in one forward pass. Halved when memory runs out.

    Returns:
        Tensor in fp32, shape = (layers, width).
    """
    from seawall.models.chat import Example
    from seawall.models.memory import halve_on_out_of_memory
    from seawall.models.steering.hooks import capture_last_states

    examples = [Example(question=text) for text in instructions.join()]
    states = halve_on_out_of_memory(lambda size: capture_last_states(loaded, examples, size), batch_size)
    count = len(instructions.harmful)
    return states[:, :count].mean(1) - states[:, count:].mean(1)


def _identify(loaded: LoadedModel, pairs: Path, config: SteerConfig) -> str:
    """Return a hash of everything that the vector depends on."""
    fixed = {name: value for name, value in to_plain(config).items() if name not in FREE}
    return hash_text(json.dumps([loaded.fingerprint, hash_file(pairs / PAIRS), fixed], sort_keys=True))


def _reuse(file: Path, identity: str) -> SteeringVector:
    """Return the vector of an earlier call with the same settings and inputs."""
    from seawall.models.steering.vector import read_vector

    found = read_vector(file)
    if found.identity != identity:
        raise ArtifactError(
            f"{file} holds the vector of another run (model, pairs or settings differ). Results are never overwritten: give "
            "another --out, or delete the file."
        )
    return found


def _warn_if_useless(vector: SteeringVector) -> None:
    if vector.steered.score <= vector.unsteered.score:
        log.warning(
            "steering does not help on validation: with strength %g, %.2f of %d harmful instructions are refused and %.2f of %d "
            "harmless ones answered; without steering, %.2f and %.2f",
            vector.strength, vector.steered.refused, vector.validation_harmful, vector.steered.answered,
            vector.validation_harmless, vector.unsteered.refused, vector.unsteered.answered,
        )  # fmt: skip
