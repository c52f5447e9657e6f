"""Recipes: one TOML file describes every stage, one command runs them all into one folder.

A recipe has the tables `[model]`, `[data]`, `[synthesis]`, `[alignment]` and `[evaluation]`. Their keys are the fields of the
stages' configs and of the dataclasses below. Paths are relative to the recipe file.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from seawall.alignment.config import AlignConfig
from seawall.errors import ConfigError
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
from seawall.models.families import Precision
from seawall.preparation.config import PrepareConfig
from seawall.synthesis.config import SynthesizeConfig

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelTable:
    """The model that all stages use."""

    name: str
    """Registered model, folder in Hugging Face format, or hub id."""
    precision: Precision | None = None
    """Precision in every stage. Default: that of the checkpoint."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataTable:
    """The data that the user brings, in addition to the settings of `prepare`."""

    sources: tuple[str, ...]
    """Text safety data: files or folders, relative to the recipe, or ids of data sets."""
    bank: Path | None = None
    """Folder of real, harmless, unlabelled media from which the synthesis starts."""
    media: tuple[Path, ...] = ()
    """Folders of real media with `media.jsonl`, for the alignment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesisTable:
    """Where the synthesis runs, in addition to its settings."""

    engine: Literal["local", "ray"] = "local"
    """`local` uses every visible device of this machine, `ray` every device of a Ray cluster."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignmentTable:
    """What happens to the adapter, in addition to the settings of `align`."""

    merge: bool = False
    """Also write the whole model with the adapter merged."""
    push_to_hub: str | None = None
    """Hub repository to upload the adapter to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationTable:
    """The benchmark's data and judges, in addition to the settings of `evaluate`."""

    data: Path
    """Folder or zip file of the benchmark."""
    judges: tuple[str, ...] = ()
    """Judges such as `strongreject=openai/gpt-4o-mini`. Default: those of the benchmark."""


TABLES: dict[str, tuple[type, ...]] = {
    "model": (ModelTable,),
    "data": (DataTable, PrepareConfig),
    "synthesis": (SynthesisTable, SynthesizeConfig),
    "alignment": (AlignmentTable, AlignConfig),
    "evaluation": (EvaluationTable, BenchmarkConfig, EvaluateConfig),
}
"""Table -> the dataclasses whose fields are its keys."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run needs."""

    model: ModelTable
    data: DataTable
    prepare: PrepareConfig
    synthesis: SynthesisTable
    synthesize: SynthesizeConfig
    alignment: AlignmentTable
    align: AlignConfig
    evaluation: EvaluationTable | None = None
    """None if the recipe has no table `[evaluation]`; then nothing is evaluated or reported."""
    benchmark: BenchmarkConfig | None = None
    evaluate: EvaluateConfig = EvaluateConfig()


def read_recipe(path: Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of a TOML file.

    Args:
        path: The file.
        overrides: Dotted key -> value as text, such as `alignment.steps` -> `200`. They replace values of the file.

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
    made: dict[type, Any] = {}
    for name, classes in TABLES.items():
        if name == "evaluation" and name not in tables:
            continue
        table = tables.get(name, {})
        if not isinstance(table, dict):
            faults.append(f"{name} is {table!r}; it must be a table [{name}]")
            continue
        made |= _make_table(name, table, classes, path.parent, faults)
    if faults:
        listed = "\n".join(f"- {fault}" for fault in faults)
        raise ConfigError(f"{path} has {len(faults)} fault{'s' * (len(faults) > 1)}:\n{listed}")
    sources = tuple(str(path.parent / one) if (path.parent / one).exists() else one for one in made[DataTable].sources)
    made[DataTable] = dataclasses.replace(made[DataTable], sources=sources)
    return _assemble(made)


def find_missing_paths(recipe: Recipe) -> list[str]:
    """Return a sentence for each file or folder of a recipe that does not exist."""
    evaluation = [("evaluation.data", recipe.evaluation.data)] if recipe.evaluation else []
    bank = [("data.bank", recipe.data.bank)] if recipe.data.bank else []
    paths = [*bank, *(("data.media", folder) for folder in recipe.data.media), *evaluation]
    return [f"{name}: there is no {path}" for name, path in paths if not path.exists()]


def _assemble(made: dict[type, Any]) -> Recipe:
    model: ModelTable = made[ModelTable]
    shared = {name: value for name in ("precision", "device_map") if (value := getattr(model, name)) is not None}
    configs = {
        cls: dataclasses.replace(made[cls], **shared)
        for cls in (SynthesizeConfig, AlignConfig, EvaluateConfig)
        if cls in made
    }
    return Recipe(
        model=model,
        data=made[DataTable],
        prepare=made[PrepareConfig],
        synthesis=made[SynthesisTable],
        synthesize=configs[SynthesizeConfig],
        alignment=made[AlignmentTable],
        align=configs[AlignConfig],
        evaluation=made.get(EvaluationTable),
        benchmark=made.get(BenchmarkConfig),
        evaluate=configs.get(EvaluateConfig, EvaluateConfig()),
    )


def _make_table(
    name: str, table: Mapping[str, Any], classes: Sequence[type], folder: Path, faults: list[str]
) -> dict[type, Any]:
    """Return the dataclasses of a table; add what is wrong to `faults`."""
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
    """Return values of the types that the fields of a dataclass have, with paths relative to the recipe resolved."""
    import pydantic

    types = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if dataclasses.is_dataclass(inner := types[key]) and isinstance(value, dict):
            fields = [field.name for field in dataclasses.fields(inner)]
            unknown = [name for name in value if name not in fields]
            faults += [f"unknown key {prefix}{key}.{name}{_suggest(name, fields)}" for name in unknown]
            own = {name: v for name, v in value.items() if name in fields}
            try:
                made = typing.cast(type, inner)
                values[key] = made(**_convert(f"{prefix}{key}.", own, made, folder, faults))
            except ConfigError as error:
                faults.append(f"{prefix}{key}: {str(error).rstrip('.')}")
            continue
        try:
            values[key] = _resolve(pydantic.TypeAdapter(types[key]).validate_python(value), folder)
        except pydantic.ValidationError as error:
            faults.append(f"{prefix}{key} is {value!r}: {error.errors()[0]['msg'].lower()}")
    return values


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
            faults.append(f"the override {dotted!r} names no table; write it as TABLE.KEY, for example alignment.steps")
            continue
        place = tables
        for name in path:
            place = place.setdefault(name, {})
        try:
            place[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:  # a text without quotes
            place[key] = text


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _suggest(name: str, known: Iterable[str]) -> str:
    """Return a "did you mean" for a misspelt name."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f" (known: {', '.join(known)})"
