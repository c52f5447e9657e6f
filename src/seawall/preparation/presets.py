"""Formats of public datasets: rows to records. The labels of a dataset choose the safe response.

`PRESETS` has one reader per format. A reader turns every row into a record, or into a `Dropped` with a reason.
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
Reader = Callable[[Rows], Iterator["Record | Dropped"]]


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """A row or a record that is not used."""

    id: str
    """Id of the record; of a row, its number."""
    step: str
    """What dropped it. The counts in the manifest use the same name."""
    reason: str = ""
    """Details for `dropped.jsonl`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Column names of a source that matches no preset."""

    instruction: str = "instruction"
    """Column of the request."""
    response: str = "response"
    """Column of the safe response; for harmless requests, the helpful one."""
    rejected: str = "rejected"
    """Column of an unsafe response. It may be missing."""
    kind: str = "kind"
    """Column that says `harmful` or `harmless`. It may be missing."""
    id: str = "id"
    """Column of a unique id. It may be missing."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """The format of a public dataset."""

    name: str
    """Name for `--preset`."""
    columns: tuple[str, ...]
    """Columns that identify the format. All of them are required."""
    read: Reader
    """Turns rows into records."""


def read_records(
    name: str, rows: Rows, *, columns: Columns = Columns(), preset: str = "auto", kind: str | None = None
) -> Iterator[Record | Dropped]:
    """Turn rows into records.

    Args:
        name: The source, for error messages.
        rows: (number, row) pairs.
        columns: Column names. Any name that is not the default turns the presets off.
        preset: One of `PRESETS`, or `auto` to choose by the columns of the first row.
        kind: Kind of all requests that the source does not label. None means harmful in Seawall's own format; requests
            of a public dataset are dropped.

    Raises:
        DataError: There is no row, the columns do not match, or a line in Seawall's own format is faulty.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name} has no rows. Give a source with at least one.")
    read = _choose_reader(name, first[1], columns, preset, kind)
    for record in read(itertools.chain([first], rows)):
        if isinstance(record, Dropped) or record.kind:
            yield record
        elif kind:
            yield dataclasses.replace(record, kind=kind)
        else:
            reason = "the dataset does not say whether the request is harmful; set it with --kind"
            yield Dropped(record.id, "not labelled", reason)


def _choose_reader(name: str, row: dict[str, Any], columns: Columns, preset: str, kind: str | None) -> Reader:
    chosen = find_preset(row) if preset == "auto" and columns == Columns() else PRESETS.get(preset)
    if chosen is None:
        return _CustomReader(name, columns, kind or "harmful").read
    if missing := [column for column in chosen.columns if column not in row]:
        raise DataError(
            f"{name} has no columns {missing}, so it does not match the preset {chosen.name!r}. "
            f"Its columns: {', '.join(row)}.{_suggest_preset(row)}"
        )
    log.info("%s: read as %s", name, chosen.name)
    return chosen.read


def find_preset(columns: Iterable[str]) -> Preset | None:
    """Return the preset with the most columns among those whose columns are all present.

    None means Seawall's own format, which every source with a column `kind` has.
    """
    columns = set(columns)
    matching = [preset for preset in PRESETS.values() if columns.issuperset(preset.columns)]
    return None if "kind" in columns else max(matching, key=lambda preset: len(preset.columns), default=None)


def _suggest_preset(columns: Iterable[str]) -> str:
    """Return a sentence that names the most similar preset. It is empty if no preset shares a column."""
    columns = set(columns)
    nearest = max(PRESETS.values(), key=lambda preset: len(columns & set(preset.columns)) / len(preset.columns))
    missing = [column for column in nearest.columns if column not in columns]
    if len(missing) == len(nearest.columns):
        return ""
    match = f"but {', '.join(map(repr, missing))} is missing" if missing else "which matches"
    return (
        f" The nearest preset is {nearest.name!r}, {match}. For any other dataset, name the columns with "
        "--columns.instruction and the like."
    )


@dataclasses.dataclass(frozen=True)
class _CustomReader:
    """Reader of Seawall's own format, under any column names. A faulty line is an error."""

    name: str
    """The source, for error messages."""
    columns: Columns
    """Names of the columns."""
    kind: str
    """Kind of a line that does not give one."""

    def read(self, rows: Rows) -> Iterator[Record]:
        """Yield the record of each row."""
        names = self.columns
        seen: set[str] = set()
        for number, line in rows:
            where = f"{self.name}, line {number}"
            self._check(line, where)
            key = str(number if line.get(names.id) is None else line[names.id])
            if key in seen:
                raise DataError(
                    f"{where}: the id {key!r} occurs twice. Give every line its own id, or leave out all ids."
                )
            seen.add(key)
            yield Record(
                id=key,
                kind=line.get(names.kind) or self.kind,
                instruction=line[names.instruction].strip(),
                response=line[names.response].strip(),
                rejected=line.get(names.rejected),
                source=line if names == Columns() else None,
            )

    def _check(self, line: dict[str, Any], where: str) -> None:
        names = self.columns
        for column in (names.instruction, names.response):
            if not isinstance(line.get(column), str) or not line[column].strip():
                raise DataError(
                    f"{where}, has no text in {column!r} (its columns: {', '.join(line) or 'none'}). Every line "
                    f"needs the texts {names.instruction!r} and {names.response!r}. Rename the columns or complete the line."
                    + _suggest_preset(line)
                )
        kind, rejected = line.get(names.kind), line.get(names.rejected)
        if not isinstance(rejected, str | None):
            raise DataError(f"{where}: {names.rejected!r} is {rejected!r}; it must be a text or null.")
        if kind not in (*KINDS, None):
            raise DataError(f"{where}: {names.kind} is {kind!r}; it must be 'harmful' or 'harmless'.")


def _read_pku(rows: Rows) -> Iterator[Record | Dropped]:
    """Read PKU-SafeRLHF, which labels two responses per row.

    If both are safe, the better one is used, and the request is not known to be harmful.
    """
    for number, row in rows:
        responses = [_read_text(row, "response_0"), _read_text(row, "response_1")]
        safe = [_read_flag(row, "is_response_0_safe"), _read_flag(row, "is_response_1_safe")]
        if None in safe:
            yield Dropped(str(number), "no label")
        elif not any(safe):
            yield Dropped(str(number), "no safe response")
        elif all(safe):
            better = int(row.get("better_response_id") or 0)
            yield _make_record(number, None, _read_text(row, "prompt"), responses[better])
        else:
            chosen = safe.index(True)
            yield _make_record(number, "harmful", _read_text(row, "prompt"), responses[chosen], responses[1 - chosen])


def _read_beavertails(rows: Rows) -> Iterator[Record | Dropped]:
    """Read BeaverTails, which has one labelled response per row.

    The rows of a prompt become one record with the first safe and the first unsafe response.
    """
    prompts: dict[str, tuple[int, dict[bool | None, str]]] = {}
    for number, row in rows:
        prompt = _read_text(row, "prompt")
        if prompt in prompts:
            yield Dropped(str(number), "joined", f"with row {prompts[prompt][0]}, which has the same prompt")
        responses = prompts.setdefault(prompt, (number, {}))[1]
        responses.setdefault(_read_flag(row, "is_safe"), _read_text(row, "response"))
    for prompt, (number, responses) in prompts.items():
        if True not in responses:
            yield Dropped(str(number), "no safe response")
        else:
            kind = "harmful" if False in responses else None
            yield _make_record(number, kind, prompt, responses[True], responses.get(False))


def _read_hh(rows: Rows) -> Iterator[Record | Dropped]:
    """Read HH-RLHF, which has a preferred and a rejected dialogue per row, and never says which requests are harmful.

    Only dialogues of one request and one response are used.
    """
    for number, row in rows:
        turns = [_split_dialogue(row.get(column)) for column in ("chosen", "rejected")]
        if any([role for role, _ in dialogue] != ["Human", "Assistant"] for dialogue in turns):
            yield Dropped(str(number), "several turns", "not a single request and response")
        else:
            yield _make_record(number, None, turns[0][0][1], turns[0][1][1], turns[1][1][1])


def _split_dialogue(text: Any) -> list[tuple[str, str]]:
    """Return (role, text) for each turn of a dialogue."""
    if isinstance(text, list):  # newer copies of the dataset contain messages
        roles = {"user": "Human", "assistant": "Assistant"}
        return [(roles.get(turn.get("role"), ""), str(turn.get("content")).strip()) for turn in text]
    parts = re.split(r"(?:^|\n\n)(Human|Assistant): ?", str(text).strip())[1:]
    return list(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def _make_question_reader(column: str, id_column: str) -> Reader:
    """Return a reader of harmful questions without responses, as in SALAD-Bench."""

    def read(rows: Rows) -> Iterator[Record | Dropped]:
        for number, row in rows:
            key = number if row.get(id_column) is None else row[id_column]
            yield _make_record(key, "harmful", _read_text(row, column), None)

    return read


def _make_harmless_reader(context: str, response: str) -> Reader:
    """Return a reader of harmless instructions such as Alpaca or Dolly, which may have a context."""

    def read(rows: Rows) -> Iterator[Record | Dropped]:
        for number, row in rows:
            instruction = "\n".join(filter(None, (_read_text(row, "instruction"), _read_text(row, context))))
            yield _make_record(number, "harmless", instruction, _read_text(row, response))

    return read


def _make_record(
    key: Any, kind: str | None, instruction: str, response: str | None, rejected: str | None = None
) -> Record | Dropped:
    """Return a record, or the reason why there is none. The response is None if the dataset has no responses."""
    if not instruction or response == "":
        return Dropped(str(key), "empty", "no response" if instruction else "no instruction")
    return Record(id=str(key), kind=kind, instruction=instruction, response=response, rejected=rejected or None)


def _read_flag(row: dict[str, Any], column: str) -> bool | None:
    """Return a label. CSV files contain it as text."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(row.get(column)).lower())


def _read_text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


_PKU_COLUMNS = ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe")
PRESETS = {
    preset.name: preset
    for preset in (
        Preset("pku-saferlhf", _PKU_COLUMNS, _read_pku),
        Preset("beavertails", ("prompt", "response", "is_safe"), _read_beavertails),
        Preset("hh-rlhf", ("chosen", "rejected"), _read_hh),
        Preset("salad-bench", ("question", "1-category"), _make_question_reader("question", "qid")),
        Preset("salad-bench-attacks", ("augq", "1-category"), _make_question_reader("augq", "aid")),
        Preset("alpaca", ("instruction", "input", "output"), _make_harmless_reader("input", "output")),
        Preset(
            "dolly", ("instruction", "context", "response", "category"), _make_harmless_reader("context", "response")
        ),
    )
}
"""Name -> preset. The columns of a source choose among them."""
