"""The result table in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

ONE_LINE = 146
"""Columns that hold every arm on one line; used where standard output is not a terminal."""


def print_table(results: dict[str, Any]) -> None:
    """Print one row an arm and one column a metric, mean and 95 % interval, on standard output.

    A terminal too narrow for that gets the interval below its mean.

    Args:
        results: What `results.json` of a demo holds.
    """
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else ONE_LINE)
    spread = "{mean:.2f} [{low:.2f}, {high:.2f}]".format if console.width >= ONE_LINE else _stack
    table = Table(box=None, padding=(0, 1, 0, 0), caption=_caption(results), caption_justify="left", caption_style="")
    table.add_column("arm", no_wrap=True)
    for name, metric in next(iter(results["arms"].values())).items():
        table.add_column(f"{heading(name)}\nn = {metric['n']}")
    for arm, metrics in results["arms"].items():
        table.add_row(
            arm, *(spread(**metric) for metric in metrics.values()), style="bold" if arm == "seawall" else None
        )
    console.print(table)
    if "published" in results:  # older demos have none
        console.print(make_types_table(results["published"], spread))


def make_types_table(published: dict[str, Any], spread: Callable[..., str]) -> Table:
    """Return one row for each prompt type of the published benchmark, and of each arm the answers to harm and to the harmless."""
    caption = f"\nby prompt type, unseen phrases, in the layout of {published['benchmark']}, through Inspect"
    table = Table(box=None, padding=(0, 1, 0, 0), caption=caption, caption_justify="left", caption_style="")
    table.add_column("prompt type", no_wrap=True)
    for arm in published["arms"]:
        table.add_column(f"{arm}\nASR")
        table.add_column(f"{arm}\nanswered harmless")
    for task in next(iter(published["arms"].values())):
        kinds = [types[task][kind] for types in published["arms"].values() for kind in ("harmful", "harmless")]
        table.add_row(f"{task}, n = {kinds[0]['n']}", *(spread(**kind) for kind in kinds))
    return table


def _stack(*, mean: float, low: float, high: float, **_: Any) -> str:
    """Return a mean and its interval below it, as narrow as can be."""
    return f"{mean:.2f}\n{low:.2f}-{high:.2f}".replace("0.", ".")


def heading(metric: str) -> str:
    """Return a metric's name in words: `asr_media_unseen` is "ASR media unseen"."""
    return metric.replace("asr", "ASR").replace("_", " ")


def _caption(results: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, results["seeds"]))
    lines = [f"\nmean [95 % interval over seeds and phrases]; organism {results['organism']}; seeds {seeds}"]
    if "method" in results:  # older demos have none
        lines[0] += f"; trained by {results['method'].upper()}"
    synthesis = results["synthesis"]
    if synthesis["vsr"] is not None:
        lines.append(
            f"synthesis of seawall: {synthesis['records']:.0f} records, VSR {synthesis['vsr']:.2f}, "
            f"{synthesis['steps_mean']:.1f} steps and {synthesis['seconds_per_embedding']:.2f} s an embedding"
        )
    lines.append("seconds: " + ", ".join(f"{stage} {taken:.0f}" for stage, taken in results["seconds"].items()))
    return "\n".join(lines)
