"""Forms in which many datasets are stored: lists of requests, preferences, and conversations."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from seawall.errors import DataError
from seawall.preparation.sources.reading import Dropped, Reading, read_flag
from seawall.store.formats.conversation import (
    Exchange,
    Turn,
    find_conversation,
    is_dialogue,
    read_turns,
    split_last,
    strip_marks,
)
from seawall.store.formats.objects import describe_value, join_names
from seawall.store.pair import Record

log = logging.getLogger(__name__)

Rows = Iterable[tuple[int, dict[str, Any]]]
REQUEST_COLUMNS = (
    *("instruction", "goal", "forbidden_prompt", "prompt", "question", "request", "query", "user_prompt", "behavior"),
)
"""Columns that hold requests, the likeliest first. Capitals do not matter."""
ANSWER_WORDS = ("response", "answer", "completion", "output", "reply", "chosen")
"""Parts of the names of columns that hold answers. `target` of an attack list is none: it is what the attack wants."""
PROMPT_COLUMNS = ("prompt", "question", "instruction", "query", "conversations", "messages", "conversation")
RESPONSE_COLUMNS = ("response", "responses")
SEVERAL = "conversations of several turns; the last request is used (--turns single leaves them out)"


def find_request_columns(row: Iterable[str]) -> list[str]:
    """Return the columns that may hold the request, the likeliest first."""
    names = {name.lower(): name for name in row}
    return [names[name] for name in REQUEST_COLUMNS if name in names]


def find_answer_columns(row: Iterable[str]) -> list[str]:
    """Return the columns that may hold answers."""
    return [name for name in row if any(word in name.lower() for word in ANSWER_WORDS)]


def has_request(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a column of requests."""
    return bool(find_request_columns(row))


def has_conversation(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a conversation."""
    return find_conversation(row) is not None


def is_dialogue_pair(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a preferred and a rejected dialogue, and no prompt of its own."""
    return {"chosen", "rejected"} <= set(row) and not any(column in row for column in PROMPT_COLUMNS)


def has_response_list(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a list of responses."""
    return any(isinstance(row.get(column), list) for column in RESPONSE_COLUMNS) and bool(find_request_columns(row))


def read_requests(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read a list of requests without answers."""
    column, known = "", set[str]()
    given = reading.columns.instruction
    for number, row in rows:
        if not column:
            found = find_request_columns(row)
            column = given if given in row or not found else found[0]
            if len(found) > 1 and given not in row:
                others = join_names(found[1:])
                log.warning(
                    "%s: requests are taken from %r, not from %s; --columns.instruction chooses",
                    reading.name,
                    column,
                    others,
                )
            known = set(row)
        late = [name for name in find_answer_columns(row) if row[name] and name not in known]
        if late:
            raise DataError(
                f"{reading.place(number)}: it has {late[0]!r}, which the first row lacks. Give all rows an answer, or none."
            )
        request = reading.require_text(row, column, number)
        yield reading.make_record(reading.read_id(row, number), number, row, request, None)


def read_preferences(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read a preferred and a rejected answer: texts, messages or dialogues, with the prompt in them or beside them."""
    for number, row in rows:
        place = reading.place(number)
        prompt = _read_prompt(row, reading, number)
        sides = [_read_side(row[name], prompt, f"{place}: {name!r}") if row.get(name) else None for name in _SIDES]
        chosen, rejected = (split_last(turns) if turns else None for turns in sides)
        if chosen is None or not chosen.request:
            yield Dropped(str(number), "empty", "no response" if chosen is None else "no instruction")
        elif rejected and rejected.request != chosen.request:
            yield Dropped(str(number), "several turns", "chosen and rejected answer different requests")
        else:
            yield _make_from_exchange(number, row, reading, chosen, rejected.answer if rejected else None)


_SIDES = ("chosen", "rejected")


def _read_prompt(row: Mapping[str, Any], reading: Reading, number: int) -> list[Turn]:
    """Return the turns before the answers. Empty if they are in the answers."""
    column = next((name for name in PROMPT_COLUMNS if row.get(name)), None)
    if column is None:
        return []
    if is_dialogue(row[column]):
        return read_turns(row[column], f"{reading.place(number)}: {column!r}")
    text = reading.read_text(row, column, number)
    context = reading.read_text(row, "input", number) if column == "instruction" else ""
    return [Turn("user", strip_marks("\n".join(filter(None, (text, context)))))]


def _read_side(value: Any, prompt: Sequence[Turn], where: str) -> list[Turn]:
    """Return the whole conversation of one answer."""
    if isinstance(value, str) and not is_dialogue(value):
        if not prompt:
            raise DataError(f"{where} is a text without a request, and there is no column with the prompt.")
        return [*prompt, Turn("assistant", value.strip())]
    if not isinstance(value, str | Mapping | list):
        raise DataError(f"{where} is {describe_value(value)}; it must be a text or a list of messages.")
    turns = read_turns(value, where)
    return turns if any(turn.role == "user" for turn in turns) else [*prompt, *turns]


def read_labelled_responses(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read a list of responses per request, with a label for each or the number of the better one."""
    for number, row in rows:
        column = next(name for name in (*RESPONSE_COLUMNS, "") if not name or isinstance(row.get(name), list))
        place = reading.place(number)
        responses = row.get(column)
        if not isinstance(responses, list) or not all(isinstance(text, str) for text in responses):
            raise DataError(f"{place}: 'response' is {describe_value(responses)}; it must be a list of texts.")
        name, good = _find_good(row, len(responses), place)
        request = reading.require_text(row, (find_request_columns(row) or ["prompt"])[0], number)
        safe = [text.strip() for text, flag in zip(responses, good, strict=True) if flag]
        unsafe = [text.strip() for text, flag in zip(responses, good, strict=True) if flag is False]
        about_safety = "saf" in name
        label = "harmful" if about_safety and unsafe else None
        if not safe:
            yield Dropped(str(number), "no safe response", kind=label)
            continue
        answers = safe[0], unsafe[0] if unsafe else None
        yield reading.make_record(number, number, row, request, *answers, label=label, vouched=about_safety)


def _find_good(row: Mapping[str, Any], count: int, place: str) -> tuple[str, list[bool | None]]:
    """Return the column of labels, and for each response whether it is the wanted one."""
    for name, value in row.items():
        named = name.lower()
        if (
            isinstance(value, list)
            and len(value) == count
            and any(word in named for word in ("saf", "label", "prefer"))
        ):
            flags = [read_flag(one) for one in value]
            if None not in flags:
                return named, flags
        chosen = any(word in named for word in ("better", "safer", "preferred", "chosen", "best"))
        if chosen and str(value).isdigit() and int(value) < count:
            return named, [number == int(value) for number in range(count)]
    raise DataError(
        f"{place}: it has {count} responses, and no column says which one is safe (its columns: {join_names(row)}). Add "
        "a list such as 'is_safe' with true or false for each, or 'better' with the number of one, from 0 on."
    )


def read_chat(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read conversations: the last request with the answer to it. System turns are left out."""
    for number, row in rows:
        value = find_conversation(row)
        if value is None:
            raise DataError(
                f"{reading.place(number)}: it has no conversation (its columns: {join_names(row)}), but the first row has."
            )
        exchange = split_last(read_turns(value, f"{reading.place(number)}: its conversation"))
        if row.get("label") is False:
            yield Dropped(str(number), "no safe response", "its label says that the answer is not wanted")
        else:
            yield _make_from_exchange(number, row, reading, exchange, None)


def read_completions(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read prompts with completions, as texts or messages. A `label` that is false marks a completion as unwanted."""
    for number, row in rows:
        prompt = _read_prompt({"prompt": row.get("prompt")}, reading, number)
        where = f"{reading.place(number)}: 'completion'"
        turns = _read_side(row["completion"], prompt, where) if row.get("completion") and prompt else prompt
        exchange = split_last(turns)
        if row.get("label") is False:
            yield Dropped(str(number), "no safe response", "its label says that the completion is not wanted")
        else:
            yield _make_from_exchange(
                number, row, reading, dataclasses.replace(exchange, answer=exchange.answer or ""), None
            )


def _make_from_exchange(
    number: int, row: Mapping[str, Any], reading: Reading, exchange: Exchange, rejected: str | None
) -> Record | Dropped:
    """Return the record of an exchange. A conversation of several turns is used or dropped, as the settings say."""
    if exchange.requests > 1:
        if reading.turns == "single":
            return Dropped(str(number), "several turns", f"{exchange.requests} requests in one conversation")
        reading.notes[SEVERAL] += 1
    return reading.make_record(number, number, row, exchange.request, exchange.answer, rejected)
