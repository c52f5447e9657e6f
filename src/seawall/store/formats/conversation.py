"""Conversations as chat and preference data store them: OpenAI's messages, ShareGPT, and HH-RLHF's dialogues."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from seawall.errors import DataError
from seawall.store.formats.objects import describe_value, join_names

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "function_call", "observation", "ipython", "tool_call"), "tool"),
}
"""Name of a speaker -> role."""
CHAT_COLUMNS = ("messages", "conversations", "conversation")
"""Columns that hold a whole conversation."""
_MEDIA_MARKS = re.compile(r"^(?:\s*<(?:image|video|audio)>)+\s*|(?:\s*<(?:image|video|audio)>)+\s*$")
_DIALOGUE = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: str
    """`user`, `assistant`, `system` or `tool`."""
    text: str
    """The words. Those of a user have no marks of media at their ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    request: str
    """The last user turn; empty if there is none."""
    answer: str | None
    """The assistant's turn after it. None if there is none."""
    requests: int
    """Number of user turns of the conversation."""


def find_conversation(row: Mapping[str, Any]) -> Any:
    """Return the conversation of a row: of a chat set, or of a line for OpenAI's batches. None if it has none."""
    for column in CHAT_COLUMNS:
        if row.get(column) is not None:
            return row[column]
    body = row.get("body")
    if isinstance(body, Mapping) and body.get("messages") is not None:
        return body["messages"]
    if "human" in row and "gpt" in row:
        return [{"from": name, "value": row[name]} for name in ("human", "gpt")]
    return None


def is_dialogue(value: Any) -> bool:
    """Return whether a value is a conversation and not a plain text."""
    if isinstance(value, str):
        return _DIALOGUE.match(value) is not None or value.lstrip().startswith(("[{", "[ {"))
    return isinstance(value, Mapping | Sequence)


def read_turns(value: Any, where: str) -> list[Turn]:
    """Return the turns of a conversation.

    Args:
        value: Messages, a single message, their JSON as a text, a list for each field, or a dialogue of HH-RLHF.
        where: Place of the value, for error messages.

    Raises:
        DataError: It is none of these, or a turn has no known speaker or no text.
    """
    if isinstance(value, str):
        if _DIALOGUE.match(value):
            parts = _DIALOGUE.split(value)[1:]
            turns = [
                Turn(ROLES[role.lower()], text.strip()) for role, text in zip(parts[::2], parts[1::2], strict=True)
            ]
            return turns[:-1] if turns[-1].role == "assistant" and not turns[-1].text else turns
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise DataError(f"{where} is {describe_value(value)}; it must be a list of messages.") from error
    if isinstance(value, Mapping) and value and all(isinstance(inner, list) for inner in value.values()):
        if len({len(inner) for inner in value.values()}) != 1:
            raise DataError(f"{where} has lists of different lengths; it must be a list of messages.")
        value = [dict(zip(value, some, strict=True)) for some in zip(*value.values(), strict=True)]
    messages = [value] if isinstance(value, Mapping) else value
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where} is {describe_value(value)}; it must be a list of messages.")
    return [_read_turn(message, f"{where}, message {number}") for number, message in enumerate(messages, 1)]


def _read_turn(message: Any, where: str) -> Turn:
    if not isinstance(message, Mapping):
        raise DataError(f"{where}, is {describe_value(message)}; it must have a role and a content.")
    speaker = message.get("role", message.get("from"))
    role = ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise DataError(
            f"{where}, has the speaker {describe_value(speaker)} (its keys: {join_names(message)}). It must be user, "
            "assistant or system."
        )
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if content is None and role in ("tool", "assistant"):
        content = ""  # a call of a tool
    if not isinstance(content, str):
        raise DataError(f"{where}, has as content {describe_value(content)}; it must be a text.")
    return Turn(role, strip_marks(content) if role == "user" else content.strip())


def strip_marks(text: str) -> str:
    """Return a request without marks at its ends, such as `<image>`, that stand for media."""
    return _MEDIA_MARKS.sub("", text).strip()


def split_last(turns: Sequence[Turn]) -> Exchange:
    """Return the last request of a conversation and its answer."""
    places = [place for place, turn in enumerate(turns) if turn.role == "user"]
    if not places:
        return Exchange("", None, 0)
    answers = [turn.text for turn in turns[places[-1] + 1 :] if turn.role == "assistant" and turn.text]
    return Exchange(turns[places[-1]].text, answers[-1] if answers else None, len(places))


def split_first(turns: Sequence[Turn]) -> Exchange:
    """Return the first request of a conversation and its answer."""
    places = [place for place, turn in enumerate(turns) if turn.role == "user"]
    end = places[1] if len(places) > 1 else len(turns)
    return dataclasses.replace(split_last(turns[:end]), requests=len(places))
