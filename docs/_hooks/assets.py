"""Finds what a built site would load from another host."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("poster", "src"),
}
"""Tag -> attributes whose address the browser loads by itself. Links that the reader clicks are allowed."""
HINTS = ("canonical", "alternate", "author", "license", "next", "prev", "edit")
"""Relations of `<link>` that load nothing."""
ELSEWHERE = re.compile(r"^\s*(https?:)?//", re.I)
IN_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])\s*((?:https?:)?//[^"')\s]+)""", re.I)


class _Finder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.found += IN_CSS.findall(given.get("style", ""))
        if "mermaid" in given.get("class", "").split():  # the theme loads Mermaid from a CDN
            self.found.append("a Mermaid diagram")
        if tag == "link" and set(given.get("rel", "").split()) & set(HINTS):
            return
        for name in LOADED.get(tag, ()):
            parts = given.get(name, "").split(",") if name == "srcset" else [given.get(name, "")]
            self.found += [part.strip() for part in parts if ELSEWHERE.match(part)]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += IN_CSS.findall(data)


def find_in_html(text: str) -> list[str]:
    """Return what a page loads from another host."""
    finder = _Finder()
    finder.feed(text)
    return finder.found


def find_in_css(text: str) -> list[str]:
    """Return what a style sheet loads from another host."""
    return IN_CSS.findall(text)


def find_external_assets(site: Path) -> list[str]:
    """Return "file: address" for everything that a built site loads from another host."""
    found = []
    for path in sorted(site.rglob("*")):
        finder = {".html": find_in_html, ".css": find_in_css, ".svg": find_in_html}.get(path.suffix)
        if finder:
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(site)}: {address}" for address in finder(text)]
    return found
