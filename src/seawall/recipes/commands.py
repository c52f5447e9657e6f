"""The commands `seawall run` and `seawall init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from seawall.compat import warn_about_versions
from seawall.errors import ConfigError
from seawall.reporting.terminal import print_json, print_rows

RUNS = Path("runs")
"""Folder for runs without `--out`."""


def add_commands(app: App) -> None:
    """Add the commands of recipes to the command line."""
    app.command(run, sort_key=0)
    app.command(init, sort_key=0)


def run(
    recipe: Path,
    *override: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    out: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Run all stages of a recipe into one folder, with an evaluation before and after.

    Rerun the same command to resume. A flag `--TABLE.KEY VALUE` replaces a value of the recipe. docs/reference/recipe.md
    lists all keys.

    Example: `seawall run llava.toml --out runs/llava`

    Example: `seawall run llava.toml --dry-run --alignment.steps 200` probes a few records, and prints what the run will make,
    and roughly how long and how much memory and disk each stage takes.

    Args:
        recipe: TOML file. `seawall init` writes one.
        out: Folder for all artifacts, results.json and report.html. Default: runs/NAME-OF-THE-RECIPE.
        dry_run: Only probe and print.
    """
    from seawall.recipes.check import check_recipe
    from seawall.recipes.read import read_recipe

    settings = read_recipe(recipe, parse_overrides(override))
    check_recipe(settings)  # before the libraries of the stages are imported, which takes seconds
    folder = out or RUNS / recipe.stem
    warn_about_versions()
    if dry_run:
        from seawall.recipes.estimate import estimate

        foreseen = estimate(settings, folder)
        print_rows(foreseen.list_rows())
        for note in foreseen.notes:
            print(f"Note: {note}.")
        foreseen.require_disk()
        return
    from seawall.recipes.pipeline import PAGE, run

    results = run(settings, folder)
    if settings.evaluation:
        print(f"\nReport: {folder / PAGE}")
    else:
        print_json(results)


def init(
    model: str,
    *,
    data: Annotated[tuple[str, ...], Parameter(consume_multiple=1)],
    out: Path = Path("recipe.toml"),
    bank: Path | None = None,
    modality: str | None = None,
) -> None:
    """Write a commented recipe for a model and text safety data.

    Example: `seawall init llava-hf/llava-1.5-7b-hf --data PKU-Alignment/PKU-SafeRLHF tatsu-lab/alpaca --out llava.toml`

    Args:
        model: Folder in Hugging Face format, hub id or name of a built-in model. Its family is found from its config.
        data: Text safety data: files, folders or ids of hub datasets.
        out: The recipe. It must not exist.
        bank: Folder of real, harmless, unlabelled media as starting points. Default: a blank medium.
        modality: image, video or audio, for models that take several. Default: the first one of the family.
    """
    from seawall.recipes.templates import write_recipe

    write_recipe(out, model, data, bank=bank, modality=modality)
    print(out)


def parse_overrides(tokens: Sequence[str]) -> dict[str, str]:
    """Return dotted key -> value of flags such as `--alignment.steps 200` and `--alignment.steps=200`.

    A flag without a value is true.

    Raises:
        ConfigError: A value without a flag, or a flag twice.
    """
    found: dict[str, str] = {}
    name = None
    for token in tokens:
        if token.startswith("--"):
            name, given, value = token[2:].partition("=")
            if name in found:
                raise ConfigError(f"--{name} is given twice. Give it once.")
            found[name] = value if given else "true"
            name = None if given else name
        elif name is not None:
            found[name], name = token, None
        else:
            raise ConfigError(
                f"{token!r} belongs to no flag. Write changes of the recipe as --TABLE.KEY VALUE, and lists with commas."
            )
    return found
