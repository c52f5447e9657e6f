"""The parts of the evaluation page below its tables: a chart of all scores, and the items that changed sides."""

from __future__ import annotations

import base64
import html
import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.media.modality import find_modality
from seawall.media.pixels import load_image

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

    from seawall.evaluation.statistics.changes import Change

Key = tuple[str, str, str, int]
SHOWN = 40
"""Items of a kind that the page shows. The others are counted."""
EDGE = 240
"""Longest edge of an image on the page in pixels."""
MAX_BYTES = 2_000_000
"""A video or sound whose data are larger is named, not shown."""
MAX_TEXT = 1_500
"""Characters of a question or answer on the page."""
ATTACHMENT = "attachment://"
DATA = re.compile(r"data:((?:image|video|audio)/[\w.+-]+);base64,([A-Za-z0-9+/=\s]*)")


def make_sections(judges: Sequence[str], figures: Mapping[str, str], changes: Mapping[str, str]) -> str:
    """Return the HTML below the tables.

    Args:
        judges: Names of the judges.
        figures: Judge -> figure of its scores, as SVG.
        changes: Judge -> HTML of the items that changed sides, from `show_changes`.
    """
    parts = []
    for judge in judges:
        parts.append(f"<h2>judge {html.escape(judge)}</h2>")
        parts += [part for found in (figures, changes) if (part := found.get(judge))]
    return "\n".join(parts)


def show_changes(changes: Sequence[Change], media: Mapping[Key, Sequence[tuple[str, str]]]) -> str:
    """Return the items that changed sides as HTML: question, medium and both answers, folded.

    Args:
        changes: The items, from `list_changes`.
        media: Key of an answer -> modality and reference of what was shown, from `find_media`.
    """
    if not changes:
        return "<p>No item changed sides.</p>"
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.kind, []).append(change)
    parts = ["<p>The items below contain the questions, media and answers of the benchmark, also harmful ones.</p>"]
    for kind, found in groups.items():
        more = f" ({len(found) - SHOWN} more are not shown)" if len(found) > SHOWN else ""
        parts.append(f"<details><summary>{len(found)} {html.escape(kind)}{more}</summary>")
        parts += [_show_change(change, media.get(change.after.key, ())) for change in found[:SHOWN]]
        parts.append("</details>")
    return "\n".join(parts)


def find_media(logs: Sequence[EvalLog]) -> dict[Key, list[tuple[str, str]]]:
    """Return the media of each question in logs: modality and reference, a data URI or the path of a file."""
    media: dict[Key, list[tuple[str, str]]] = {}
    for log in logs:
        for sample in log.samples or ():
            messages = [] if isinstance(sample.input, str) else sample.input
            parts = [part for m in messages if not isinstance(m.content, str) for part in m.content]
            shown = [part for part in parts if part.type in ("image", "video", "audio")]
            found = [(str(part.type), _resolve(str(getattr(part, part.type)), sample)) for part in shown]
            key = (log.eval.task, str((sample.metadata or {}).get("prompt_type", "all")), str(sample.id), sample.epoch)
            media[key] = found
    return media


def _resolve(reference: str, sample: EvalSample) -> str:
    """Return a reference with its content. Inspect keeps large contents beside the sample's messages."""
    return sample.attachments.get(reference.removeprefix(ATTACHMENT), reference)


def _show_change(change: Change, media: Sequence[tuple[str, str]]) -> str:
    item = change.after
    shown = "".join(_show_medium(*medium) for medium in media) or "<em>no medium</em>"
    rows = {"question": item.question, "before": change.before.text, "after": item.text}
    cells = "".join(f"<tr><th>{name}</th><td>{_shorten(text)}</td></tr>" for name, text in rows.items())
    title = " · ".join(map(html.escape, (item.id, item.scenario, item.prompt_type)))
    return f'<div class="item"><h4>{title}</h4><div class="medium">{shown}</div><table>{cells}</table></div>'


def _show_medium(modality: str, reference: str) -> str:
    """Return a medium as HTML: an image scaled down, a short video or sound as a player, else its name."""
    found = DATA.fullmatch(reference)
    if not found and Path(reference).suffix.lower() not in find_modality(modality).endings:
        return f"<em>the {html.escape(modality)} is not in the log</em>"
    try:
        content = base64.b64decode(found[2]) if found else Path(reference).read_bytes()
        if modality == "image":
            return f'<img alt="the image" src="{_scale(content)}">'
    except (OSError, ValueError) as error:
        return f"<em>the {html.escape(modality)} cannot be shown: {html.escape(str(error))[:200]}</em>"
    if len(content) > MAX_BYTES:
        return f"<em>{html.escape(modality)} of {len(content) / 1e6:.1f} MB</em>"
    kind = found[1] if found else f"{modality}/{Path(reference).suffix.lstrip('.').lower() or 'mp4'}"
    data = base64.b64encode(content).decode()
    return f'<{modality} controls preload="none" src="data:{html.escape(kind)};base64,{data}"></{modality}>'


def _scale(content: bytes) -> str:
    """Return an image as a data URI of at most `EDGE` pixels."""
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(content)
        copy.flush()
        small = load_image(Path(copy.name))
    small.thumbnail((EDGE, EDGE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _shorten(text: Any) -> str:
    text = str(text or "")
    return html.escape(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} …")


STYLE = """<style>
body { font-family: sans-serif; margin: 1em; }
summary { cursor: pointer; margin: .4em 0; }
.item { border-top: 1px solid #ccc; padding: .4em 0 .4em 1em; display: flex; flex-wrap: wrap; gap: 1em; }
.item h4 { width: 100%; margin: .2em 0; font-weight: normal; color: #555; }
.item th { text-align: left; vertical-align: top; padding-right: 1em; font-weight: normal; color: #555; }
.item td { white-space: pre-wrap; max-width: 50em; }
.medium > * { max-width: 240px; }
</style>"""
