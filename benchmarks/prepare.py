"""What `prepare` with rules finds, and how fast it is: `python benchmarks/prepare.py [--json]`.

Found: on the 200 requests of instructions.tsv, in the forms of public safety sets and in harmless wording, the share whose phrase and
category come out exactly as a person marked them, and the share of extractions that leave a content word of the phrase behind
(judged here by plain comparison, not by the check of `prepare`). The forms were tuned on the even rows; the odd ones are held out.

Speed: records a second and core, from JSON Lines to a finished folder, deduplication and all. The records are those requests
with invented words in the phrase's place, and responses of 60 words.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from pathlib import Path

from seawall.store.files import write_jsonl
from seawall.preparation.config import PrepareConfig
from seawall.preparation.run import prepare
from seawall.preparation.extract import NotExtractable
from seawall.preparation.rules import extract_by_rules

LITTLE = {
    "a",
    "an",
    "the",
    "of",
    "to",
    "in",
    "on",
    "at",
    "for",
    "with",
    "my",
    "by",
    "from",
    "into",
    "and",
    "out",
    "up",
    "how",
    "it",
}


def read_instructions() -> list[tuple[str, str, str]]:
    """Return (instruction, phrase, category), as marked by hand."""
    lines = (Path(__file__).parent / "instructions.tsv").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


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
        leaks += bool((words[0] & words[1]) - LITTLE)
    count = len(rows)
    return {
        "right": right / count,
        "rejected": rejected / count,
        "wrong": (count - right - rejected) / count,
        "leaks": leaks,
    }


def make_records(count: int) -> list[dict[str, str]]:
    """Return records of different invented phrases."""
    rng = random.Random("prepare")
    invent = lambda: "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(3)) + "x"  # noqa: E731
    rows = [row for row in read_instructions() if row[1] in row[0]]
    records = []
    for number in range(count):
        instruction, phrase, category = rows[number % len(rows)]
        new = f"{invent()} {invent()}" if category == "product" else f"paint a {invent()} {invent()}"
        response = " ".join(invent() for _ in range(60))
        records.append({"instruction": instruction.replace(phrase, new), "response": response})
    return records


def measure_speed(count: int) -> dict[str, float]:
    """Return records a second of processor time, and the counts."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "records.jsonl"
        write_jsonl(source, make_records(count))
        begun, wall = time.process_time(), time.perf_counter()
        counts = prepare(source, Path(folder) / "pairs", PrepareConfig())
        seconds, wall = time.process_time() - begun, time.perf_counter() - wall
    return {"records": count, "records_per_second": count / seconds, "records_per_second_wall": count / wall, **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000, help="how many to measure the speed on")
    parser.add_argument("--json", action="store_true")
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
