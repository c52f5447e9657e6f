"""Formats of public datasets: rows to records. The labels of a dataset choose the safe response.

A form of columns is no label: data of any kind is stored in the form of Alpaca. So only a dataset that labels its
requests or responses gives kinds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from seawall.preparation.sources import forms
from seawall.preparation.sources.reading import Dropped, Reading, read_flag
from seawall.store.pair import Record

Rows = Iterable[tuple[int, dict[str, Any]]]
Reader = Callable[[Rows, Reading], Iterator["Record | Dropped"]]


@dataclasses.dataclass(frozen=True)
class Preset:
    """A format of text safety data."""

    name: str
    """Name for `--preset`."""
    columns: tuple[str, ...]
    """Columns that identify the format. All of them are required. Empty if `matches` decides."""
    read: Reader
    """Turns rows into records."""
    kind: str | None = None
    """Kind of its requests where `--preset` names the format."""
    hub: tuple[str, ...] = ()
    """Ids of datasets on the Hub that are known to have this kind."""
    matches: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether a row has this format."""

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has the format."""
        return self.matches(row) if self.matches else set(self.columns) <= set(row)


def read_pku(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read PKU-SafeRLHF, which labels two responses per row.

    If both are safe, the better one is used, and the request is not known to be harmful.
    """
    for number, row in rows:
        responses = [reading.read_text(row, f"response_{side}", number) for side in (0, 1)]
        safe = [read_flag(row.get(f"is_response_{side}_safe")) for side in (0, 1)]
        prompt = reading.read_text(row, "prompt", number)
        if None in safe:
            yield Dropped(str(number), "no label")
        elif not any(safe):
            yield Dropped(str(number), "no safe response", kind="harmful")
        elif all(safe):
            better = 1 if str(row.get("better_response_id")) == "1" else 0
            yield reading.make_record(number, number, row, prompt, responses[better], vouched=True)
        else:
            chosen = safe.index(True)
            answers = responses[chosen], responses[1 - chosen]
            yield reading.make_record(number, number, row, prompt, *answers, label="harmful", vouched=True)


def read_beavertails(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
    """Read BeaverTails, which has one labelled response per row.

    The rows of a prompt become one record with the first safe and the first unsafe response.
    """
    prompts: dict[str, tuple[int, dict[str, Any], dict[bool | None, str]]] = {}
    for number, row in rows:
        prompt = reading.read_text(row, "prompt", number)
        if prompt in prompts:
            yield Dropped(str(number), "joined", f"with row {prompts[prompt][0]}, which has the same prompt")
        responses = prompts.setdefault(prompt, (number, row, {}))[2]
        responses.setdefault(read_flag(row.get("is_safe")), reading.read_text(row, "response", number))
    for prompt, (number, row, responses) in prompts.items():
        label = "harmful" if False in responses else None
        if True not in responses:
            yield Dropped(str(number), "no safe response", kind=label)
        else:
            answers = responses[True], responses.get(False)
            yield reading.make_record(number, number, row, prompt, *answers, label=label, vouched=True)


def make_question_reader(column: str, id_column: str) -> Reader:
    """Return a reader of harmful questions without responses, as in SALAD-Bench."""

    def read(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
        for number, row in rows:
            key = number if row.get(id_column) is None else row[id_column]
            question = reading.read_text(row, column, number)
            yield reading.make_record(key, number, row, question, None, label="harmful")

    return read


def make_instruction_reader(context: str, response: str) -> Reader:
    """Return a reader of instructions in the form of Alpaca or Dolly, which may have a context."""

    def read(rows: Rows, reading: Reading) -> Iterator[Record | Dropped]:
        for number, row in rows:
            parts = (reading.read_text(row, column, number) for column in ("instruction", context))
            answer = reading.read_text(row, response, number)
            yield reading.make_record(number, number, row, "\n".join(filter(None, parts)), answer)

    return read


_PKU_COLUMNS = ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe")
PRESETS = {
    preset.name: preset
    for preset in (
        Preset("labelled-responses", ("response",), forms.read_labelled_responses, matches=forms.has_response_list),
        Preset("pku-saferlhf", _PKU_COLUMNS, read_pku),
        Preset("beavertails", ("prompt", "response", "is_safe"), read_beavertails),
        Preset("salad-bench", ("question", "1-category"), make_question_reader("question", "qid")),
        Preset("salad-bench-attacks", ("augq", "1-category"), make_question_reader("augq", "aid")),
        Preset("hh-rlhf", ("chosen", "rejected"), forms.read_preferences, matches=forms.is_dialogue_pair),
        Preset("preferences", ("chosen", "rejected"), forms.read_preferences),
        Preset("chat", (), forms.read_chat, matches=forms.has_conversation),
        Preset("prompt-completion", ("prompt", "completion"), forms.read_completions),
        Preset(
            "dolly",
            ("instruction", "context", "response", "category"),
            make_instruction_reader("context", "response"),
            kind="harmless",
            hub=("databricks/databricks-dolly-15k",),
        ),
        Preset(
            "alpaca",
            ("instruction", "output"),
            make_instruction_reader("input", "output"),
            kind="harmless",
            hub=("tatsu-lab/alpaca", "yahma/alpaca-cleaned", "vicgalle/alpaca-gpt4"),
        ),
        Preset("requests", (), forms.read_requests, matches=forms.has_request),
    )
}
"""Name -> preset. The first one that fits the first row of a source reads it."""
