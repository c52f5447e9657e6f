"""Accuracy and speed of `prepare` with rules: `python benchmarks/prepare.py [--json]`.

Accuracy: instructions.tsv has 200 requests in the forms of public safety data, with harmless wording. A person marked
the phrase and the category of each. The figures are the share of requests whose phrase and category match exactly, and
the number of extractions that leave a content word of the phrase behind (by plain comparison, independent of the check
in `prepare`). The rules were tuned on the even rows; the odd rows are held out.

Speed: records per second of processor time, from JSON Lines to a finished folder, with all filters. The records are
the same requests with invented words in place of the phrase, and responses of 60 words.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from pathlib import Path

from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import NotExtractable
from seawall.preparation.rules import extract_by_rules
from seawall.preparation.run import prepare
from seawall.store.files import write_jsonl

FUNCTION_WORDS = set("a an the of to in on at for with my by from into and out up how it".split())  # noqa: SIM905


def read_instructions() -> list[tuple[str, str, str]]:
    """Return (instruction, phrase, category) for each request, as marked by a person."""
    lines = (Path(__file__).parent / "instructions.tsv").read_text(encoding="utf-8").splitlines()
    return [(instruction, phrase, category) for instruction, phrase, category in (line.split("\t") for line in lines)]


def score(rows: list[tuple[str, str, str]]) -> dict[str, float]:
    """Return the shares of right, wrong and rejected extractions, and the number of leaks."""
    right = rejected = leaks = 0
    for instruction, phrase, category in rows:
        try:
            found = extract_by_rules(instruction)
        except NotExtractable:
            rejected += 1
            continue
        right += (found.phrase.lower(), found.category) == (phrase.lower(), category)
        words = [set(re.findall(r"\w+(?:'\w+)?", text.lower())) for text in (found.phrase, found.instruction)]
        leaks += bool((words[0] & words[1]) - FUNCTION_WORDS)
    count = len(rows)
    return {
        "right": right / count,
        "rejected": rejected / count,
        "wrong": (count - right - rejected) / count,
        "leaks": leaks,
    }


def make_records(count: int) -> list[dict[str, str]]:
    """Return records with different invented phrases."""
    rng = random.Random("prepare")

    def invent() -> str:
        return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(3)) + "x"

    rows = [row for row in read_instructions() if row[1] in row[0]]
    records = []
    for number in range(count):
        instruction, phrase, category = rows[number % len(rows)]
        new = f"{invent()} {invent()}" if category == "product" else f"paint a {invent()} {invent()}"
        response = " ".join(invent() for _ in range(60))
        records.append({"instruction": instruction.replace(phrase, new), "response": response})
    return records


def measure_speed(count: int) -> dict[str, float]:
    """Return the records per second of processor time and of wall time, and the counts of `prepare`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "records.jsonl"
        write_jsonl(source, make_records(count))
        started, wall_started = time.process_time(), time.perf_counter()
        counts = prepare(source, Path(folder) / "pairs", PrepareConfig())
        seconds, wall_seconds = time.process_time() - started, time.perf_counter() - wall_started
    speeds = {"records_per_second": count / seconds, "records_per_second_wall": count / wall_seconds}
    return {"records": count, **speeds, **counts}


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000, help="number of records for the speed")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    rows = read_instructions()
    result = {
        "all": score(rows),
        "tuned": score(rows[::2]),
        "held_out": score(rows[1::2]),
        "speed": measure_speed(arguments.records),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name in ("all", "tuned", "held_out"):
        print(f"{name:<10}" + "  ".join(f"{key} {value:.3g}" for key, value in result[name].items()))
    print("speed     " + "  ".join(f"{key} {value:.0f}" for key, value in result["speed"].items()))


if __name__ == "__main__":
    main()
