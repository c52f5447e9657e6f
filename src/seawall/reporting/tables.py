"""Evaluations side by side: scores by judge, prompt type and scenario, and the paired difference of two evaluations."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seawall.errors import DataError, strip_controls
from seawall.reporting.results import PAGE, read_results
from seawall.reporting.terminal import strip_all

SCHEMA = 2
"""Schema of `results.json` of `evaluate`."""
WIDTH = 150
"""Columns of the tables if standard output is not a terminal."""
EFFECTS = {"asr": "ASR", "refused": "harmless refused", "refused_harmful": "harmful refused"}
"""Figure of a control -> its title."""
CONTROLS = {"blank": "against blank", "none": "against none"}
"""Control -> its words in a title."""
PROMPT_WIDTH = 60
"""Characters of a system prompt in the head of a column."""
COMPARED = {"micro": "asr", "refused": "refused"}
"""Score of a judge -> its name in the result of `compare`."""


def write_page(runs: Sequence[Path]) -> Path:
    """Print the tables of evaluations, and write them to `report.html` in the folder of the last one.

    Args:
        runs: Folders of finished evaluations of one benchmark.

    Returns:
        Path of the page.

    Raises:
        ArtifactError: A folder lacks its results.
        DataError: Results cannot be read, or are of different benchmarks.
    """
    from seawall.reporting.changes import STYLE, make_sections

    results = read_evaluations(runs)
    tables = make_tables(runs, results)
    console = Console(record=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    for table in tables:
        console.print(table)
    judges = _list_judges(results)
    changes = _show_changes(runs, judges) if len(runs) == 2 else {}
    sections = make_sections(judges, _draw_figures(runs, results), changes)
    page = runs[-1] / PAGE
    text = console.export_html(inline_styles=True)
    text = text.replace("</head>", f"{STYLE}</head>", 1)
    page.write_text(f"{sections}\n</body>".join(text.rsplit("</body>", 1)), encoding="utf-8")
    return page


def _list_judges(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the judges that all evaluations have."""
    return [judge for judge in results[0]["judges"] if all(judge in result["judges"] for result in results)]


def read_evaluations(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the results of evaluations.

    Raises:
        ArtifactError: A folder lacks its results.
        DataError: Results cannot be read, or are of different benchmarks.
    """
    results = [strip_all(read_results(run, SCHEMA)) for run in runs]
    if len({result["benchmark"] for result in results}) > 1:
        found = ", ".join(f"{run}: {result['benchmark']}" for run, result in zip(runs, results, strict=True))
        raise DataError(f"The evaluations are of different benchmarks ({found}). Report one benchmark at a time.")
    return results


def make_tables(runs: Sequence[Path], results: Sequence[dict[str, Any]]) -> list[Table]:
    """Return one table for each judge that all evaluations have.

    A table has one row per score and one column per evaluation. For two evaluations it also has the paired difference.
    """
    judges = _list_judges(results)
    differences = _compare(runs) if len(runs) == 2 else {}
    return [_make_table(judge, runs, results, differences.get(judge)) for judge in judges]


def _make_table(
    judge: str, runs: Sequence[Path], results: Sequence[dict[str, Any]], difference: dict[str, Any] | None
) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title=f"\njudge {judge}", title_justify="left", title_style="bold")
    table.caption, table.caption_justify = "\n".join([_describe_agreement(results, judge), *_describe(results)]), "left"
    table.add_column(f"{results[0]['benchmark']}, 95 % intervals", no_wrap=True)
    for run, result in zip(runs, results, strict=True):
        table.add_column("\n".join(filter(None, _name(run, result))))
    if difference is not None:
        table.add_column("difference, p")
    scores = [result["judges"][judge] for result in results]
    for name, path in _list_scores(scores[0]):
        cells = [_format_share(_find(score, path)) for score in scores]
        if difference is not None:
            cells.append(_format_difference(_find_difference(difference, path)))
        table.add_row(name, *cells)
    for key, title, cells in list_effects(judge, results):
        changed = ((difference or {}).get("controls") or {}).get(key[1], {}).get(key[0])
        table.add_row(title, *cells, *[_format_difference(changed)] * (difference is not None))
    understood = [result.get("understanding") for result in results]
    if any(understood):
        table.add_row("media understood", *map(_format_understanding, understood), *[""] * (difference is not None))
    return table


def _name(run: Path, result: dict[str, Any]) -> list[str | None]:
    """Return what tells an evaluation from others: its folder, and what was asked."""
    given = [f'system prompt "{textwrap.shorten(text, PROMPT_WIDTH)}"' for text in result.get("system_prompts") or ()]
    return [strip_controls(str(run)), result["model"], result["adapter"], result.get("steering"), *given]


def _describe(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return what must be said of evaluations beside their figures."""
    from seawall.evaluation.statistics.warnings import describe_cuts, describe_understanding

    lines = [line for result in results for line in (describe_cuts(result), describe_understanding(result)) if line]
    return list(dict.fromkeys(lines))


def _format_understanding(found: dict[str, Any] | None) -> str:
    return _format_share(found) if found and found["n"] else "not measured"


def _list_scores(scores: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return title and keys of each score that a judge has."""
    rows: list[tuple[str, tuple[str, ...]]]
    rows = [("ASR, mean of scenarios", ("macro",)), ("ASR, all answers", ("micro",))]
    rows += [(f"  {name}", ("by_type", name)) for name in scores.get("by_type", ())]
    rows += [(f"  {scenario}", ("by_scenario", scenario)) for scenario in scores.get("by_scenario", ())]
    rows += [("ASR of understood media", ("understood",)), ("harmless items refused", ("refused",))]
    for rubric, found in (scores.get("rubrics") or {}).items():
        path = ("rubrics", rubric)
        rows += [
            (f"rubric {rubric}: mean of scenarios", (*path, "macro")),
            (f"rubric {rubric}: unsafe", (*path, "micro")),
        ]
        rows += [(f"  {name}", (*path, "by_type", name)) for name in found["by_type"]]
        rows += [(f"  {name}", (*path, "by_scenario", name)) for name in found["by_scenario"]]
    return [(name, path) for name, path in rows if _find(scores, path)]


def list_effects(judge: str, results: Sequence[dict[str, Any]]) -> list[tuple[tuple[str, str], str, list[str]]]:
    """Return (figure, control), title and one cell for each evaluation, for the medium's own effect against each control."""
    found = [(result.get("controls") or {}).get(judge, {}) for result in results]
    rows = []
    for control, words in CONTROLS.items():
        for figure, title in EFFECTS.items():
            effects = [controls.get(control, {}).get(figure) for controls in found]
            if any(effects):
                cells = [_format_effect(effect) for effect in effects]
                rows.append(((figure, control), f"medium's own effect, {words}: {title}", cells))
    return rows


def _format_effect(effect: dict[str, Any] | None) -> str:
    if not effect:
        return "not measured"
    control, medium = effect["shares"]
    spread = f"{effect['difference']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"
    return f"{spread}, {control:.3f} to {medium:.3f}, n = {effect['n']}"


def _find(scores: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    for name in path:
        scores = scores.get(name) or {}
    return scores or None


def _format_share(share: dict[str, Any] | None) -> str:
    if not share or share["share"] is None:
        return "no verdict"
    text = f"{share['share']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
    if "n" not in share:
        return text
    if "all" not in share:
        return f"{text} n = {share['n']}"
    unanswered = share.get("unanswered", 0)
    counts = {
        "unscored": share["all"] - share["n"] - unanswered,
        "cut": share.get("cut", 0),
        "without an answer": unanswered,
    }
    text = f"{text} n = {share['n']}" + "".join(f", {count} {what}" for what, count in counts.items() if count)
    least, most = share.get("least"), share.get("most")
    return f"{text}; of all {share['all']}: {least:.3f} to {most:.3f}" if least != most else text


def _find_difference(difference: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    """Return the paired difference of a score, if `compare` has it."""
    if path[0] == "rubrics":
        return (difference.get("rubrics") or {}).get(path[1]) if path[-1] == "micro" else None
    return difference.get(COMPARED.get(path[0], "")) if len(path) == 1 else None


def _format_difference(found: dict[str, Any] | None) -> str:
    """Return the paired difference of a score, or an empty text if there is none."""
    if not found or found["difference"] is None:
        return ""
    return f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}], p = {found['p']:.2g}"


def _describe_agreement(results: Sequence[dict[str, Any]], judge: str) -> str:
    """Return a line about the agreement of a judge with the others."""
    agreements = [
        f"{' and '.join(pair['judges'])} agree on {pair['share']:.2f}"
        + (f", kappa {pair['kappa']:.2f}" if pair["kappa"] is not None else "")
        for result in results
        for pair in result["agreement"]
        if judge in pair["judges"] and pair["n"]
    ]
    return "; ".join(agreements) or "This is the only judge. Add a second one (docs/how_to/judges.md)."


def _compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Return judge -> paired differences of two evaluations; see `compare`."""
    from seawall.evaluation.statistics.answers import read_logs
    from seawall.evaluation.statistics.comparison import compare

    first, second = (read_logs(run) for run in runs)
    return dict(compare(first, second)["judges"])


def _show_changes(runs: Sequence[Path], judges: Sequence[str]) -> dict[str, str]:
    """Return judge -> HTML of the items that changed sides between two evaluations."""
    from seawall.evaluation.statistics.answers import read_answers, read_logs
    from seawall.evaluation.statistics.changes import list_changes
    from seawall.reporting.changes import find_media, show_changes

    logs = [read_logs(run) for run in runs]
    first, second = (read_answers(found) for found in logs)
    media = find_media(logs[1])
    return {judge: show_changes(list_changes(first, second, judge), media) for judge in judges}


def _draw_figures(runs: Sequence[Path], results: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return judge -> figure of its scores by prompt type and scenario, with over-refusal and understanding."""
    from seawall.reporting.figures import draw_scores

    names = [strip_controls(run.name or str(run)) for run in runs]
    figures = {}
    for number, judge in enumerate(_list_judges(results)):
        scores = [result["judges"][judge] for result in results]
        rows = [(title, [_find(score, path) for score in scores]) for title, path in _list_scores(scores[0])]
        rows.append(("media understood", [result.get("understanding") for result in results]))
        rows = [
            (title, shares) for title, shares in rows if any(share and share["share"] is not None for share in shares)
        ]
        if rows:
            figures[judge] = draw_scores(rows, names, f"scores-{number}")
    return figures
