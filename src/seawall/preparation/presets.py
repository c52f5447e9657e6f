"""What the columns of the public sets mean: rows -> records. The set's own labels choose the safe response.

One reader for each schema; `PRESETS` is the table of them. What a reader cannot use it drops with its reason, so that every
row is either a record or counted.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seawall.errors import DataError
from seawall.store.pair import KINDS, Record

log = logging.getLogger(__name__)

Rows = Iterable[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """A row, or a record, that is not used."""

    id: str
    step: str
    """What turned it away, as the counts name it."""
    reason: str = ""
    """More about it, for `dropped.jsonl`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the source's columns, for data that no preset knows."""

    instruction: str = "instruction"
    """The request."""
    response: str = "response"
    """The safe, or helpful, response."""
    rejected: str = "rejected"
    """An unsafe response."""
    kind: str = "kind"
    """`harmful` or `harmless`."""
    id: str = "id"
    """Must differ from row to row."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A schema of a public set."""

    name: str
    columns: tuple[str, ...]
    """Columns that it is known by; all of them are needed."""
    read: Callable[[Rows], Iterator[Record | Dropped]]


def read_records(
    name: str, rows: Rows, *, columns: Columns = Columns(), preset: str = "auto", kind: str | None = None
) -> Iterator[Record | Dropped]:
    """Example rows into records.

    Args:
        name: The source, for messages.
        rows: (number, row).
        columns: Names for data that no preset knows; a name that is not the default switches the presets off.
        preset: One of `PRESETS`, or `auto`: the first row's columns decide.
        kind: What the requests are that the source does not label. Without it they are harmful in seawall's own form, and dropped
            in a public set.

    Raises:
        DataError: There is no row, the columns do not fit, or a line of seawall's own form is faulty.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name} holds no rows.")
    found = first[1].keys()
    chosen = find_preset(found) if preset == "auto" and columns == Columns() else PRESETS.get(preset)
    missing = [column for column in chosen.columns if column not in found] if chosen else []
    if missing:
        raise DataError(
            f"{name} has no {missing} (its columns: {', '.join(found)}), so it is not of the preset {chosen.name!r}.{_advise(found)}"
        )
    if chosen:
        log.info("%s: read as %s", name, chosen.name)
    read = chosen.read if chosen else _Own(name, columns, kind or "harmful").read
    for record in read(itertools.chain([first], rows)):
        if isinstance(record, Dropped) or record.kind:
            yield record
        elif kind:
            yield dataclasses.replace(record, kind=kind)
        else:
            yield Dropped(
                record.id, "not labelled", "the set does not say whether the request is harmful; --kind says it"
            )


def find_preset(columns: Iterable[str]) -> Preset | None:
    """Return the preset whose columns are all there, the one with most of them; None for seawall's own form."""
    columns = set(columns)
    fitting = [preset for preset in PRESETS.values() if columns.issuperset(preset.columns)]
    return None if "kind" in columns else max(fitting, key=lambda preset: len(preset.columns), default=None)


def _advise(columns: Iterable[str]) -> str:
    """Return the nearest preset in a sentence, or nothing where none is near."""
    columns = set(columns)
    nearest = max(PRESETS.values(), key=lambda preset: len(columns & set(preset.columns)) / len(preset.columns))
    lacking = [column for column in nearest.columns if column not in columns]
    if len(lacking) == len(nearest.columns):
        return ""
    lacks = f", which lacks {', '.join(map(repr, lacking))}" if lacking else ", which fits"
    return f" The nearest preset is {nearest.name!r}{lacks}; --columns.instruction and the like name the columns of any other set."


@dataclasses.dataclass(frozen=True)
class _Own:
    """Seawall's own form, under any names: a faulty line is an error, because it is the user's to mend."""

    name: str
    columns: Columns
    kind: str
    """Of a line that does not say its kind."""

    def read(self, rows: Rows) -> Iterator[Record]:
        names, seen = self.columns, set()
        for number, line in rows:
            where = f"{self.name}, line {number}"
            for column in (names.instruction, names.response):
                if not isinstance(line.get(column), str) or not line[column].strip():
                    raise DataError(
                        f"{where}, has no {column!r} (its columns: {', '.join(line) or 'none'}). "
                        f"Every line needs the texts {names.instruction!r} and {names.response!r}; rename the columns or complete the line."
                        + _advise(line)
                    )
            kind, rejected = line.get(names.kind), line.get(names.rejected)
            if not isinstance(rejected, str | None):
                raise DataError(f"{where}: {names.rejected!r} is {rejected!r}; it must be a text or null.")
            if kind not in (*KINDS, None):
                raise DataError(f"{where}: {names.kind} is {kind!r}; it must be 'harmful' or 'harmless'.")
            key = str(number if line.get(names.id) is None else line[names.id])
            if key in seen:
                raise DataError(
                    f"{where}: the id {key!r} came before. Ids must differ; leave them out to number the lines."
                )
            seen.add(key)
            instruction, response = line[names.instruction].strip(), line[names.response].strip()
            yield Record(
                id=key,
                kind=kind or self.kind,
                instruction=instruction,
                response=response,
                rejected=rejected,
                source=line if names == Columns() else None,
            )


def _read_pku(rows: Rows) -> Iterator[Record | Dropped]:
    """Read PKU-SafeRLHF: two responses, each labelled; of two safe ones the better is taken, and the request is not known to be harmful."""
    for number, row in rows:
        responses = [_text(row, "response_0"), _text(row, "response_1")]
        safe = [_flag(row, "is_response_0_safe"), _flag(row, "is_response_1_safe")]
        if None in safe:
            yield Dropped(str(number), "no label")
        elif not any(safe):
            yield Dropped(str(number), "no safe response")
        elif all(safe):
            yield _make(number, None, _text(row, "prompt"), responses[int(row.get("better_response_id") or 0)])
        else:
            chosen = safe.index(True)
            yield _make(number, "harmful", _text(row, "prompt"), responses[chosen], responses[1 - chosen])


def _read_beavertails(rows: Rows) -> Iterator[Record | Dropped]:
    """Read BeaverTails: one labelled response a row; the rows of a prompt become one record, its first safe and first unsafe response."""
    prompts: dict[str, tuple[int, dict[bool | None, str]]] = {}
    for number, row in rows:
        prompt = _text(row, "prompt")
        if prompt in prompts:
            yield Dropped(str(number), "joined", f"to row {prompts[prompt][0]}, the same prompt")
        responses = prompts.setdefault(prompt, (number, {}))[1]
        responses.setdefault(_flag(row, "is_safe"), _text(row, "response"))
    for prompt, (number, responses) in prompts.items():
        if True not in responses:
            yield Dropped(str(number), "no safe response")
        else:
            kind = "harmful" if False in responses else None
            yield _make(number, kind, prompt, responses[True], responses.get(False))


def _read_hh(rows: Rows) -> Iterator[Record | Dropped]:
    """Read HH-RLHF: a preferred and a rejected dialogue; those of one turn are used, and the set never says which request is harmful."""
    for number, row in rows:
        turns = [_split_dialogue(row.get(column)) for column in ("chosen", "rejected")]
        if any([role for role, _ in dialogue] != ["Human", "Assistant"] for dialogue in turns):
            yield Dropped(str(number), "several turns", "not a request and a response")
        else:
            yield _make(number, None, turns[0][0][1], turns[0][1][1], turns[1][1][1])


def _split_dialogue(text: Any) -> list[tuple[str, str]]:
    if isinstance(text, list):  # newer copies of the set hold messages
        roles = {"user": "Human", "assistant": "Assistant"}
        return [(roles.get(turn.get("role"), ""), str(turn.get("content")).strip()) for turn in text]
    parts = re.split(r"(?:^|\n\n)(Human|Assistant): ?", str(text).strip())[1:]
    return list(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def _read_questions(column: str, id_column: str) -> Callable[[Rows], Iterator[Record | Dropped]]:
    """Make a reader of harmful questions without responses, as in SALAD-Bench."""

    def read(rows: Rows) -> Iterator[Record | Dropped]:
        for number, row in rows:
            key = number if row.get(id_column) is None else row[id_column]
            yield _make(key, "harmful", _text(row, column), None, answered=False)

    return read


def _read_harmless(context: str, response: str) -> Callable[[Rows], Iterator[Record | Dropped]]:
    """Make a reader of instruction data such as Alpaca or Dolly: harmless, with an optional context below the instruction."""

    def read(rows: Rows) -> Iterator[Record | Dropped]:
        for number, row in rows:
            instruction = "\n".join(filter(None, (_text(row, "instruction"), _text(row, context))))
            yield _make(number, "harmless", instruction, _text(row, response))

    return read


def _make(
    key: Any,
    kind: str | None,
    instruction: str,
    response: str | None,
    rejected: str | None = None,
    answered: bool = True,
) -> Record | Dropped:
    if not instruction or (answered and not response):
        return Dropped(str(key), "empty", "no instruction" if not instruction else "no response")
    return Record(id=str(key), kind=kind, instruction=instruction, response=response, rejected=rejected or None)


def _flag(row: dict[str, Any], column: str) -> bool | None:
    """Return a label; CSV files hold it as a text."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(row.get(column)).lower())


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "pku-saferlhf",
            ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),
            _read_pku,
        ),
        Preset("beavertails", ("prompt", "response", "is_safe"), _read_beavertails),
        Preset("hh-rlhf", ("chosen", "rejected"), _read_hh),
        Preset("salad-bench", ("question", "1-category"), _read_questions("question", "qid")),
        Preset("salad-bench-attacks", ("augq", "1-category"), _read_questions("augq", "aid")),
        Preset("alpaca", ("instruction", "input", "output"), _read_harmless("input", "output")),
        Preset("dolly", ("instruction", "context", "response", "category"), _read_harmless("context", "response")),
    )
}
"""The schemas that are known by their columns."""
