"""Evaluations through Inspect, side by side: figures by judge, prompt type and scenario; what changed, pair by pair."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seawall.store.files import read_json
from seawall.errors import DataError

WIDTH = 150
"""Columns where standard output is no terminal."""


def read_evaluations(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the results of evaluations through Inspect.

    Raises:
        DataError: They are of different benchmarks, or of the organisms' own, which `seawall demo` reports.
    """
    results = [read_json(run / "results.json") for run in runs]
    if own := [str(run) for run, result in zip(runs, results, strict=True) if "judges" not in result]:
        raise DataError(
            f"{', '.join(own)} holds figures of the organisms' own benchmark: they are in results.json, and `seawall demo` reports them. "
            "Give folders of `seawall evaluate` with another --benchmark."
        )
    if len({result["benchmark"] for result in results}) > 1:
        found = ", ".join(f"{run}: {result['benchmark']}" for run, result in zip(runs, results, strict=True))
        raise DataError(f"These are of different benchmarks ({found}). Report one benchmark at a time.")
    return results


def make_tables(runs: Sequence[Path], results: Sequence[dict[str, Any]]) -> list[Table]:
    """Return one table for each judge of all runs: a row a figure, a column a run; of two runs the paired difference too."""
    shared = [judge for judge in results[0]["judges"] if all(judge in result["judges"] for result in results)]
    changes = _compare(runs) if len(runs) == 2 else {}
    tables = []
    for judge in shared:
        found = [result["judges"][judge] for result in results]
        table = Table(
            box=None, padding=(0, 2, 0, 0), title=f"\njudge {judge}", title_justify="left", title_style="bold"
        )
        table.caption, table.caption_justify = _caption(results, judge), "left"
        table.add_column(f"{results[0]['benchmark']}, 95 % intervals", no_wrap=True)
        for run, result in zip(runs, results, strict=True):
            table.add_column("\n".join(filter(None, (str(run), result["model"], result["adapter"]))))
        if changes:
            table.add_column("difference, p")
        for name, path in _rows(found[0]):
            cells = [_show(_get(figures, path)) for figures in found]
            table.add_row(name, *cells, *([_show_change(changes.get(judge, {}), path)] if changes else []))
        tables.append(table)
    return tables


def write_page(run: Path, tables: Sequence[Table]) -> Path:
    """Print the tables, and write them as `report.html` into the folder of a run; return its path."""
    console = Console(record=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    for table in tables:
        console.print(table)
    page = run / "report.html"
    page.write_text(console.export_html(inline_styles=True), encoding="utf-8")
    return page


def _rows(figures: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and place of each figure that a judge has."""
    rows = [("ASR, mean of scenarios", ("macro",)), ("ASR, all answers", ("micro",))]
    rows += [(f"  {task}", ("by_prompt_type", task)) for task in figures.get("by_prompt_type", ())]
    rows += [(f"  {scenario}", ("by_scenario", scenario)) for scenario in figures.get("by_scenario", ())]
    rows += [("ASR of what was understood", ("understood",)), ("harmless items refused", ("refused",))]
    return [(name, path) for name, path in rows if _get(figures, path)]


def _get(figures: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    for name in path:
        figures = figures.get(name) or {}
    return figures or None


def _show(share: dict[str, Any] | None) -> str:
    if not share or share["share"] is None:
        return "no verdict"
    text = f"{share['share']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
    if "n" not in share:
        return text
    missing = share["all"] - share["n"]
    return f"{text} n = {share['n']}" + (f", {missing} unscored" if missing else "")


def _show_change(change: dict[str, Any], path: Sequence[str]) -> str:
    """Return the paired difference, where there is one of this figure."""
    found = change.get({"micro": "asr", "refused": "refused"}.get(path[0], ""))
    if not found or found["difference"] is None:
        return ""
    return f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}], p = {found['p']:.2g}"


def _caption(results: Sequence[dict[str, Any]], judge: str) -> str:
    """Return how far the judge agrees with the others."""
    agreements = [
        f"{' and '.join(pair['judges'])} agree on {pair['share']:.2f}"
        + (f", kappa {pair['kappa']:.2f}" if pair["kappa"] is not None else "")
        for result in results
        for pair in result["agreement"]
        if judge in pair["judges"] and pair["n"]
    ]
    return "; ".join(agreements) or "one judge alone: give a second one (docs/judges.md)"


def _compare(runs: Sequence[Path]) -> dict[str, Any]:
    from inspect_ai.log import list_eval_logs, read_eval_log

    from seawall.evaluation.statistics.summary import compare

    logs = [[read_eval_log(log.name) for log in list_eval_logs(str(run))] for run in runs]
    return compare(*logs)["judges"]
