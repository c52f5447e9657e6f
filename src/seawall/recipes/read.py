"""Reading of recipes: TOML and overrides into configs, with all faults at once."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seawall.alignment.config import AlignConfig
from seawall.errors import ConfigError
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
from seawall.models.families import MODELS
from seawall.preparation.config import PrepareConfig
from seawall.preparation.sources.source import Source
from seawall.recipes.tables import (
    STAGES,
    TABLES,
    AlignmentTable,
    DataTable,
    EvaluationTable,
    ModelTable,
    Recipe,
    SynthesisTable,
)
from seawall.synthesis.config import SynthesizeConfig

Made = dict[type, Any]
"""Dataclass -> the instance that a recipe gives."""


class Override(str):
    """The value of a flag. It is read as TOML, or else as a text without quotes."""


def read_recipe(path: Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of a TOML file. Its paths become relative to the working directory.

    Args:
        path: The file.
        overrides: Dotted key -> value as text, such as `alignment.steps` -> `200`. They replace values of the file.
            Their paths are relative to the recipe, too.

    Raises:
        ConfigError: The file cannot be read, or has faults. All faults are listed.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read as a recipe: {error}. `seawall init` writes one to start from."
        ) from error
    faults: list[str] = []
    _apply(tables, overrides or {}, faults)
    faults += [f"unknown table [{name}]{_suggest(name, TABLES)}" for name in tables if name not in TABLES]
    made: Made = {}
    for name, classes in TABLES.items():
        table = tables.get(name, {})
        if name == "evaluation" and name not in tables:
            continue
        if isinstance(table, dict):
            made |= _make_table(name, table, classes, path.parent, faults)
        else:
            faults.append(f"{name} is {table!r}; it must be a table [{name}]")
    recipe = _assemble(made, path.parent)
    faults += recipe.find_conflicts() if recipe else []
    if recipe is None or faults:
        listed = "\n".join(f"- {fault}" for fault in faults)
        raise ConfigError(f"{path} has {len(faults)} fault{'s' * (len(faults) > 1)}:\n{listed}")
    shared = {name: recipe.model.get_shared(name) for name in STAGES.values()}
    return dataclasses.replace(
        recipe, **{name: dataclasses.replace(getattr(recipe, name), **values) for name, values in shared.items()}
    )


def _assemble(made: Made, folder: Path) -> Recipe | None:
    """Return the recipe as the file has it. None if a table has faults."""
    needed = (ModelTable, DataTable, PrepareConfig, SynthesisTable, SynthesizeConfig, AlignmentTable, AlignConfig)
    if not all(cls in made for cls in needed):
        return None
    data: DataTable = made[DataTable]
    local = tuple(_locate_source(source, folder) for source in data.sources)
    model: ModelTable = made[ModelTable]
    if model.name not in MODELS and (folder / Path(model.name).expanduser()).is_dir():
        model = dataclasses.replace(model, name=str(folder / Path(model.name).expanduser()))
    return Recipe(
        model=model,
        data=dataclasses.replace(data, sources=local),
        prepare=made[PrepareConfig],
        synthesis=made[SynthesisTable],
        synthesize=made[SynthesizeConfig],
        alignment=made[AlignmentTable],
        align=made[AlignConfig],
        evaluation=made.get(EvaluationTable),
        benchmark=made.get(BenchmarkConfig),
        evaluate=made.get(EvaluateConfig, EvaluateConfig()),
    )


def _locate_source(source: str | Source, folder: Path) -> str | Source:
    """Return a source with its path relative to the working directory, unless it is an id of the hub."""
    place = folder / Path(str(source)).expanduser()
    if isinstance(source, str) and place.exists():
        return str(place)
    parsed = Source.parse(source)
    place = folder / Path(parsed.path).expanduser()
    located = dataclasses.replace(parsed, path=str(place)) if place.exists() else parsed
    return located.path if located == Source(path=located.path) else located


def _make_table(name: str, table: Mapping[str, Any], classes: Sequence[type], folder: Path, faults: list[str]) -> Made:
    """Return the dataclasses of a table. Add what is wrong to `faults`."""
    fields = {field.name: cls for cls in classes for field in dataclasses.fields(cls)}
    faults += [f"unknown key {name}.{key}{_suggest(key, fields)}" for key in table if key not in fields]
    made = {}
    for cls in classes:
        before = len(faults)
        given = {key: value for key, value in table.items() if fields.get(key) is cls}
        values = _convert(f"{name}.", given, cls, folder, faults)
        needed = [field.name for field in dataclasses.fields(cls) if _is_required(field) and field.name not in given]
        faults += [f"{name}.{key} is missing" for key in needed]
        if len(faults) == before:
            try:
                made[cls] = cls(**values)
            except ConfigError as error:
                faults.append(f"[{name}] {str(error).rstrip('.')}")
    return made


def _convert(prefix: str, given: Mapping[str, Any], cls: type, folder: Path, faults: list[str]) -> dict[str, Any]:
    """Return values of the types that the fields of a dataclass have. Paths are resolved relative to the recipe."""
    types = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in given.items():
        inner = types[key]
        if not dataclasses.is_dataclass(inner):
            try:
                values[key] = _resolve(_read_value(value, inner), folder)
            except ValueError as error:
                faults.append(f"{prefix}{key} is {value!r}; {error}")
        elif isinstance(value, dict):
            fields = [field.name for field in dataclasses.fields(inner)]
            unknown = [name for name in value if name not in fields]
            faults += [f"unknown key {prefix}{key}.{name}{_suggest(name, fields)}" for name in unknown]
            own = {name: v for name, v in value.items() if name in fields}
            try:
                make = typing.cast(type, inner)
                values[key] = make(**_convert(f"{prefix}{key}.", own, make, folder, faults))
            except ConfigError as error:
                faults.append(f"{prefix}{key}: {str(error).rstrip('.')}")
        else:
            faults.append(f"{prefix}{key} is {value!r}; it must be a table [{prefix}{key}]")
    return values


def _read_value(value: Any, wanted: Any) -> Any:
    """Return a value of a recipe with the type of its field.

    Raises:
        ValueError: It has another type. The text says what was expected.
    """
    import pydantic

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(wanted)
    reason = ""
    for candidate in _list_readings(value):
        try:  # strict JSON: a list becomes a tuple and a text a path, but no text or bool becomes a number
            return adapter.validate_json(json.dumps(candidate, default=str), strict=True)
        except pydantic.ValidationError as error:
            fault = max(error.errors(), key=lambda one: len(one["loc"]))  # of a table, the fault of its key
            reason = reason or (f"{fault['loc'][-1]}: " if len(fault["loc"]) > 2 else "") + fault["msg"]
    advice = ", for example ['a', 'b']" if "array" in reason or "tuple" in reason else ""
    raise ValueError(reason[:1].lower() + reason[1:] + advice)


def _list_readings(value: Any) -> Iterator[Any]:
    """Yield what a value may mean: that of a flag is TOML, a text without quotes, or a list with commas."""
    if not isinstance(value, Override):
        yield value
        return
    with contextlib.suppress(tomllib.TOMLDecodeError):
        yield tomllib.loads(f"value = {value}")["value"]
    yield str(value)
    yield value.split(",")


def _resolve(value: Any, folder: Path) -> Any:
    """Return paths relative to the folder of the recipe; other values unchanged."""
    if isinstance(value, Path):
        return folder / value.expanduser()
    return tuple(_resolve(one, folder) for one in value) if isinstance(value, tuple) else value


def _apply(tables: dict[str, Any], overrides: Mapping[str, str], faults: list[str]) -> None:
    """Write overrides into the tables of a recipe."""
    for dotted, text in overrides.items():
        *path, key = dotted.replace("-", "_").split(".")
        if not path:
            faults.append(f"unknown flag --{dotted}; write a key as --TABLE.KEY, for example --alignment.steps")
            continue
        place: Any = tables
        for name in path:
            place = place.setdefault(name, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[key] = Override(text)
        else:
            faults.append(f"--{dotted} does not fit the recipe: {'.'.join(path)} is not a table there")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _suggest(name: str, known: Iterable[str]) -> str:
    """Return a "did you mean" for a misspelt name, or else the known names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
