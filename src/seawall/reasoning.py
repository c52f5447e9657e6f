"""Separation of a model's answer from the reasoning that it writes before it.

Models write their reasoning between marks that differ by family: `<think>`, `[THINK]`, `<|channel>thought`, channels of
gpt-oss, and others. Only the answer is judged, whoever the judge is. Reasoning that does not end leaves no answer.

Source: the reasoning parsers of vLLM and SGLang list the marks of each family.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

_WORD = r"(?:\w{1,20}[:_])?(?:think|thinking|thought|reasoning)(?:[:_]\w{1,20})?"
_PAIRS = (
    (rf"<{_WORD}>", rf"</{_WORD}>"),  # DeepSeek, GLM, Kimi K2, MiniMax, Qwen, Seed (<seed:think>), EXAONE (<thought>)
    (r"\[THINK\]", r"\[/THINK\]"),  # Mistral
    (r"◁think▷", r"◁/think▷"),  # Kimi-VL
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThinker, Sky-T1
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    (r"\[unused16\]", r"\[unused17\]"),  # Pangu
    (r"<\|channel>(?:\w+\n)?", r"<channel\|>"),  # Gemma 4
    (
        r"(?:<\|start\|>)?(?:assistant)?<\|channel\|>(?!final)\w+(?:<\|constrain\|>\w*)?(?:<\|message\|>)?",
        r"(?:<\|end\|>)?(?:<\|start\|>)?(?:assistant)?<\|channel\|>final(?:<\|constrain\|>\w*)?<\|message\|>",
    ),  # gpt-oss
)
_HEADINGS = (
    (r"\s*(?:[Hh]ere is|[Hh]ere's) my thought process:", r"(?:[Hh]ere is|[Hh]ere's) my response:"),  # Granite
    (r"analysis(?=[A-Z\"'])", r"assistantfinal"),  # gpt-oss, from a server that removes special tokens
    (r"thought\n", r"(?!)"),  # Gemma 4, likewise: nothing is left that would tell where the reasoning ends
)
_OPEN = "|".join(pair[0] for pair in _PAIRS)
_CLOSE = "|".join(pair[1] for pair in _PAIRS)
_MARK = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
_HEADED = [re.compile(rf"{start}(?P<reasoning>.*?)(?:{end}(?P<answer>.*)|\Z)", re.DOTALL) for start, end in _HEADINGS]
_WRAPPING = re.compile(
    r"<\|(?:start|end)_(?:response|text)\|>|<\|(?:begin|end)_of_(?:solution|box)\|>|<\|(?:return|end)\|>|<turn\|>",
    re.IGNORECASE,
)
_ANSWER_TAGS = re.compile(r"\A\s*<(answer|response)>(.*?)(?:</\1>)?\s*\Z", re.DOTALL | re.IGNORECASE)
_TOKENS = re.compile(
    rf"</?{_WORD}>|\[/?THINK\]|◁/?think▷|<\|(?:START|END)_THINKING\|>|<\|(?:begin|end)_of_thought\|>"
    r"|<\|inner_(?:pre|suf)fix\|>|\[unused1[67]\]|<\|channel>|<channel\|>|<\|(?:channel|message|constrain)\|>",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a model wrote, separated into answer and reasoning."""

    answer: str
    """The answer. Empty if the reasoning does not end."""
    reasoning: str = ""
    """The reasoning before the answer, without its marks."""
    unfinished: bool = False
    """Whether the reasoning does not end, so that there is no answer."""


def split_reply(text: str, *, begun: bool = False) -> Reply:
    """Return a text of a model as answer and reasoning. A text without marks is an answer and stays as it is.

    An end mark without a start mark ends reasoning that began before the text, as prompts of some models begin it.

    Args:
        text: Everything that the model wrote, with the special tokens that `is_mark` knows.
        begun: Whether the prompt ended inside the reasoning.
    """
    for heading in _HEADED:
        if headed := heading.match(text):
            answer = headed["answer"]
            return Reply((answer or "").strip(), headed["reasoning"].strip(), unfinished=answer is None)
    marks = list(_MARK.finditer(text))
    if not marks and not begun:
        return Reply(text)
    inside = begun or marks[0]["close"] is not None
    answered: list[str] = []
    reasoning: list[str] = []
    last = 0
    for mark in marks:
        (reasoning if inside else answered).append(text[last : mark.start()])
        last, inside = mark.end(), mark["open"] is not None
    (reasoning if inside else answered).append(text[last:])
    thoughts = "\n".join(part.strip() for part in reasoning if part.strip())
    if inside:
        return Reply("", thoughts, unfinished=True)
    plain = _WRAPPING.sub("", "".join(answered)).strip()
    tagged = _ANSWER_TAGS.match(plain)
    return Reply(tagged[2].strip() if tagged else plain, thoughts)


class Begun(NamedTuple):
    """Reasoning at the end of a prompt."""

    start: int
    """Where it begins."""
    unfinished: bool
    """Whether the model continues it. False if the prompt also closes it."""


def find_begun(prompt: str) -> Begun | None:
    """Return the reasoning at the very end of a prompt. None if there is none."""
    marks = list(_MARK.finditer(prompt))
    if not marks or prompt[marks[-1].end() :].strip():
        return None
    if marks[-1]["open"] is not None:
        return Begun(marks[-1].start(), True)
    if len(marks) > 1 and marks[-2]["open"] is not None and not prompt[marks[-2].end() : marks[-1].start()].strip():
        return Begun(marks[-2].start(), False)
    return None


def is_mark(token: str) -> bool:
    """Return whether a special token is a mark of reasoning, so that it must not be lost when an answer is decoded."""
    return _TOKENS.fullmatch(token) is not None
