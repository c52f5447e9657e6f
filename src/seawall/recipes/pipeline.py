"""`run`: all stages of a recipe into one folder, with an evaluation before and after the alignment."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seawall.alignment.run import AlignResult, align
from seawall.errors import ConfigError
from seawall.evaluation.run import evaluate
from seawall.preparation.run import prepare
from seawall.recipes.check import check_recipe
from seawall.recipes.read import read_recipe
from seawall.recipes.tables import Recipe
from seawall.recipes.usage import record_usage
from seawall.reporting.card import add_to_card
from seawall.reporting.results import PAGE
from seawall.reporting.run import report
from seawall.store.files import write_durably, write_json
from seawall.synthesis.run import synthesize

log = logging.getLogger(__name__)

RESULTS = "results.json"
SCHEMA = 1
COUNTS = ("records", "embeddings", "verified", "unverified", "failed", "vsr")
"""What the results say of the synthesis. Its times and steps, which differ in a resumed run, stay in its own folder."""


def run(recipe: Path | Recipe, out: Path, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run every stage of a recipe. Call it again to resume: finished stages return their results.

    A run that was killed, in whatever stage, gives the same results as one that was not (docs/how_to/resume.md).

    Args:
        recipe: The TOML file, or what `read_recipe` returned.
        out: Folder for `before`, `pairs`, `embeddings`, `adapter`, `after`, `results.json`, `usage.json` (time and
            memory of each stage) and `report.html`.
        overrides: Dotted key -> value as text, such as `alignment.steps` -> `200`. They replace values of the file.

    Returns:
        The content of `results.json`: the judges' figures `before` and `after`, and the counts of `preparation`,
        `synthesis` and `alignment`. What the recipe does not do is left out.

    Raises:
        ConfigError: The recipe has faults, or a file that it names is missing.
        SeawallError: A stage failed. Finished stages are kept.
    """
    if isinstance(recipe, Recipe) and overrides:
        raise ConfigError("Overrides need the recipe's file. Give its path, or a Recipe without overrides.")
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, overrides)
    check_recipe(recipe)
    results: dict[str, Any] = {"schema": SCHEMA, "model": recipe.model.name}
    if recipe.evaluation:
        results["before"] = _evaluate(recipe, out, "before", None)["judges"]
    with record_usage(out, "prepare", out / "pairs"):
        log.info("preparation")
        results["preparation"] = prepare(recipe.data.sources, out / "pairs", recipe.prepare).to_json()
    if recipe.align.mixture.needs_embeddings:
        results["synthesis"] = _synthesize(recipe, out)
    results["alignment"] = _align(recipe, out).to_json()["examples"]
    if recipe.evaluation:
        after = _evaluate(recipe, out, "after", out / "adapter")
        add_to_card(after)
        results["after"] = after["judges"]
        with contextlib.chdir(out):  # the report names its columns by the paths
            (page,) = report([Path("before"), Path("after")])
            write_durably(Path(PAGE), page.read_bytes())
    write_json(out / RESULTS, results)
    return results


def _synthesize(recipe: Recipe, out: Path) -> dict[str, Any]:
    with record_usage(out, "synthesize", out / "embeddings"):
        log.info("synthesis")
        summary = synthesize(
            recipe.model.name,
            out / "pairs",
            out / "embeddings",
            recipe.synthesize,
            bank=recipe.data.bank if recipe.synthesize.start == "bank" else None,
            engine=recipe.synthesis.engine,
        )
    return {name: summary[name] for name in COUNTS}


def _align(recipe: Recipe, out: Path) -> AlignResult:
    with record_usage(out, "align", out / "adapter"):
        log.info("alignment")
        return align(
            recipe.model.name,
            out / "pairs",
            out / "embeddings" if recipe.align.mixture.needs_embeddings else None,
            out / "adapter",
            recipe.align,
            media=recipe.data.media,
            merge=recipe.alignment.merge,
            push_to_hub=recipe.alignment.push_to_hub,
        )


def _evaluate(recipe: Recipe, out: Path, name: str, adapter: Path | None) -> dict[str, Any]:
    assert recipe.evaluation and recipe.benchmark
    full = adapter is not None and recipe.align.tuning == "full"
    with record_usage(out, name, out / name):
        log.info("evaluation %s alignment", name)
        return evaluate(
            str(adapter) if full else recipe.model.name,
            recipe.evaluation.data,
            out / name,
            recipe.benchmark,
            recipe.evaluate,
            adapter=None if full else adapter,
            judges=recipe.evaluation.judges,
        )
