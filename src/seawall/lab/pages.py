"""The results of a demo: one self-contained HTML page, and a table in the terminal."""

from __future__ import annotations

import base64
import importlib.resources
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seawall.lab.arms import PLANE, SCHEMA
from seawall.lab.benchmark import read_answers, read_items
from seawall.lab.metrics import get_outcome
from seawall.lab.organisms.worlds import WORLDS
from seawall.reporting.results import PAGE, read_results
from seawall.reporting.terminal import strip_all
from seawall.store.artifacts import read_manifest
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.files import read_json
from seawall.store.items import Answer, Item

ONE_LINE = 146
"""Columns of a terminal that show every metric of an arm on one line.

Also the width if the output is not a terminal.
"""
SETS = {
    "media_harmful_trained": ("harmful phrase of the training data", "refused"),
    "media_harmful_unseen": ("harmful phrase that no training saw", "refused"),
    "media_harmless": ("harmless phrase that no training saw", "answered"),
}
"""Sets from which the page shows examples -> description, desired outcome."""
CONTENT_TYPES = {".png": "image/png", ".mp4": "video/mp4", ".wav": "audio/wav"}
"""Ending of a medium -> its content type."""


def write_pages(runs: Sequence[Path]) -> list[Path]:
    """Write `report.html` in each folder of a finished demo, and return the paths.

    Raises:
        ArtifactError: A folder lacks its results.
        DataError: Results have another schema or are broken.
    """
    results = [read_results(run, SCHEMA) for run in runs]  # checks all before the first page is written
    pages = []
    for run, found in zip(runs, results, strict=True):
        pages.append(run / PAGE)
        pages[-1].write_text(build_page(run, found), encoding="utf-8")
    return pages


def build_page(run: Path, results: dict[str, Any]) -> str:
    """Return the report of a finished demo as HTML that loads nothing from the network.

    Args:
        run: Folder of the demo.
        results: Content of its `results.json`.

    Raises:
        DataError: A file of the demo is missing or broken.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from seawall.reporting import figures

    # answers of a model and questions of a user's data are escaped; only our own SVG is not
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["heading"] = make_heading
    source = importlib.resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    points = read_json(run / PLANE)
    stores = {arm: entries for arm in ("seawall", "sea_paper") if (entries := read_entries(run, arm))}
    return environment.from_string(source).render(
        results=results,
        modality=WORLDS[results["organism"]].modality,
        config=read_manifest(run).config,
        colours={arm: figures.get_colour(arm) for arm in results["arms"]},
        by_arm=Markup(figures.draw_arms(results["arms"])),
        plane=Markup(figures.draw_plane(points)),
        steps=sorted({point["steps"] for path in points.values() for point in path if len(path) > 1}),
        synthesis_curve=Markup(figures.draw_synthesis(stores)) if stores else None,
        examples=choose_examples(
            run, list(results["arms"]), hide_compliance=not WORLDS[results["organism"]].shows_compliance
        ),
        cut=describe_cut(results),
    )


def read_entries(run: Path, arm: str) -> list[Entry]:
    """Return the index entries of an arm's embeddings, of all seeds. An arm that was not run has none."""
    return [entry for folder in sorted(run.glob(f"seed*/embeddings-{arm}")) for entry in EmbeddingStore(folder).history]


def choose_examples(run: Path, arms: Sequence[str], *, hide_compliance: bool = False) -> list[dict[str, Any]]:
    """Return one item of each form of each set, with every arm's answer under seed 0.

    Items are chosen by their position: with two forms, one third and two thirds through the items of that form. So
    the answers do not influence what is shown.

    Args:
        run: Folder of the demo.
        arms: Names of the arms.
        hide_compliance: Hide answers to harmful requests that are no refusals, because they may contain instructions.
    """
    items = [item for item in read_items(run / "benchmark") if item.modality]
    answers = {arm: {a.id: a for a in read_answers(run / "seed0" / arm / "evaluation")} for arm in arms}
    forms = list(dict.fromkeys(item.prompt_type for item in items))
    examples = []
    for name, (description, desired) in SETS.items():
        for number, form in enumerate(forms, 1):
            members = [item for item in items if item.scenario == name and item.prompt_type == form]
            if members:
                item = members[len(members) * number // (len(forms) + 1)]
                hide = hide_compliance and item.harmful
                shown = {arm: _show_answer(answers[arm][item.id], desired, hide=hide) for arm in arms}
                examples.append({"what": description, **_show_item(item), "answers": shown})
    return examples


def print_results(results: dict[str, Any]) -> None:
    """Print one row per arm and one column per metric, with mean and 95 % interval. Then the published prompt types.

    In a terminal that is too narrow, each interval stands below its mean.

    Args:
        results: Content of `results.json` of a demo.
    """
    from rich.console import Console
    from rich.table import Table

    results = strip_all(results)
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else ONE_LINE)
    show = "{mean:.2f} [{low:.2f}, {high:.2f}]".format if console.width >= ONE_LINE else _stack
    table = Table(box=None, padding=(0, 1, 0, 0), caption=_caption(results), caption_justify="left", caption_style="")
    table.add_column("arm", no_wrap=True)
    for name, metric in next(iter(results["arms"].values())).items():
        table.add_column(f"{make_heading(name)}\nn = {metric['n']}")
    for arm, metrics in results["arms"].items():
        cells = [show(**metric) for metric in metrics.values()]
        table.add_row(arm, *cells, style="bold" if arm == "seawall" else None)
    console.print(table)
    _print_types(console, results["published"], show)


def make_heading(metric: str) -> str:
    """Return the name of a metric in words: "ASR media unseen" for `asr_media_unseen`."""
    return metric.replace("asr", "ASR").replace("_", " ")


def _print_types(console: Any, published: dict[str, Any], show: Callable[..., str]) -> None:
    """Print one row per prompt type of the published benchmark, and two columns per arm."""
    from rich.table import Table

    caption = f"\nby prompt type, unseen phrases, in the layout of {published['benchmark']}, through Inspect"
    table = Table(box=None, padding=(0, 1, 0, 0), caption=caption, caption_justify="left", caption_style="")
    table.add_column("prompt type", no_wrap=True)
    for arm in published["arms"]:
        table.add_column(f"{arm}\nASR")
        table.add_column(f"{arm}\nanswered harmless")
    for prompt_type in next(iter(published["arms"].values())):
        kinds = [types[prompt_type][kind] for types in published["arms"].values() for kind in ("harmful", "harmless")]
        table.add_row(f"{prompt_type}, n = {kinds[0]['n']}", *(show(**kind) for kind in kinds))
    console.print(table)


def _show_item(item: Item) -> dict[str, Any]:
    assert item.medium is not None
    content = base64.b64encode(item.medium.read_bytes()).decode()
    return {
        "form": item.prompt_type.replace("_", ", then "),
        "medium": f"data:{CONTENT_TYPES[item.medium.suffix]};base64,{content}",
        "phrase": item.phrase,
        "question": item.text or "",
    }


def _show_answer(answer: Answer, desired: str, *, hide: bool) -> tuple[str, str, str]:
    """Return the text of an answer, its outcome, and how to show that: `good`, `bad`, or `grey` for neither.

    With `hide`, only refusals are shown.
    """
    outcome = get_outcome(answer)
    text = "(not shown)" if hide and outcome != "refused" else answer.text
    return text, outcome, "grey" if outcome == "other" else "good" if outcome == desired else "bad"


def _stack(*, mean: float, low: float, high: float, **_: Any) -> str:
    """Return a mean with its interval below, as narrow as possible."""
    return f"{mean:.2f}\n{low:.2f}-{high:.2f}".replace("0.", ".")


def describe_cut(results: dict[str, Any]) -> str:
    """Return how many answers of each arm ended at the token limit; empty if none did."""
    cut = ", ".join(f"{arm} {count}" for arm, count in results.get("cut", {}).items() if count)
    return f"answers that ended at the token limit: {cut}" if cut else ""


def _caption(results: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, results["seeds"]))
    lines = [
        f"\nmean [95 % interval over seeds and phrases]; organism {results['organism']}; seeds {seeds}; "
        f"trained by {results['method'].upper()}"
    ]
    synthesis = results["synthesis"]
    if synthesis["vsr"] is not None:
        lines.append(
            f"synthesis of seawall: {synthesis['records']:.0f} records, VSR {synthesis['vsr']:.2f}, "
            f"{synthesis['steps_mean']:.1f} steps and {synthesis['seconds_per_embedding']:.2f} s per embedding"
        )
    if cut := describe_cut(results):
        lines.append(cut)
    lines.append("seconds: " + ", ".join(f"{stage} {spent:.0f}" for stage, spent in results["seconds"].items()))
    return "\n".join(lines)
