"""What a source is: its place, and settings of its own."""

from __future__ import annotations

import codecs
import dataclasses
from pathlib import Path
from typing import Any, Literal

from seawall.errors import ConfigError

Kind = Literal["harmful", "harmless"]
Turns = Literal["last", "single"]
SEPARATOR = "::"
"""Stands between the place of a source and its settings on the command line."""
_SETTINGS = ("kind", "preset", "subset", "split", "encoding", "header")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Column names of a source that matches no preset."""

    instruction: str = "instruction"
    """Column of the request."""
    response: str = "response"
    """Column of the safe response; for harmless requests, the helpful one. If no row has the default column
    `response`, the source is a list of requests: harmful ones get a refusal, harmless ones need `answers`."""
    rejected: str = "rejected"
    """Column of an unsafe response. It may be missing."""
    kind: str = "kind"
    """Column that says `harmful` or `harmless`. It may be missing. Presets read it too."""
    id: str = "id"
    """Column of a unique id. It may be missing."""

    __pydantic_config__ = {"extra": "forbid"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A source of text safety data, with settings of its own. None takes the setting of `PrepareConfig`."""

    path: str
    """File, folder, or id of a dataset on the Hugging Face Hub."""
    kind: Kind | None = None
    """Kind of its requests."""
    preset: str | None = None
    """Its format."""
    columns: Columns | None = None
    """Its column names."""
    subset: str | None = None
    """Its configuration or subfolder."""
    split: str | None = None
    """Its split."""
    encoding: str | None = None
    """Encoding of its text files."""
    header: bool | None = None
    """Whether the first row of its CSV files has the column names."""

    __pydantic_config__ = {"extra": "forbid"}

    def __str__(self) -> str:
        return self.path

    @classmethod
    def parse(cls, text: str | Path | Source) -> Source:
        """Return a source.

        Args:
            text: Path or id of a dataset, which may be followed by settings, as in
                `requests.csv::kind=harmful,columns.instruction=goal`. A file of exactly that name comes first.

        Raises:
            ConfigError: A setting is unknown.
        """
        if isinstance(text, Source):
            return text
        path, separator, settings = str(text).rpartition(SEPARATOR)
        if not separator or "=" not in settings or Path(text).exists():
            return cls(path=str(text))
        given: dict[str, Any] = {}
        names: dict[str, str] = {}
        for setting in settings.split(","):
            key, _, value = (part.strip() for part in setting.partition("="))
            inner = key.removeprefix("columns.")
            if key in _SETTINGS and value:
                given[key] = _read_flag(text, value) if key == "header" else value
            elif inner != key and value and inner in Columns.__dataclass_fields__:
                names[inner] = value
            else:
                known = ", ".join((*_SETTINGS, *(f"columns.{name}" for name in Columns.__dataclass_fields__)))
                raise ConfigError(
                    f"The source {text} has the setting {setting!r}. It must be KEY=VALUE with one of the keys {known}."
                )
        return cls(path=path, columns=Columns(**names) if names else None, **given)

    def find_faults(self, presets: Any) -> list[str]:
        """Return a sentence for each setting with a wrong value.

        Args:
            presets: Names of the presets.
        """
        faults = []
        if self.kind not in (None, "harmful", "harmless"):
            faults.append(f"kind is {self.kind!r}; it must be one of harmful, harmless")
        if self.preset is not None and self.preset not in ("auto", *presets):
            faults.append(f"preset is {self.preset!r}; it must be one of auto, {', '.join(presets)}")
        if self.encoding is not None and not is_encoding(self.encoding):
            faults.append(f"encoding is {self.encoding!r}; it must be a name such as utf-8, cp1252 or shift_jis")
        return faults


def is_encoding(name: str) -> bool:
    """Return whether Python knows an encoding of text."""
    try:
        codecs.lookup(name)
        "".encode(name)
    except (LookupError, UnicodeError):
        return False
    return True


def _read_flag(source: Any, value: str) -> bool:
    flags = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in flags:
        raise ConfigError(f"The source {source} has header={value}. It must be true or false.")
    return flags[value.lower()]
