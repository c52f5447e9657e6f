"""`seawall run`: all stages of a recipe into one folder, with an evaluation before and after."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seawall.alignment.card import add_results
from seawall.alignment.run import align
from seawall.errors import ConfigError
from seawall.evaluation.run import evaluate
from seawall.evaluation.statistics import list_shares
from seawall.preparation.run import prepare
from seawall.recipes import Recipe, find_missing_paths, read_recipe
from seawall.reporting.run import report
from seawall.store.files import write_json
from seawall.synthesis.run import synthesize

log = logging.getLogger(__name__)

RESULTS = "results.json"
SCHEMA = 1


def run(recipe: Path | Recipe, out: Path, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run every stage of a recipe. Rerun to resume: finished stages return their results.

    Args:
        recipe: The TOML file, or what `read_recipe` returned.
        out: Folder for `pairs`, `embeddings`, `adapter`, `before`, `after`, `results.json` and `report.html`.
        overrides: Dotted key -> value as text, which replaces a value of the file.

    Returns:
        The content of `results.json`: the figures `before` and `after`, and the summaries of `synthesis` and `alignment`.

    Raises:
        ConfigError: The recipe has faults, or a file that it names is missing.
        SeawallError: A stage failed. Finished stages are kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, overrides)
    if missing := find_missing_paths(recipe):
        raise ConfigError(f"Files of the recipe are missing: {'; '.join(missing)}. Paths are relative to the recipe.")
    results: dict[str, Any] = {"schema": SCHEMA, "model": recipe.model.name}
    if recipe.evaluation:
        log.info("evaluation before alignment")
        results["before"] = _evaluate(recipe, out / "before", None)["judges"]
    log.info("preparation")
    results["preparation"] = prepare(recipe.data.sources, out / "pairs", recipe.prepare)
    embeddings = None
    if recipe.align.mixture.needs_embeddings:
        log.info("synthesis")
        embeddings = out / "embeddings"
        results["synthesis"] = synthesize(
            recipe.model.name,
            out / "pairs",
            embeddings,
            recipe.synthesize,
            bank=recipe.data.bank if recipe.synthesize.start == "bank" else None,
            engine=recipe.synthesis.engine,
        )
    log.info("alignment")
    adapter = out / "adapter"
    trained = align(
        recipe.model.name,
        out / "pairs",
        embeddings,
        adapter,
        recipe.align,
        media=recipe.data.media,
        merge=recipe.alignment.merge,
        push_to_hub=recipe.alignment.push_to_hub,
    )
    results["alignment"] = trained.to_json()
    if recipe.evaluation and recipe.benchmark:
        log.info("evaluation after alignment")
        after = _evaluate(recipe, out / "after", adapter)
        results["after"] = after["judges"]
        add_results(adapter, recipe.benchmark.benchmark, list_shares(after))
    write_json(out / RESULTS, results)
    if recipe.evaluation:
        (page,) = report([out / "before", out / "after"])
        (out / page.name).write_bytes(page.read_bytes())
    return results


def _evaluate(recipe: Recipe, out: Path, adapter: Path | None) -> dict[str, Any]:
    if not (recipe.evaluation and recipe.benchmark):
        raise ConfigError("The recipe has no table [evaluation].")
    return evaluate(
        recipe.model.name,
        recipe.evaluation.data,
        out,
        recipe.benchmark,
        recipe.evaluate,
        adapter=adapter,
        judges=recipe.evaluation.judges,
    )
