"""Accuracy and speed of `prepare` with rules: `python benchmarks/prepare.py [--json]`.

Accuracy: requests in the forms of public safety data, with harmless wording. The phrase and the category of each are
marked by hand, or that it must be rejected and why.

- `development` and `held_out`: 300 requests of `tests/preparation/phrases_*.tsv`, half of them set aside at random
  before the rules were tuned.
- `earlier`: 200 requests of `instructions.tsv`. Other rules were tuned on its even rows.

The figures:

- `kept`: share of the requests with a phrase that are extracted,
- `right`: share of the extracted ones whose phrase and category match exactly,
- `wrong`: share of all requests that are extracted wrongly, including those that must be rejected,
- `deictic`: number of extracted requests that refer to something outside,
- `leaks`: number of extractions that leave a content word of the phrase behind (by plain comparison, independent of
  the check in `prepare`),
- `auc`: how well the detoxified text tells the kinds apart (see `measure_leak`).

Speed: records per second of processor time, from JSON Lines to a finished folder, with all filters. The records are
the requests of `instructions.tsv` with invented words in place of the phrase, and responses of 60 words.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import NotExtractable, make_pair
from seawall.preparation.phrases.leak import measure_leak
from seawall.preparation.rules import extract_by_rules
from seawall.preparation.run import prepare
from seawall.store.files import write_jsonl
from seawall.store.pair import Record


class Marked(NamedTuple):
    """A request and what a person marked in it."""

    instruction: str
    phrase: str
    """The phrase, or why the request must be rejected."""
    category: str
    """`activity`, `product` or `reject`."""
    kind: str | None
    """`harmful` for requests that stand for harmful ones."""


FUNCTION_WORDS = set("a an the of to in on at for with my by from into and out up how it".split())  # noqa: SIM905


def read_instructions() -> list[Marked]:
    """Return the 200 requests of `instructions.tsv`."""
    lines = (Path(__file__).parent / "instructions.tsv").read_text(encoding="utf-8").splitlines()
    return [Marked(*line.split("\t"), kind=None) for line in lines]


def read_phrases(part: str) -> list[Marked]:
    """Return the requests of `tests/preparation/phrases_<part>.tsv`."""
    path = Path(__file__).parents[1] / "tests" / "preparation" / f"phrases_{part}.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [
        Marked(instruction, phrase, category, kind)
        for kind, category, phrase, instruction in (line.split("\t") for line in lines)
    ]


def score(rows: list[Marked]) -> dict[str, float | None]:
    """Return the figures of accuracy."""
    kept = right = wrong = deictic = leaks = 0
    pairs = []
    for number, row in enumerate(rows):
        try:
            found = extract_by_rules(row.instruction)
        except NotExtractable:
            continue
        kept += row.category != "reject"
        exact = (found.phrase.lower(), found.category) == (row.phrase.lower(), row.category)
        right, wrong = right + exact, wrong + (not exact)
        deictic += (row.phrase, row.category) == ("deictic", "reject")
        words = [set(re.findall(r"\w+(?:'\w+)?", text.lower())) for text in (found.phrase, found.instruction)]
        leaks += bool((words[0] & words[1]) - FUNCTION_WORDS)
        record = Record(id=str(number), kind=row.kind, instruction=row.instruction, response="Yes.")
        pairs.append(make_pair(record, found, seed=0, modality="image", extractor="rules"))
    leak = measure_leak(pairs)
    return {
        "kept": kept / sum(row.category != "reject" for row in rows),
        "right": right / (right + wrong),
        "wrong": wrong / len(rows),
        "deictic": deictic,
        "leaks": leaks,
        "auc": leak.auc if leak and rows[0].kind else None,
    }


def make_records(count: int) -> list[dict[str, str]]:
    """Return records with different invented phrases."""
    rng = random.Random("prepare")

    def invent() -> str:
        return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(3)) + "x"

    rows = [row for row in read_instructions() if row.category != "reject" and row.phrase in row.instruction]
    records = []
    for number in range(count):
        row = rows[number % len(rows)]
        new = f"{invent()} {invent()}" if row.category == "product" else f"paint a {invent()} {invent()}"
        response = " ".join(invent() for _ in range(60))
        records.append({"instruction": row.instruction.replace(row.phrase, new), "response": response})
    return records


def measure_speed(count: int) -> dict[str, float]:
    """Return the records per second of processor time and of wall time, and the counts of `prepare`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "records.jsonl"
        write_jsonl(source, make_records(count))
        started, wall_started = time.process_time(), time.perf_counter()
        counts = prepare(source, Path(folder) / "pairs", PrepareConfig(kind="harmless")).counts
        seconds, wall_seconds = time.process_time() - started, time.perf_counter() - wall_started
    speeds = {"records_per_second": count / seconds, "records_per_second_wall": count / wall_seconds}
    return {"records": count, **speeds, **counts}


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000, help="number of records for the speed")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    result: dict[str, dict[str, float | None]] = {
        part: score(read_phrases(part)) for part in ("development", "held_out")
    }
    result |= {"earlier": score(read_instructions()), "speed": {**measure_speed(arguments.records)}}
    if arguments.json:
        print(json.dumps(result))
        return
    for name in ("development", "held_out", "earlier"):
        figures = (f"{key} {value:.3g}" for key, value in result[name].items() if value is not None)
        print(f"{name:<13}" + "  ".join(figures))
    print("speed        " + "  ".join(f"{key} {value:.0f}" for key, value in result["speed"].items()))


if __name__ == "__main__":
    main()
