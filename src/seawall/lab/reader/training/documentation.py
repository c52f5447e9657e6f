"""Text that no one needs to download: the documentation of Python's standard library."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
import warnings

HELD_OUT = (
    "argparse",
    "datetime",
    "decimal",
    "difflib",
    "heapq",
    "json",
    "logging",
    "random",
    "statistics",
    "threading",
)
"""Modules whose documentation is only measured on."""
SKIPPED = ("antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo")
"""Modules that open a window or print when they are imported."""


def read_documentation(*, held_out: bool) -> str:
    """Return the documentation of the modules and their functions and classes, in alphabetical order.

    Args:
        held_out: Of the modules `HELD_OUT`, or of all others.
    """
    public = sorted(n for n in sys.stdlib_module_names if not n.startswith("_") and n not in (*SKIPPED, *HELD_OUT))
    texts: dict[str, None] = {}
    for name in HELD_OUT if held_out else public:
        if not _is_pythons_own(name):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                module = importlib.import_module(name)
        except ImportError:  # modules of other operating systems
            continue
        members = [
            value for _, value in inspect.getmembers(module) if inspect.isroutine(value) or inspect.isclass(value)
        ]
        for thing in (module, *members):
            text = inspect.getdoc(thing)
            if text and len(text) > 200:
                texts[text] = None
    return "\n\n".join(texts)


def _is_pythons_own(name: str) -> bool:
    """Return whether a module comes with Python. A file of the same name in the working folder must not be run."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    origin = (spec and spec.origin) or ""
    return origin in ("built-in", "frozen") or origin.startswith(sysconfig.get_path("stdlib"))
