"""Checks of a recipe before anything is run: missing files, and the family of the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from seawall.errors import ConfigError, ModelError
from seawall.models.families import MODELS, Family, find_family
from seawall.preparation.sources.rows import FORMATS
from seawall.preparation.sources.source import Source
from seawall.recipes.tables import Recipe

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def check_recipe(recipe: Recipe) -> None:
    """Check what can be checked without loading the model.

    Raises:
        ConfigError: Files or folders are missing. All are listed.
        ModelError: The model is missing, or its family or modality is not supported.
    """
    if missing := find_missing_paths(recipe):
        listed = "\n".join(f"- {each}" for each in missing)
        raise ConfigError(
            f"The recipe names files or folders that do not exist:\n{listed}\n"
            "Paths are relative to the recipe. Correct them, or bring the files."
        )
    if recipe.model.name not in MODELS or isinstance(MODELS.find(recipe.model.name), Path):
        read_family(recipe.model.name, recipe.prepare.modality)


def find_missing_paths(recipe: Recipe) -> list[str]:
    """Return a sentence for each file or folder of a recipe that does not exist."""
    evaluation = [("evaluation.data", recipe.evaluation.data)] if recipe.evaluation else []
    bank = [("data.bank", recipe.data.bank)] if recipe.data.bank else []
    paths = [*bank, *(("data.media", folder) for folder in recipe.data.media), *evaluation]
    sources = [f"data.sources: there is no {source}" for source in recipe.data.sources if not is_source(source)]
    return sources + [f"{name}: there is no {path}" for name, path in paths if not path.exists()]


def is_source(source: str | Source) -> bool:
    """Return whether text safety data exist as a file or folder, or may be an id of the hub."""
    source = source if isinstance(source, str) and Path(source).exists() else Source.parse(source).path
    endings = {*FORMATS, ".gz"}
    return Path(source).exists() or (
        _HUB_ID.fullmatch(source) is not None and Path(source).suffix.lower() not in endings
    )


def read_family(model: str, modality: str | None = None) -> Family:
    """Return the family of a model from its `config.json`, without loading the model.

    Args:
        model: Registered model with a folder, folder in Hugging Face format, or hub id.
        modality: Modality of the media. None takes the family's first one.

    Raises:
        ModelError: There is no such model, or its family or modality is not supported.
    """
    config = read_config(model)
    tower = (config.get("vision_config") or {}).get("model_type")
    return find_family(config["model_type"], modality, tower)


def read_config(model: str) -> dict[str, Any]:
    """Return the content of a model's `config.json`.

    Raises:
        ModelError: There is no such model, or it has no readable `config.json`.
    """
    from transformers import PretrainedConfig

    source = MODELS.find(model) if model in MODELS else model
    if callable(source):
        raise ModelError(f"{model!r} is made by a function, so it has no config.json. Give a folder or a hub id.")
    if not Path(source).is_dir() and (str(source).count("/") != 1 or not _HUB_ID.fullmatch(str(source))):
        raise ModelError(
            f"There is no folder and no registered model {model!r}. Give a folder in Hugging Face format, a hub id, or one "
            f"of {', '.join(MODELS.names())}."
        )
    try:
        config = dict(PretrainedConfig.get_config_dict(str(source))[0])
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"The model {model!r} has no config.json that can be read: {reason} Give a folder in Hugging Face format, a "
            f"hub id, or a registered model ({', '.join(MODELS.names())})."
        ) from error
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"The config.json of the model {model!r} names no model_type. Give a complete model folder.")
    return config
