"""Reading and changing the states between the layers of the language model, by forward hooks that do not outlive their use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seawall.errors import ModelError
from seawall.models.chat import Example, to_model
from seawall.models.families import Family, base_model, get_decoder_layers
from seawall.models.load import LoadedModel
from seawall.models.steering.vector import SteeringVector
from seawall.progress import track


@contextlib.contextmanager
def steered(model: nn.Module, family: Family, vector: SteeringVector | None) -> Iterator[None]:
    """Add a steering vector to the output of its layer in every forward pass until the context ends.

    With `positions="answer"` the last token of each pass is changed: in `generate`, the last token of the prompt, which
    must be padded on the left, and then each token of the answer.

    Args:
        model: The full model, with or without a PEFT wrapper. It is restored afterwards, even after an exception.
        family: The model's row in the table of families.
        vector: What to add. None changes nothing.

    Raises:
        ModelError: The model has no layer of this number, or it has another width.

    Source: activation addition, Arditi et al., arXiv 2406.11717, section 2.4 (`all`); contrastive activation addition,
    Panickssery et al., arXiv 2312.06681 (`answer`).
    """
    if vector is None or vector.strength == 0:
        yield
        return
    layers = get_decoder_layers(model, family)
    if not 0 <= vector.layer < len(layers):
        raise ModelError(
            f"The steering vector is for layer {vector.layer}, but the language model has {len(layers)} layers, from 0. "
            "Run `seawall steer` with this model."
        )
    added = vector.direction * vector.strength
    first = -1 if vector.positions == "answer" else 0

    def add(_: nn.Module, __: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        if states.shape[-1] != len(added):
            raise ModelError(
                f"The steering vector has the width {len(added)}, but the layer has {states.shape[-1]}. Run `seawall steer` "
                "with this model."
            )
        changed = states.clone()
        changed[:, first:] += added.to(states)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = layers[vector.layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def capture_last_states(loaded: LoadedModel, examples: Sequence[Example], batch_size: int) -> Tensor:
    """Return the output of each layer of the language model at the last token of each prompt.

    Args:
        loaded: The model.
        examples: Questions without answers.
        batch_size: Questions in one forward pass.

    Returns:
        Tensor in fp32 and in main memory, shape = (layers, examples, width).
    """
    base = base_model(loaded.model)
    batches = []
    with contextlib.ExitStack() as stack, track("reading states", len(examples)) as bar:
        last: list[Tensor] = []

        def keep(_: nn.Module, __: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            last.append(states[:, -1].float().cpu())

        for layer in get_decoder_layers(loaded.model, loaded.family):
            stack.callback(layer.register_forward_hook(keep).remove)
        for first in range(0, len(examples), batch_size):
            rows = examples[first : first + batch_size]
            inputs = loaded.chat.batch(rows, padding_side="left")
            del inputs["labels"]
            last.clear()
            base(**to_model(inputs, loaded.model), use_cache=False)
            batches.append(torch.stack(last))
            bar.advance(len(rows))
    return torch.cat(batches, dim=1)
