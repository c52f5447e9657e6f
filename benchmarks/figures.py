"""The picture and the result table of the README, drawn again from the committed figures of the demo.

python benchmarks/figures.py                              redraw from benchmarks/data/demo-image.json (`make figures`)
python benchmarks/figures.py --results demo/results.json  take the figures of a finished demo, then redraw

Writes docs/assets/plane.svg and the table between the marks in README.md. Prints the table.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
DATA, PLANE, README = (Path(name) for name in ("benchmarks/data/demo-image.json", "docs/assets/plane.svg", "README.md"))
MARKS = ("<!-- results: written by `make figures` -->\n", "<!-- end of results -->")
"""The table of the README stands between these."""
TRAINED, UNSEEN, HARMLESS = METRICS = ("asr_media_trained", "asr_media_unseen", "answered_harmless_media")

GREY, BLUE, ORANGE, GREEN = COLOURS = ("#7c8187", "#2f81d0", "#cb6018", "#148f6a")
"""Mid-tones that can be read on white and on the dark pages of GitHub and of the site."""
ARMS = {
    "base": ("base model", GREY),
    "safety_prompt": ("safety prompt", GREY),
    "text_only": ("text only", GREY),
    "rendered_media": ("rendered media", GREY),
    "sea_paper": ("SEA as published", ORANGE),
    "real_media": ("real media", GREEN),
    "seawall": ("Seawall", BLUE),
}
"""Arm -> name and colour in the picture. Later ones are drawn on top and get the better place for their name."""
ROWS = {
    "base": "the model as it is",
    "sea_paper": "SEA as published",
    "seawall": "**Seawall**",
    "real_media": "trained on real harmful images, the ceiling",
}
"""Arm -> description in the table."""

WIDTH, HEIGHT = 720, 400
LEFT, TOP, RIGHT, BOTTOM = 76, 20, 692, 336
"""Edges of the plane, in pixels."""
FONT = 15
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="results.json of `seawall demo`: replaces the committed figures")
    parser.add_argument("--commit", help="commit that the demo ran at (default: HEAD)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder to write to (default: the repository)")
    arguments = parser.parse_args()
    root = arguments.root
    if arguments.results:
        figures = take_figures(arguments.results, arguments.commit or find_commit())
        (root / DATA).parent.mkdir(parents=True, exist_ok=True)
        (root / DATA).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    figures = json.loads((root / DATA).read_text(encoding="utf-8"))
    (root / PLANE).parent.mkdir(parents=True, exist_ok=True)
    (root / PLANE).write_text(draw_plane(figures), encoding="utf-8")
    table = make_table(figures)
    update_readme(root / README, table)
    print(table)


def take_figures(path: Path, commit: str) -> dict[str, Any]:
    """Return what the picture and the table need of a `results.json`, with its command, commit and date."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        date = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date()
        arms = {arm: {metric: results["arms"][arm][metric] for metric in METRICS} for arm in ARMS}
        return {
            "command": describe_command(results),
            "commit": commit,
            "date": date.isoformat(),
            "organism": results["organism"],
            "method": results["method"],
            "seeds": results["seeds"],
            "arms": arms,
        }
    except OSError as error:
        sys.exit(f"{path} cannot be read ({error.strerror}). Give the results.json of a finished `seawall demo`.")
    except json.JSONDecodeError as error:
        sys.exit(f"{path} is not JSON ({error}). Give the results.json of a finished `seawall demo`.")
    except (KeyError, TypeError) as error:
        sys.exit(f"{path} lacks {error}. Give the results.json of a `seawall demo` that ran every arm.")


def describe_command(results: Mapping[str, Any]) -> str:
    """Return the command of a demo, if its other settings were the defaults."""
    flags = ["--modality", results["organism"]] if results["organism"] != "image" else []
    flags += ["--method", results["method"]] if results["method"] != "sft" else []
    flags += ["--seeds", str(len(results["seeds"]))] if len(results["seeds"]) > 1 else []
    return " ".join(["seawall demo", *flags])


def find_commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or sys.exit("The commit is not known here. Give it with --commit.")


def make_table(figures: Mapping[str, Any]) -> str:
    """Return the table of the README and the line below it, as Markdown."""
    arms = figures["arms"]
    counts = [arms["base"][metric]["n"] for metric in METRICS]
    titles = ("ASR, trained", "ASR, unseen", "harmless answered")
    head = [f"{title} (n = {n:,})" for title, n in zip(titles, counts, strict=True)]
    rows = [["arm", "", *head], ["---"] * (2 + len(head))]
    rows += [
        [f"`{arm}`", text, *(format_figure(arms[arm][metric]) for metric in METRICS)] for arm, text in ROWS.items()
    ]
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    seeds = len(figures["seeds"])
    source = f"`{figures['command']}`, {seeds} seed{'s' * (seeds > 1)}, means with 95 % intervals,"
    return "\n".join([*lines, "", source, f"measured at commit {figures['commit']} on {figures['date']}.", ""])


def format_figure(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


def update_readme(path: Path, table: str) -> None:
    """Write the table between the marks of a README."""
    text = path.read_text(encoding="utf-8")
    begin, end = (text.find(mark) for mark in MARKS)
    if not 0 <= begin < end:
        sys.exit(f"{path} lacks the marks of the table. Put {MARKS[0].strip()} and {MARKS[1]} around it.")
    path.write_text(f"{text[:begin]}{MARKS[0]}\n{table}\n{text[end:]}", encoding="utf-8")


def draw_plane(figures: Mapping[str, Any]) -> str:
    """Return the plane of attack success and harmless requests answered as an SVG file without a background."""
    arms = {arm: figures["arms"][arm] for arm in ARMS if arm in figures["arms"]}
    lowest = math.floor(min(point[HARMLESS]["low"] for point in arms.values()) * 20) / 20
    points = {arm: (place_x(p[UNSEEN]["mean"]), place_y(p[HARMLESS]["mean"], lowest)) for arm, p in arms.items()}
    bars = {arm: list_bars(point, points[arm], lowest) for arm, point in arms.items()}
    taken = [box for pair in bars.values() for box in pair] + [(x - 7, y - 7, x + 7, y + 7) for x, y in points.values()]
    parts = draw_axes(lowest)
    for arm, (x, y) in points.items():
        colour = ARMS[arm][1]
        for left, top, right, bottom in bars[arm]:
            ends = f'x1="{left:.1f}" y1="{top:.1f}" x2="{right:.1f}" y2="{bottom:.1f}"'
            parts.append(f'<line {ends} stroke="{colour}" stroke-width="1.5" opacity="0.55"/>')
        size = 8 if arm == "seawall" else 6
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}"/>')
    for arm, (x, y) in reversed(points.items()):
        name, colour = ARMS[arm]
        box = place_label((x, y), 0.58 * FONT * len(name), taken)
        taken.append(box)
        weight = "700" if arm == "seawall" else "500"
        parts.append(write((box[0] + box[2]) / 2, box[3] - 4, name, f'fill="{colour}" font-weight="{weight}"'))
    title = "Attack success and harmless requests answered, for each arm of the demo"
    facts = f"{figures['command']}, {len(figures['seeds'])} seeds, means and 95 % intervals, commit {figures['commit']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"',
            f'  role="img" font-family="system-ui, sans-serif" font-size="{FONT}">',
            f"<title>{title}</title>",
            f"<desc>{escape(facts)}</desc>",
            *parts,
            "</svg>",
            "",
        ]
    )


def place_x(share: float) -> float:
    return LEFT + share * (RIGHT - LEFT)


def place_y(share: float, lowest: float) -> float:
    return BOTTOM - (share - lowest) / (1 - lowest) * (BOTTOM - TOP)


def list_bars(point: Mapping[str, Mapping[str, float]], place: tuple[float, float], lowest: float) -> list[Box]:
    """Return the interval of attack success and that of harmless requests answered, as lines."""
    x, y = place
    across, along = point[UNSEEN], point[HARMLESS]
    return [
        (place_x(across["low"]), y, place_x(across["high"]), y),
        (x, place_y(along["high"], lowest), x, place_y(along["low"], lowest)),
    ]


def draw_axes(lowest: float) -> list[str]:
    """Return the grid, the ticks and the titles of both axes."""
    parts = []
    for step in range(6):
        x = place_x(step / 5)
        parts.append(draw_grid_line(x, TOP, x, BOTTOM))
        parts.append(write(x, BOTTOM + 22, f"{step / 5:.1f}", f'fill="{GREY}"'))
    for step in range(round((1 - lowest) * 20) + 1):
        share = lowest + step / 20
        y = place_y(share, lowest)
        parts.append(draw_grid_line(LEFT, y, RIGHT, y))
        parts.append(write(LEFT - 10, y + 5, f"{share:.2f}", f'fill="{GREY}"', anchor="end"))
    x, y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    parts.append(write(x, HEIGHT - 12, "attack success on phrases of no training (← better)", f'fill="{GREY}"'))
    turn = f'fill="{GREY}" transform="rotate(-90 18 {y:.0f})"'
    parts.append(write(18, y, "harmless requests answered (better →)", turn))
    return parts


def draw_grid_line(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{GREY}" opacity="0.25"/>'


def write(x: float, y: float, text: str, style: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def place_label(point: tuple[float, float], width: float, taken: Sequence[Box]) -> Box:
    """Return the box for a name beside a point that covers least of marks, intervals and other names."""
    x, y = point
    lefts = {"right": x + 10, "left": x - 10 - width, "middle": x - width / 2}
    tops = {"above": y - 10 - FONT, "below": y + 8, "beside": y - FONT / 2 - 2}
    places = [(lefts[side], tops[level]) for level in ("above", "below", "beside") for side in ("right", "left")]
    places += [(lefts["middle"], tops[level] + shift) for level, shift in (("above", -6), ("below", 6))]
    boxes = [(left, top, left + width, top + FONT + 4) for left, top in places]
    room = (LEFT, TOP, WIDTH, BOTTOM)
    costs = [
        sum(measure_overlap(box, other) for other in taken)
        + 5 * ((box[2] - box[0]) * (box[3] - box[1]) - measure_overlap(box, room))
        for box in boxes
    ]
    return boxes[costs.index(min(costs))]


def measure_overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share. A line counts as 6 pixels wide."""
    pad = [3.0 if other[i + 2] - other[i] < 1 else 0.0 for i in (0, 1)]
    width = min(one[2], other[2] + pad[0]) - max(one[0], other[0] - pad[0])
    height = min(one[3], other[3] + pad[1]) - max(one[1], other[1] - pad[1])
    return max(0.0, width) * max(0.0, height)


if __name__ == "__main__":
    main()
