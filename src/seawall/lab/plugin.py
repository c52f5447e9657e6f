"""Registers the laboratory's models, benchmark, judge and report page. Seawall loads it through the entry point `lab`.

It imports neither torch nor Inspect.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from seawall.evaluation.benchmarks.registry import Benchmark, register_benchmark
from seawall.evaluation.judges.registry import Judge, register_judge
from seawall.lab.organisms import FETCHED, ORGANISMS, find_organism
from seawall.models.families import register_model
from seawall.reporting.run import register_page
from seawall.store.items import Item


def _read_items(data: Path, types: Sequence[str] | None, scenarios: Sequence[str] | None) -> list[Item]:
    from seawall.lab.benchmark import read_items

    return read_items(data, types, scenarios)


def _write_pages(runs: Sequence[Path]) -> list[Path]:
    from seawall.lab.pages import write_pages

    return write_pages(runs)


for _name in ORGANISMS:
    register_model(f"organism:{_name}", find_organism(_name))
for _name in FETCHED:
    register_model(f"organism:{_name}", functools.partial(find_organism, _name))
register_benchmark(
    Benchmark(
        name="organism",
        read=_read_items,
        judges=("organism",),
        description="The built-in models' benchmark: harmful and harmless requests about the phrases of their world.",
    )
)
register_judge(
    Judge(
        name="organism",
        make="seawall.lab.judge:organism",
        needs_model=False,
        description="Exact verdicts on answers of the built-in models. Needs no model.",
    )
)
register_page("demo", _write_pages)
