"""The front door: the README is short and true, its example and commands run, its figures are the committed ones."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

import seawall

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = {"README.md": README, "CHANGELOG.md": CHANGELOG}


@pytest.fixture
def figures(monkeypatch):
    """The script that draws the picture and the table."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import figures

    return figures


def get_prose(text: str) -> list[str]:
    """Return the lines of a page without code, tables, pictures and comments."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->|!\[.*?\]\(.*?\)", "", text, flags=re.DOTALL | re.MULTILINE)
    return [line for line in text.splitlines() if not line.lstrip().startswith("|")]


def get_words(text: str) -> list[str]:
    """Return the words of prose. The address of a link is none."""
    return [word for word in re.sub(r"\]\(.*?\)", "]", text).split() if re.search(r"\w", word)]


def get_blocks(language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def list_commands() -> list[list[str]]:
    """Return the arguments of each `seawall` command of the README."""
    lines = "".join(get_blocks("")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("seawall ")]


def measure_luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_readme_has_at_most_700_words():
    assert len(get_words("\n".join(get_prose(README)))) <= 700


@pytest.mark.parametrize("name", PAGES)
def test_lines_and_sentences_are_short(name):
    lines = get_prose(PAGES[name])
    assert [line for line in lines if len(line) > 100] == []
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*- |#)", "\n".join(lines))
    sentences = [part for one in paragraphs for part in re.split(r"(?<=[.!?:])\s+", " ".join(one.split()))]
    assert [sentence for sentence in sentences if len(get_words(sentence)) > 40] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_file_leads_to_one(name):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[name]) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


@pytest.mark.slow
def test_the_ten_lines_run_unchanged_in_under_a_minute(tmp_path):
    (code,) = get_blocks("python")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The time on one core, which other tests on the machine do not change.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    assert "'vsr': 1.0" in done.stdout
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("arguments", list_commands(), ids=lambda arguments: " ".join(arguments[:2]))
def test_the_command_line_takes_every_command(arguments):
    from seawall.cli import app

    command, *_ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert command.__module__.startswith("seawall."), f"{arguments} is no command of Seawall"


def test_every_stage_is_among_the_commands():
    shown = {arguments[0] for arguments in list_commands()}
    assert {"init", "run", "prepare", "synthesize", "align", "evaluate", "report"} <= shown


def test_table_and_picture_are_those_of_the_committed_figures(figures):
    data = json.loads((ROOT / figures.DATA).read_text(encoding="utf-8"))
    assert figures.make_table(data) in README
    assert (ROOT / figures.PLANE).read_text(encoding="utf-8") == figures.draw_plane(data)
    assert f"]({figures.PLANE})" in README


def test_the_table_names_n_seeds_command_and_commit(figures):
    table = figures.make_table(json.loads((ROOT / figures.DATA).read_text(encoding="utf-8")))
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert [row.split("`")[1] for row in rows[2:]] == ["base", "sea_paper", "seawall", "real_media"]
    assert rows[0].count("n = ") == 3 and "seeds" in table and "`seawall demo" in table and "commit" in table


def test_the_picture_can_be_read_on_light_and_dark_pages(figures):
    text = (ROOT / figures.PLANE).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "desc", "line", "circle", "text"}  # no background, nothing from elsewhere
    used = {value for element in root.iter() for key, value in element.attrib.items() if key in ("fill", "stroke")}
    assert used == set(figures.COLOURS)
    for colour in used:
        for page in ("#ffffff", "#0d1117", "#1e2129"):  # GitHub, light and dark, and the dark site
            low, high = sorted(measure_luminance(each) for each in (colour, page))
            assert (high + 0.05) / (low + 0.05) >= 3.9
    drawn = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {name for name, _ in figures.ARMS.values()} <= drawn


def test_figures_of_a_finished_demo_replace_the_committed_ones(figures, tmp_path, monkeypatch, capsys):
    metric = {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 1200}
    arms = {arm: dict.fromkeys((*figures.METRICS, "asr_text"), metric) for arm in figures.ARMS}
    results = {"organism": "video", "method": "dpo", "seeds": [0, 1, 2], "arms": arms}
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "README.md").write_text("before\n" + "old\n".join(figures.MARKS) + "\nafter\n")
    command = ["figures.py", "--root", str(tmp_path), "--commit", "abc1234"]
    monkeypatch.setattr(sys, "argv", [*command, "--results", str(tmp_path / "results.json")])
    figures.main()
    table = capsys.readouterr().out
    assert "`seawall demo --modality video --method dpo --seeds 3`, 3 seeds" in table and "abc1234" in table
    assert table.count("0.50 [0.25, 0.75]") == 12 and table.count("n = 1,200") == 3
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("\nafter\n") and "old" not in readme
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(sys, "argv", command)
    figures.main()  # redraws the same
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"missing.json cannot be read \(No such file"),
        ("{", "is not JSON"),
        ('{"seeds": [0], "arms": {"base": {}}}', "lacks 'asr_media_trained'.* ran every arm"),
    ],
)
def test_results_without_figures_are_refused(figures, tmp_path, content, message):
    path = tmp_path / "missing.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match=message):
        figures.take_figures(path, "abc1234")


def test_a_readme_without_the_marks_is_refused(figures, tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(SystemExit, match="lacks the marks"):
        figures.update_readme(tmp_path / "README.md", "table")


def test_the_changelog_describes_this_version():
    versions = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d{2}-\d{2})?$", CHANGELOG, flags=re.MULTILINE)
    assert versions[0] == "Unreleased" and versions[1] == seawall.__version__ and versions[-1] == "0.1.0"
    assert len(versions) == len(re.findall(r"^## ", CHANGELOG, flags=re.MULTILINE))
    kinds = set(re.findall(r"^### (.+)$", CHANGELOG, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "type", "license"} <= set(citation)
    assert citation["version"] == seawall.__version__
    (paper,) = citation["references"]
    assert paper["year"] == 2025 and "2502.12562" in json.dumps(paper) and paper["authors"][0]["family-names"] == "Lu"


def test_the_package_describes_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"authors", "keywords", "classifiers", "urls"} <= set(project) and project["dynamic"] == ["version"]
