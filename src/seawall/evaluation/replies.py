"""What a model under test answered, in Inspect's output: one reading for all providers, judges and statistics."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from seawall.reasoning import split_reply

if TYPE_CHECKING:
    from inspect_ai.model import Content, ModelOutput

    from seawall.models.generate import Completion

UNANSWERED = "no answer"
"""Beginning of the explanation of a score that is missing because the model gave no answer."""
CUT = ("max_tokens", "model_length")
"""Stop reasons of a text that ended at a token limit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenReply:
    """What a model under test answered."""

    answer: str
    """The answer, without the reasoning before it."""
    cut: bool
    """Whether the text ended at the token limit."""
    unanswered: bool
    """Whether there is no answer, because the text ended inside the reasoning."""


def read_reply(output: ModelOutput) -> GivenReply:
    """Return the answer of an output. Reasoning is a part of its own with some providers, and in the text with others."""
    cut = bool(output.choices) and output.stop_reason in CUT  # a sample that failed has no choices
    parts = output.message.content if output.choices else ""
    kinds = ["text"] if isinstance(parts, str) else [part.type for part in parts]
    reply = split_reply(output.completion)
    reasons = "reasoning" in kinds or bool(reply.reasoning)
    silent = reasons and not reply.answer.strip() and (cut or "text" not in kinds)
    return GivenReply(answer=reply.answer, cut=cut, unanswered=reply.unfinished or silent)


def make_parts(made: Completion) -> str | list[Content]:
    """Return a completion as Inspect keeps it: the answer is text, the reasoning is not. No text means no answer."""
    from inspect_ai.model import ContentReasoning, ContentText

    if not made.reasoning and not made.unanswered:
        return made.text
    answer: list[Content] = [] if made.unanswered else [ContentText(text=made.text)]
    return [ContentReasoning(reasoning=made.reasoning), *answer]
