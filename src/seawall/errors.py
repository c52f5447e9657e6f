"""Errors that are the user's to mend. The command line prints their text alone and exits 2."""

from __future__ import annotations

import contextlib


class SeawallError(Exception):
    """Base of all: says what was found, why it fails and what to do."""


class ConfigError(SeawallError, ValueError):
    """A setting that cannot work."""


class DataError(SeawallError, ValueError):
    """Input data that cannot be read or used."""


class ModelError(SeawallError, ValueError):
    """A model or organism that is unknown, incomplete or of an unsupported family."""


class ArtifactError(SeawallError, ValueError):
    """A folder of artifacts that is missing, incomplete or belongs to another run."""


class TrainingError(SeawallError, RuntimeError):
    """A training or an optimisation that went wrong, for example into NaN."""


class EngineError(SeawallError, RuntimeError):
    """Workers that cannot be had or kept."""


def say(error: BaseException) -> str:
    """Return an error of Inspect or of a model's client as one line of plain text."""
    from rich.errors import MarkupError
    from rich.text import Text

    if hasattr(error, "last_attempt"):  # Inspect's retries are used up: the last fault says more
        error = error.last_attempt.exception() or error
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    if type(error).__name__ == "PrerequisiteError":  # rich markup
        with contextlib.suppress(MarkupError):
            text = Text.from_markup(text).plain
    text = " ".join(text.split()).removeprefix("ERROR: ")[:400]
    return text if text.endswith((".", "!")) else f"{text}."
