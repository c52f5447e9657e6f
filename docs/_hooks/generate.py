"""Parts of pages that the code yields: the command line, the keys of a recipe and the table of families."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import itertools
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import App
from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console

from seawall.cli import app
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.media.modality import MODALITIES
from seawall.models.families import FAMILIES
from seawall.preparation.sources.source import Source
from seawall.recipes.tables import TABLES
from seawall.reporting.help import GROUPS, GroupedHelp

USUAL = {"language_model": "language model", "auto_class": "loaded by", "checked_on": "checked on transformers"}
"""Fields of a family that have one value in most rows -> what the page calls them."""


class _Recorder:
    """Stands in for a command's help formatter and keeps its panels instead of printing them."""

    def __init__(self, formatter: Any) -> None:
        self._formatter = formatter if isinstance(formatter, GroupedHelp) else GroupedHelp()
        self.groups: dict[str, list[HelpEntry]] = {title: [] for title in GROUPS}
        self.usage = ""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        if panel.format == "parameter":
            for entry in panel.entries:
                self.groups[self._formatter._find_title(entry)].append(entry)

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        self.usage = _to_text(usage).strip().removeprefix("Usage: ")

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        pass  # comes from the docstring, which is Markdown


def make_command_line() -> str:
    """Return a section for each command: what it does, examples, and its flags in groups."""
    return "\n\n".join(_describe_command(names, command) for names, command in _list_commands(app, ()))


def _list_commands(parent: App, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    commands = {name: parent[name] for name in parent if not name.startswith("-")}
    for name, child in sorted(commands.items(), key=lambda item: (item[1].sort_key is None, item[1].sort_key or 0)):
        yield (*above, name), child
        yield from _list_commands(child, (*above, name))


def _describe_command(names: tuple[str, ...], command: App) -> str:
    lines = [f"{'#' * (len(names) + 1)} seawall {' '.join(names)}", ""]
    if command.default_command is None:
        return "\n".join([*lines, command.help])
    recorder = _Recorder(command.help_formatter)
    before = command.help_formatter, app.help_format
    command.help_formatter, app.help_format = recorder, "plaintext"
    try:
        app.help_print(names, console=Console(file=io.StringIO()))
    finally:
        command.help_formatter, app.help_format = before
    described = inspect.getdoc(command.default_command) or ""
    lines += ["```console", recorder.usage, "```", "", described.partition("\n\nArgs:")[0], ""]
    for title, entries in recorder.groups.items():
        if entries:
            lines += [f"**{title}**", "", *map(_describe_flag, entries), ""]
    return "\n".join(lines)


def _describe_flag(entry: HelpEntry) -> str:
    names = entry.positive_names or (entry.positional_label or "",)
    metavar = f" {entry.metavar}" if entry.metavar and not entry.choices and not entry.positional_label else ""
    name = entry.positional_label or f"{names[0]}{metavar}"
    name += f"</code> / <code>{entry.negative_names[0]}" if entry.negative_names else ""
    text = " ".join(_to_text(entry.description).split())
    facts = ["required"] if entry.required else []
    facts += [f"one of {', '.join(f'`{choice}`' for choice in entry.choices)}"] if entry.choices else []
    default = re.sub(r"^\(|,?\)$", "", entry.default or "")  # a tuple
    facts += [f"default `{default}`"] if default not in ("", "None") else []
    return f"- <code>{name}</code>: {text}" + (f" *({'; '.join(facts)})*" if facts else "")


def _to_text(renderable: Any) -> str:
    if renderable is None or isinstance(renderable, str):
        return renderable or ""
    file = io.StringIO()
    Console(file=file, width=100_000, color_system=None).print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def read_field_docs(cls: type) -> dict[str, str]:
    """Return field -> text of the docstring under it, of a dataclass and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                docs[field.target.id] = inspect.cleandoc(text.value.value)
    return docs


def make_recipe_keys() -> str:
    """Return a section for each table of a recipe, with its keys, their types and defaults."""
    lines = []
    for table, classes in TABLES.items():
        lines += [f"## `[{table}]`", ""]
        nested: list[tuple[str, type]] = []
        for cls in classes:
            lines += _describe_keys(table, cls, nested)
        lines.append("")
        for name, cls in nested:
            lines += [f"### `[{name}]`", "", *_describe_keys(name, cls, []), ""]
    return "\n".join(lines)


def _describe_keys(table: str, cls: type, nested: list[tuple[str, type]]) -> list[str]:
    docs, types, lines = read_field_docs(cls), get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        text = " ".join(docs.get(field.name, "").split())
        if dataclasses.is_dataclass(field.default):
            nested.append((f"{table}.{field.name}", type(field.default)))
            lines.append(f"- `{field.name}`: {text} A table of its own, `[{table}.{field.name}]`.")
            continue
        facts = [_name_type(types[field.name])]
        if field.default is dataclasses.MISSING:
            facts.append("required")
        elif field.default not in (None, ()):
            facts.append(f"default `{_to_toml(field.default)}`")
        lines.append(f"- `{field.name}`: {text} *({'; '.join(facts)})*")
    return lines


def _name_type(hint: Any) -> str:
    """Return what a key takes, in words."""
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Path: "path"}
    if hint in names:
        return names[hint]
    inner = [one for one in get_args(hint) if one not in (type(None), ...)]
    if get_origin(hint) is Literal:
        return f"one of {', '.join(f'`{one}`' for one in inner)}"
    if hint == tuple[str | Source, ...]:
        return "list of texts or tables"
    return f"list of {_name_type(inner[0])}s" if get_origin(hint) is tuple else _name_type(inner[0])


def _to_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_to_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def make_families() -> str:
    """Return the table of model families."""
    usual = {name: Counter(getattr(one, name) for one in FAMILIES).most_common(1)[0][0] for name in USUAL}
    heads = ("model type", "modality", "encoder layers", "projector", "blank", "otherwise")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for family in FAMILIES:
        deep = f"<br>`{family.deep_projectors}.*`" if family.deep_projectors else ""
        other = [
            f"{title} `{value}`" for name, title in USUAL.items() if (value := getattr(family, name)) != usual[name]
        ]
        cells = (
            f"`{family.model_type}`" + (f" ({family.tower})" if family.tower else ""),
            family.modality,
            f"`{family.encoder_layers}`" if family.encoder_layers else "none",
            f"`{family.projector}`{deep}",
            f"{family.blank:g}&nbsp;{MODALITIES.find(family.modality).unit}" if family.blank else "its&nbsp;own",
            ", ".join(other),
        )
        lines.append(f"| {' | '.join(cells)} |")
    said = ", ".join(f"{title} `{usual[name]}`" for name, title in USUAL.items())
    return f"Unless the last column says otherwise: {said}.\n\n" + "\n".join(lines)


def count_families() -> str:
    """Return how many families the table has."""
    types = len({family.model_type for family in FAMILIES})
    return f"The table has {len(FAMILIES)} rows for {types} model types."


def make_benchmarks() -> str:
    """Return the table of public benchmarks, and below it how their authors judge."""
    rows = [BENCHMARKS.find(name) for name in BENCHMARKS.names()]
    rows = [row for row in rows if row.page]
    lines = [
        "| `--benchmark` | measures | `--data`: a folder or zip file | `--types` | licence |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        what = row.description.partition(" Prompt types:")[0]
        lines.append(f"| [`{row.name}`]({row.page}) | {what} | {row.layout} | {', '.join(row.types)} | {row.licence} |")
    lines += ["", "| benchmark | its authors state | its authors judge by |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.items} | {row.published_judge} |" for row in rows]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "benchmarks": make_benchmarks,
    "command_line": make_command_line,
    "families": make_families,
    "family_count": count_families,
    "recipe_keys": make_recipe_keys,
}
"""Name in a marker -> function that returns its Markdown."""
