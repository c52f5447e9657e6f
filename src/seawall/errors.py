"""Errors that the user can fix. The command line prints their text without a traceback and exits with code 2."""

from __future__ import annotations

import contextlib


class SeawallError(Exception):
    """Base class. The text says what was found, why it fails and what to do."""


class ConfigError(SeawallError, ValueError):
    """A setting that cannot work."""


class DataError(SeawallError, ValueError):
    """Input data that cannot be read or used."""


class ModelError(SeawallError, ValueError):
    """A model that is unknown, incomplete or of an unsupported family."""


class ArtifactError(SeawallError, ValueError):
    """An artifact folder that is missing, incomplete or belongs to another run."""


class TrainingError(SeawallError, RuntimeError):
    """A training or an optimisation that failed, for example with a NaN loss."""


class EngineError(SeawallError, RuntimeError):
    """Workers or servers that do not respond or keep failing."""


def describe_error(error: BaseException) -> str:
    """Return an error of Inspect, or of a model provider's client, as one line of plain text."""
    from rich.errors import MarkupError
    from rich.text import Text

    if hasattr(error, "last_attempt"):  # after Inspect's last retry the underlying error says more
        error = error.last_attempt.exception() or error
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    if type(error).__name__ == "PrerequisiteError":  # contains rich markup
        with contextlib.suppress(MarkupError):
            text = Text.from_markup(text).plain
    text = " ".join(text.split()).removeprefix("ERROR: ")[:400]
    return text if text.endswith((".", "!")) else f"{text}."
