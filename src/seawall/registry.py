"""Registries that other packages can extend: models, modalities, benchmarks, judges and report pages.

A package adds its own names through the entry-point group `seawall.plugins`. Each entry point names a module, and
importing that module calls `register_model`, `register_modality`, `register_benchmark` or `register_judge`. Seawall's own
built-in models, their benchmark and their judge are registered in the same way.
"""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Generic, TypeVar

from seawall.errors import SeawallError

log = logging.getLogger(__name__)

GROUP = "seawall.plugins"
T = TypeVar("T")


class Registry(Generic[T]):
    """Values by name. Plugins are loaded before the first lookup that needs them.

    Args:
        kind: What the values are, for error messages, such as "benchmark".
        error: Type of the error for an unknown name.
        advice: Last sentence of that error: how to add a name.
    """

    def __init__(self, kind: str, error: type[SeawallError], advice: str = "") -> None:
        self.kind, self.error, self.advice = kind, error, advice
        self._values: dict[str, T] = {}
        self._local: set[str] = set()

    def register(self, name: str, value: T) -> None:
        """Add a value, or replace the one of the same name, in this process."""
        self._values[name] = value
        if _plugins.loading:
            self._local.discard(name)
        else:
            self._local.add(name)

    def find(self, name: str) -> T:
        """Return the value of a name.

        Raises:
            SeawallError: Unknown name; its type is the registry's `error`.
        """
        if name not in self:
            known = ", ".join(self._values) or "none"
            raise self.error(f"There is no {self.kind} {name!r}. Known: {known}. {self.advice}".rstrip())
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._values:
            _plugins.load()
        return name in self._values

    def names(self) -> list[str]:
        """Return every name, in the order of registration."""
        _plugins.load()
        return list(self._values)

    def is_local(self, name: str) -> bool:
        """Return whether only this process knows the name, because no installed package registers it."""
        return name in self._local


class _Plugins:
    """The entry points of the group, loaded once in a process."""

    def __init__(self) -> None:
        self.loaded = self.loading = False

    def load(self) -> None:
        if self.loaded or self.loading:
            return
        self.loading = True
        try:
            for entry in importlib.metadata.entry_points(group=GROUP):
                try:
                    entry.load()
                except Exception as error:  # a broken plugin must not stop work that does not need it
                    package = entry.dist.name if entry.dist else "an unknown package"
                    log.warning("the plugin %r of %s cannot be loaded: %s", entry.name, package, error)
        finally:
            self.loaded, self.loading = True, False


_plugins = _Plugins()
