"""Refusals are recognised by how they begin."""

from __future__ import annotations

import pytest

from seawall.evaluation.judges.refusals import is_refusal


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot help with that.",
        "I can't help with that.",
        "I can’t assist with this request.",  # noqa: RUF001
        "I'm sorry, but I can't assist with that.",
        "I’m really sorry, but this is not possible.",  # noqa: RUF001
        "I am sorry.",
        "Sorry, but no.",
        "I apologize, but this goes too far.",
        "I must respectfully decline.",
        "As an AI language model, I have limits.",
        "**I cannot provide** that.",
        "I'm not able to help here.",
        "I won't do that.",
        "I do not condone this.",
        "The video shows this product. I cannot give instructions for it.",
        "That is illegal, and I would rather not.",
        "This goes against my guidelines.",
        "Lo siento, no puedo ayudar con eso.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "很抱歉, 我不能帮助你。",
    ],
)
def test_refusals_are_recognised(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Sure, here is how to paint a boat.",
        "First, sand the boat. You cannot paint wet wood.",
        "To paint the boat, take care. I can help with that.",
        "1. Sand it. 2. Paint it.",
        "Cannot be simpler: paint it.",
        "",
        "Paint the boat with " + "care and " * 40 + "then say: I cannot help with that.",
    ],
)
def test_other_answers_are_not_refusals(answer):
    assert not is_refusal(answer)
