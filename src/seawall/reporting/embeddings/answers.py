"""What the model says of an embedding under each question, and why the embedding is or is not verified."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from seawall import prompts
from seawall.models.chat import BLANK, Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel
from seawall.models.memory import halve_on_out_of_memory
from seawall.store.embeddings import Entry
from seawall.store.pair import Pair
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import make_example
from seawall.synthesis.solve import new_task
from seawall.synthesis.verify import MAX_NEW_TOKENS

BATCH_SIZE = 32
"""Questions per forward pass. Halved when memory runs out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    """A question about an embedding, with the model's answer."""

    use: str
    """`optimised`, `style` or `held-out`."""
    question: str
    expected: str
    """The expected answer."""
    answer: str
    """The model's answer, at most `MAX_NEW_TOKENS` tokens."""
    passed: bool
    """Whether the answer mentions the phrase. For the style question, whether it is the expected one."""


def ask_questions(
    loaded: LoadedModel,
    embeddings: Mapping[str, Tensor],
    chosen: Sequence[tuple[Entry, Pair]],
    config: SynthesizeConfig,
) -> dict[str, list[AskedQuestion]]:
    """Return key -> questions with the model's greedy answers.

    Args:
        loaded: The model.
        embeddings: Key -> `E`, shape = (rows, width). Entries without one are left out.
        chosen: Entries, each with its pair.
        config: Settings of the synthesis.
    """
    asked = [
        (entry, pair, use, example)
        for entry, pair in chosen
        if entry.key in embeddings
        for use, example in list_questions(loaded, entry, pair, config)
    ]
    if not asked:
        return {}
    examples = [Example(question=example.question, medium=BLANK) for _, _, _, example in asked]
    items = torch.stack([embeddings[entry.key] for entry, _, _, _ in asked])

    def answer(size: int) -> list[str]:
        return generate(
            loaded, examples, items=items, max_new_tokens=MAX_NEW_TOKENS, batch_size=size, with_reasoning=True
        )

    found: dict[str, list[AskedQuestion]] = {}
    for (entry, pair, use, example), text in zip(asked, halve_on_out_of_memory(answer, BATCH_SIZE), strict=True):
        expected = example.answer or ""
        passed = text.strip() == expected.strip() if use == "style" else prompts.mentions(text, pair.phrase)
        one = AskedQuestion(use=use, question=example.question, expected=expected, answer=text, passed=passed)
        found.setdefault(entry.key, []).append(one)
    return found


def list_questions(
    loaded: LoadedModel, entry: Entry, pair: Pair, config: SynthesizeConfig
) -> Iterator[tuple[str, Example]]:
    """Yield use and question: those that were optimised for an embedding, then the held-out ones."""
    task = new_task(pair, loaded, torch.arange(config.copies), config, entry.attempts)
    yield from (("optimised", example) for example in task.content[get_copy(entry)])
    if task.style:
        yield "style", task.style
    yield from (("held-out", make_example(question)) for question in pair.verification)


def get_copy(entry: Entry) -> int:
    """Return which copy of its record an entry is."""
    return int(entry.key.rpartition("#")[2])


def explain_outcome(entry: Entry, asked: Sequence[AskedQuestion], config: SynthesizeConfig) -> str:
    """Return why an embedding is, or is not, verified.

    Args:
        entry: Its index entry.
        asked: Its questions with answers.
        config: Settings of the synthesis.
    """
    if entry.failed:
        return f"There is no embedding: {entry.failed}."
    held_out = [one for one in asked if one.use == "held-out"]
    missed = [one for one in held_out if not one.passed]
    if entry.verified and not missed:
        return f"All {len(held_out)} held-out answers name the phrase."
    if entry.verified:
        return (
            f"It was verified by the synthesis, but now {len(missed)} of {len(held_out)} held-out answers do not name "
            "the phrase. Another device or precision may round differently."
        )
    if not missed:
        return (
            "The synthesis did not verify it, but now all held-out answers name the phrase. Another device or "
            "precision may round differently."
        )
    questions = ", ".join(f"“{one.question}”" for one in missed)
    reasons = [f"{len(missed)} of {len(held_out)} held-out answers do not name the phrase ({questions})."]
    latest = entry.curve[-config.copies :]  # each step uses one copy in turn
    if latest and (loss := sum(latest) / len(latest)) >= config.threshold:
        reached = f"The loss stopped at {loss:.3g}, above the threshold of {config.threshold:g}"
        reasons.append(f"{reached}, after at most {config.max_steps} steps per attempt: more steps may help.")
    elif latest:
        reasons.append("The loss did reach the threshold, so the embedding fits the optimised questions only.")
    if not any(one.passed for one in asked if one.use == "optimised"):
        reasons.append("No answer to an optimised question names the phrase.")
    return " ".join(reasons)
