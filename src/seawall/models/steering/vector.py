"""Steering vectors and their file: one tensor in safetensors format, with what made it as metadata."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seawall.errors import ArtifactError, ModelError
from seawall.store.files import write_durably

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Positions = Literal["answer", "all"]
"""`answer`: the last token of the prompt and every token of the answer. `all`: every token of prompt and answer."""
FILE = "steering.safetensors"
"""Name of the file in a folder."""
SCHEMA = 1
"""Version of the file's metadata."""
METADATA = "seawall_steering"
"""Entry of the file's metadata: everything but the direction, as JSON."""
_TENSOR = "direction"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How a model answers the validation instructions."""

    refused: float
    """Share of the harmful instructions that it refuses."""
    answered: float
    """Share of the harmless instructions that it answers."""

    @property
    def score(self) -> float:
        """Mean of both shares. A model that refuses everything has 0.5, as has one that refuses nothing."""
        return (self.refused + self.answered) / 2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SteeringVector:
    """A direction that is added to the output of one layer of a language model."""

    direction: Tensor
    """Mean difference of the states, shape = (width,), fp32."""
    layer: int
    """Number of the layer, from 0."""
    strength: float
    """Factor of the direction. With 0, nothing is added."""
    positions: Positions
    """Tokens whose states are changed."""
    model: str
    """Name of the model, as the user gave it."""
    fingerprint: str
    """Hash of the model's architecture and weights."""
    seed: int
    """Seed of the split into training and validation."""
    train_harmful: int
    """Number of harmful instructions that the direction was computed from."""
    train_harmless: int
    """Number of harmless instructions that the direction was computed from."""
    validation_harmful: int
    """Number of harmful instructions on which layer and strength were chosen."""
    validation_harmless: int
    """Number of harmless instructions on which layer and strength were chosen."""
    unsteered: Outcomes
    """Validation without steering."""
    steered: Outcomes
    """Validation with this vector."""
    identity: str
    """Hash of the settings and inputs that made the vector."""

    def to_json(self) -> dict[str, Any]:
        """Return everything but the direction."""
        names = (field.name for field in dataclasses.fields(self) if field.name != _TENSOR)
        values = {name: getattr(self, name) for name in names}
        return {
            name: dataclasses.asdict(value) if isinstance(value, Outcomes) else value for name, value in values.items()
        }

    def write(self, path: Path) -> None:
        """Write the vector as a safetensors file that is complete or absent.

        Raises:
            ArtifactError: The disk is full or cannot be written.
        """
        from safetensors.torch import save

        facts = {"schema": SCHEMA, **self.to_json()}  # one entry, because safetensors writes several in any order
        write_durably(path, save({_TENSOR: self.direction.contiguous()}, {METADATA: json.dumps(facts)}))


def find_file(path: Path) -> Path:
    """Return the file of a vector, given as a file or as its folder."""
    return path if path.suffix == ".safetensors" and not path.is_dir() else path / FILE


def read_vector(path: Path) -> SteeringVector:
    """Return the vector of a file or folder that `steer` wrote.

    Raises:
        ArtifactError: There is no such file, or something else wrote it.
    """
    from safetensors import SafetensorError, safe_open

    file = find_file(path)
    if not file.is_file():
        raise ArtifactError(f"There is no steering vector {file}. Give the file that `seawall steer` wrote.")
    try:
        with safe_open(file, framework="pt") as opened:
            facts = json.loads(opened.metadata()[METADATA])
            if facts.pop("schema") != SCHEMA:
                raise ValueError("schema")
            facts |= {name: Outcomes(**facts[name]) for name in ("unsteered", "steered")}
            return SteeringVector(direction=opened.get_tensor(_TENSOR).float(), **facts)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{file} is not a steering vector of this version of Seawall. Give the file that `seawall steer` wrote."
        ) from error


def read_vector_for(path: Path, name: str, fingerprint: str) -> SteeringVector:
    """Return the vector of a file or folder for a model.

    Args:
        path: File or folder that `steer` wrote.
        name: Name of the model, as the user gave it.
        fingerprint: Hash of its architecture and weights.

    Raises:
        ArtifactError: There is no such file, or something else wrote it.
        ModelError: The vector was made with another model.
    """
    vector = read_vector(path)
    if vector.fingerprint != fingerprint:
        raise ModelError(
            f"The steering vector {path} was made with {vector.model!r} (fingerprint {vector.fingerprint}), not with {name!r} "
            f"(fingerprint {fingerprint}) as it is loaded here: run `seawall steer` with this model, in this precision."
        )
    if vector.strength == 0:
        log.warning(
            "the steering vector %s has strength 0, because none helped on validation: it changes nothing", path
        )
    return vector
