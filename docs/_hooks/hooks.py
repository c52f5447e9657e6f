"""Hooks of MkDocs: generated parts of pages, and a check that the built site loads nothing from another host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from assets import find_external_assets
from generate import PARTS
from mkdocs.exceptions import PluginError

MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each marker `<!-- generated: NAME -->` by the Markdown that the code yields."""
    return MARKER.sub(lambda found: PARTS[found[1]](), markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Let the build fail if a page or a style sheet loads anything from another host.

    Raises:
        PluginError: At least one does.
    """
    if found := find_external_assets(Path(config.site_dir)):
        raise PluginError("The site must not load anything from another host:\n" + "\n".join(found))
