"""Compares built question files of VA-SafetyBench with published ones, field by field. Texts are not printed.

python benchmarks/compare_questions.py BUILT PUBLISHED [--json]

Each folder contains Video_questions and Audio_questions. The output of `seawall build va-safetybench --as-published
--no-media` should be equal. Without --as-published the differences are the slips that docs/explanation/va_safetybench.md lists. The
exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from seawall.errors import SeawallError
from seawall.store.va_safetybench import PROMPT_TYPES, SCENARIOS, read_questions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path, help="folder made by `seawall build va-safetybench`")
    parser.add_argument("published", type=Path, help="folder of VA-SafetyBench as downloaded")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        result = {modality: compare(arguments.built, arguments.published, modality) for modality in PROMPT_TYPES}
    except SeawallError as error:
        sys.exit(str(error))
    if arguments.json:
        print(json.dumps(result))
    else:
        for modality, found in result.items():
            print(f"{modality}: {found['equal']} of {found['items']} items equal in all fields")
            for place in found["different"]:
                print("   ", place)
    sys.exit(int(any(found["different"] for found in result.values())))


def compare(built: Path, published: Path, modality: str) -> dict[str, Any]:
    """Return the number of equal items, and each difference as scenario, id and field."""
    equal, items, different = 0, 0, []
    for scenario in SCENARIOS:
        ours, theirs = (
            read_questions(place / f"{modality}_questions" / f"{scenario}.json") for place in (built, published)
        )
        items += len(theirs)
        for id in [*theirs, *(id for id in ours if id not in theirs)]:
            one, other = ours.get(id, {}), theirs.get(id, {})
            fields = [
                field
                for field in {**other, **one}
                if (field in one, one.get(field)) != (field in other, other.get(field))
            ]
            equal += not fields
            different += [f"{scenario} {id} {field}" for field in fields]
    return {"equal": equal, "items": items, "different": different}


if __name__ == "__main__":
    main()
