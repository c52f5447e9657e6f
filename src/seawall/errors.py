"""Errors that the user can fix. The command line prints their text without a traceback and exits with code 2."""

from __future__ import annotations

import contextlib
import os
import re


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
    text = " ".join(make_printable(text).split()).removeprefix("ERROR: ")[:400]
    return text if text.endswith((".", "!")) else f"{text}."


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|\Z)|[ -/]*[0-~])", re.DOTALL)
"""Escape sequences: colours and cursor movements, titles and clipboards, character sets."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and line feed, and marks that change the direction of writing."""
_SECRETS = re.compile(
    r"\b(?:sk|hf|gsk|xai|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=bearer )\S{8,}",
    re.IGNORECASE,
)
"""API keys in the forms of common providers, and passwords in addresses."""
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Ends of the names of environment variables that hold a secret."""
HIDDEN = "[hidden]"


def strip_controls(text: str) -> str:
    """Return a text without what would control a terminal: escape sequences, and control characters but tab and line feed."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def make_printable(text: str) -> str:
    """Return a text as it may be shown and logged: without control characters, and with `HIDDEN` in place of secrets.

    Secrets are the values of environment variables such as OPENAI_API_KEY and HF_TOKEN, and what looks like an API key.
    """
    for name, value in os.environ.items():
        if name.endswith(_SECRET_NAMES) and len(value) >= 8:
            text = text.replace(value, HIDDEN)
    return strip_controls(_SECRETS.sub(HIDDEN, text))
