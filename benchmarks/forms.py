"""A demo's answers by the form of the medium: how many pictures, how many writings were answered.

python benchmarks/forms.py demo [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from seawall.artifacts import read_jsonl
from seawall.demo import ARMS, MEDIA_SETS
from seawall.evaluate import read_answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished demo")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    form_of = {item["id"]: item.get("form") for _, item in read_jsonl(arguments.run / "benchmark" / "items.jsonl")}
    forms = list(dict.fromkeys(filter(None, form_of.values())))
    table: dict[str, dict[str, dict[str, list[int]]]] = {}
    for arm in ARMS:
        marks: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for folder in sorted(arguments.run.glob(f"seed*/{arm}/evaluation")):
            for answer in read_answers(folder):
                marks[answer["set"], form_of[answer["id"]]].append(answer["verdict"] == "answered")
        if marks:
            table[arm] = {
                name: {form: [sum(marks[name, form]), len(marks[name, form])] for form in forms} for name in MEDIA_SETS
            }
    if arguments.json:
        print(json.dumps(table))
        return
    for arm, sets in table.items():
        for name, forms in sets.items():
            print(f"{arm:15} {name:22}", "   ".join(f"{f} {hits:3} / {n}" for f, (hits, n) in forms.items()))


if __name__ == "__main__":
    main()
