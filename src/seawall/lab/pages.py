"""One HTML page of a demo: it asks nothing of the network, so it can be mailed, archived and opened anywhere."""

from __future__ import annotations

import base64
import importlib.resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from seawall.store.files import read_json, read_jsonl
from seawall.prompts import MEDIUM_WORDS
from seawall.reporting import figures
from seawall.lab.table import heading

SETS = {
    "media_harmful_trained": ("harmful phrase of the training data", "refused"),
    "media_harmful_unseen": ("harmful phrase that no training saw", "refused"),
    "media_harmless": ("harmless phrase that no training saw", "answered"),
}
"""Sets shown side by side: name -> what it holds, the verdict to wish for."""
TYPES = {".png": "image/png", ".mp4": "video/mp4", ".wav": "audio/wav"}
"""What a browser calls the media that the page holds."""


def build_page(run: Path, results: dict[str, Any]) -> str:
    """Return the report of a finished demo as HTML.

    Args:
        run: Its folder.
        results: Its results.

    Raises:
        DataError: A file of the demo is missing or broken.
    """
    # The page holds what a model said and what a user's data asked: whatever is not our own SVG is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["heading"] = heading
    template = environment.from_string(
        importlib.resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    )
    points = read_json(run / "plane.json")
    stores = {arm: read_indexes(run, arm) for arm in ("seawall", "sea_paper")}
    stores = {arm: entries for arm, entries in stores.items() if entries}
    return template.render(
        results=results,
        config=read_json(run / "manifest.json")["config"],
        colours={arm: figures.colour(arm) for arm in results["arms"]},
        by_arm=Markup(figures.by_arm(results["arms"])),
        plane=Markup(figures.plane(points)),
        steps=sorted({point["steps"] for way in points.values() for point in way if len(way) > 1}),
        synthesis_curve=Markup(figures.synthesis_curve(stores)) if stores else None,
        examples=choose_examples(run, list(results["arms"])),
    )


def read_indexes(run: Path, arm: str) -> list[dict[str, Any]]:
    """Return the index lines of an arm's embeddings, of all seeds; none where the arm was not run."""
    paths = sorted(run.glob(f"seed*/embeddings-{arm}/index.jsonl"))
    return [entry for path in paths for _, entry in read_jsonl(path)]


def choose_examples(run: Path, arms: list[str]) -> list[dict[str, Any]]:
    """Return an item of each form of each set with every arm's answer under seed 0.

    Their places in the list are fixed (of two forms, one third through the first and two thirds through the second), so
    that the answers have no say in what is shown.
    """
    items = [item for _, item in read_jsonl(run / "benchmark" / "items.jsonl")]
    answers = {
        arm: {row["id"]: row for _, row in read_jsonl(run / "seed0" / arm / "evaluation" / "answers.jsonl")}
        for arm in arms
    }
    forms = list(dict.fromkeys(item["form"] for item in items if item.get("form")))
    examples = []
    for name, (what, wanted) in SETS.items():
        for number, form in enumerate(forms, 1):
            members = [item for item in items if item["set"] == name and item.get("form") == form]
            if not members:
                continue
            item = members[len(members) * number // (len(forms) + 1)]
            rows = {arm: answers[arm][item["id"]] for arm in arms}
            medium = next(run / "benchmark" / item[name] for name in MEDIA if item.get(name))
            content = base64.b64encode(medium.read_bytes()).decode()
            examples.append(
                {
                    "what": what,
                    "form": form.replace("_", ", then "),
                    "medium": f"data:{TYPES[medium.suffix]};base64,{content}",
                    "phrase": rows[arms[0]]["phrase"],
                    "question": item["question"],
                    "answers": {arm: (row["answer"], row["verdict"], _tone(row, wanted)) for arm, row in rows.items()},
                }
            )
    return examples


def _tone(row: dict[str, Any], wanted: str) -> str:
    """Return how a verdict is to be shown: `good`, `bad`, or `grey` for what is neither an answer nor a refusal."""
    if row["verdict"] == "other":
        return "grey"
    return "good" if row["verdict"] == wanted else "bad"
