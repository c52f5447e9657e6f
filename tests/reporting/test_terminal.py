"""Standard output: terminals are not controlled by what models say, and no encoding ends a command."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest
from test_tables import write_evaluation

from seawall.progress import PrintableFormatter
from seawall.reporting.run import report
from seawall.reporting.terminal import print_json, print_rows
from seawall.store.files import read_json, write_json

HOSTILE = "06-<script>alert(1)</script>\x1b]0;owned\x07\x1b[31mFraüd"


@pytest.fixture
def run(tmp_path):
    """An evaluation with a scenario whose name would control the page and the terminal."""
    folder = write_evaluation(tmp_path / "run")
    results = read_json(folder / "results.json")
    for scores in results["judges"].values():
        scores["by_scenario"] = {HOSTILE: scores["micro"]}
    write_json(folder / "results.json", results)
    return folder


def test_a_page_and_a_screen_show_hostile_names_as_text(run, capsys):
    (page,) = report([run])
    html, shown = page.read_text(encoding="utf-8"), capsys.readouterr().out
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;Fraüd" in html
    assert "\x1b" not in shown and "\x07" not in shown and "owned" not in shown and "Fraüd" in shown
    assert "\x1b" not in html and "\x07" not in html


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_output_that_is_not_utf_8_ends_no_command(run, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.argv = ['seawall', 'report', {str(run)!r}]; from seawall.cli import main; main()",
        ],
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert ("Fra\\xfcd" if encoding == "ascii" else "Fraüd") in done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_can_be_read_back_in_every_encoding(monkeypatch, encoding):
    value = {"said": "ü 風箏 🪁 \x9b31m\u202e\x1b[31m"}
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_json(value)
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert json.loads(text) == value
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)


def test_rows_do_not_control_the_terminal(capsys):
    print_rows([{"name": "\x1b[2Jkite"}])
    assert capsys.readouterr().out.split() == ["name", "kite"]


def test_the_log_controls_nothing_and_shows_no_secret(monkeypatch):
    monkeypatch.setenv("KITES_API_KEY", "kite-0123456789")
    record = logging.LogRecord("seawall", logging.INFO, "", 0, "%s", ("\x1b[31mkite-0123456789 failed",), None)
    assert PrintableFormatter("%(message)s").format(record) == "[hidden] failed"
