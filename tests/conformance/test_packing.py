"""On every row of the table, packing gives the results of separate rows, or is ruled out with a reason."""

from __future__ import annotations

import torch

from seawall.models.chat import BLANK, Example
from seawall.models.losses import example_losses
from seawall.models.packing import find_packing_obstacle, score_packed

EXAMPLES = [
    Example(question=question, answer=answer, medium=BLANK)
    for question, answer in (
        ("What is it?", "A car."),
        ("What colour has it?", "It is red."),
        ("Why", "For no reason."),
    )
]
OWN_MASK, LINEAR = "an attention mask of its own", "layers of the kind linear_attention"
NOT_PACKED = {"gemma3": OWN_MASK, "gemma4": OWN_MASK, "paligemma": OWN_MASK, "qwen3_5": LINEAR}


def test_packed_losses_and_gradients_are_those_of_separate_rows(row):
    row.model.requires_grad_(False)
    reason = find_packing_obstacle(row.loaded, EXAMPLES, row.own[0])
    if row.family.model_type in NOT_PACKED:
        assert NOT_PACKED[row.family.model_type] in reason
        return
    assert reason is None
    records = [EXAMPLES, EXAMPLES[:1:-1]]  # one row needs padding
    packed, plain = row.own.clone().requires_grad_(), row.own.clone().requires_grad_()
    losses = score_packed(row.loaded, records, packed).losses()
    each = torch.tensor([len(record) for record in records])
    expected = example_losses(
        row.loaded, [example for record in records for example in record], plain.repeat_interleave(each, 0)
    )
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    losses.sum().backward()
    expected.sum().backward()
    assert (packed.grad - plain.grad).norm() < 1e-5 * plain.grad.norm()


@torch.no_grad()
def test_losses_are_the_models_own(row):
    """This includes models that change the logits after the head."""
    expected = torch.stack([row.model(**row.loaded.chat.batch([example])).loss for example in EXAMPLES])
    torch.testing.assert_close(example_losses(row.loaded, EXAMPLES), expected, rtol=1e-5, atol=1e-6)
