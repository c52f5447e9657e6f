"""Answers are separated from the reasoning before them, in the marks of every family."""

from __future__ import annotations

import pytest

from seawall.reasoning import Reply, find_begun, is_mark, split_reply

BOTH = {
    "qwen, deepseek": "<think>Kites fly.</think>\n\nPaint it.",
    "prompt that began it": "Kites fly.\n</think>\n\nPaint it.",
    "glm": "<think>Kites fly.</think><answer>Paint it.</answer>",
    "seed": "<seed:think>Kites fly.</seed:think>Paint it.",
    "exaone deep": "<thought>\nKites fly.\n</thought>\n\nPaint it.",
    "kimi-vl": "◁think▷Kites fly.◁/think▷Paint it.",
    "magistral": "[THINK]Kites fly.[/THINK]Paint it.",
    "cohere": "<|START_THINKING|>Kites fly.<|END_THINKING|><|START_RESPONSE|>Paint it.<|END_RESPONSE|>",
    "openthinker": "<|begin_of_thought|>Kites fly.<|end_of_thought|><|begin_of_solution|>Paint it.<|end_of_solution|>",
    "gemma 4": "<|channel>thought\nKites fly.<channel|>Paint it.<turn|>",
    "granite": "Here is my thought process: Kites fly. Here is my response: Paint it.",
    "gpt-oss": (
        "<|channel|>analysis<|message|>Kites fly.<|end|><|start|>assistant<|channel|>final<|message|>Paint it.<|return|>"
    ),
    "gpt-oss, end tokens removed": (
        "<|channel|>analysis<|message|>Kites fly.assistant<|channel|>final<|message|>Paint it."
    ),
    "gpt-oss, all tokens removed": "analysisKites fly.assistantfinalPaint it.",
}
CUT = {
    "qwen, deepseek": "<think>Kites",
    "magistral": "[THINK]Kites",
    "kimi-vl": "◁think▷Kites",
    "cohere": "<|START_THINKING|>Kites",
    "gemma 4": "<|channel>thought\nKites",
    "gemma 4, tokens removed": "thought\nKites",
    "granite": "Here's my thought process: Kites",
    "gpt-oss": "<|channel|>analysis<|message|>Kites",
    "gpt-oss, all tokens removed": "analysisKites",
    "a mark inside the thought": "<think>Kites</think> fly <think>Kites",
}


@pytest.mark.parametrize("text", BOTH.values(), ids=BOTH)
def test_the_answer_stands_alone(text):
    assert split_reply(text) == Reply("Paint it.", "Kites fly.")


@pytest.mark.parametrize("text", CUT.values(), ids=CUT)
def test_reasoning_that_does_not_end_leaves_no_answer(text):
    reply = split_reply(text)
    assert reply.answer == "" and reply.unfinished and "Kites" in reply.reasoning


def test_a_prompt_that_opens_the_reasoning_makes_a_text_without_marks_reasoning():
    assert split_reply("Kites fly", begun=True) == Reply("", "Kites fly", unfinished=True)
    assert split_reply("Kites fly.</think>Paint it.", begun=True) == Reply("Paint it.", "Kites fly.")


@pytest.mark.parametrize(
    "text",
    [
        "Paint it.",
        " Paint it. \n",
        "",
        "Analysis: paint it.",
        "I think here is my response: paint it.",
        "Thought: paint it.",
        "if a<b and c>d: think()",
        "<answer>Paint it.</answer>",
    ],
)
def test_a_text_without_marks_stays_as_it_is(text):
    assert split_reply(text) == Reply(text)


def test_an_empty_answer_after_the_reasoning_is_an_answer():
    assert split_reply("<think>Kites fly.</think>\n") == Reply("", "Kites fly.")


@pytest.mark.parametrize(
    ("prompt", "begun"),
    [
        ("user: Hello\nassistant: <think>\n", (23, True)),
        ("user: Hello\nassistant: <think>\n\n</think>\n\n", (23, False)),
        ("user: Hello\nassistant: ", None),
        ("user: <think>\nassistant: ", None),
    ],
)
def test_what_a_prompt_begins(prompt, begun):
    assert find_begun(prompt) == begun


def test_marks_that_are_special_tokens_are_known():
    kept = ["<|channel|>", "<|message|>", "<|channel>", "<channel|>", "[THINK]", "[/THINK]", "<think>", "</think>"]
    assert all(map(is_mark, kept))
    assert not any(map(is_mark, ["<|end|>", "<|im_end|>", "</s>", "<pad>", "<turn|>", "[INST]", "<image>"]))
