"""The tutorials: every code block that needs neither a GPU nor a network runs, and its output is what the page shows.

The rules for a page of docs/tutorials:

- A block in `bash` or `python` runs, in order, in one folder. The Python blocks of a page share their names.
- A block with a file name as title, in any language, is saved under that name. It does not run by itself.
- A block whose title begins with "needs" is left out. `LEFT_OUT` counts them.
- A block in `text` is printed by the block before it. A line of three dots stands for lines left out.
- The title "measured with seed 0" marks output whose numbers may differ on another machine, "for example" output whose
  words may differ too.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from seawall import cli, prompts
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.judges.registry import JUDGES
from seawall.media.modality import MODALITIES
from seawall.models import families

FOLDER = Path(__file__).parent.parent / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("*.md"))
LEFT_OUT = {"needs a server": 2, "needs a hub": 1, "needs a GPU": 2, "needs 5 minutes": 1}
"""Title of a block -> number of blocks that no test runs."""
MEASURED, ANY = "measured with seed 0", "for example"
"""Titles of output."""
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")
SHELL = re.compile(r"[|<>&;$*`]")


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block of a page."""

    language: str
    title: str
    code: str

    @property
    def is_left_out(self) -> bool:
        return self.title.startswith("needs")

    @property
    def is_file(self) -> bool:
        return "." in self.title

    @property
    def runs(self) -> bool:
        return self.language in ("bash", "python") and not self.title


def read_blocks(page: Path) -> list[Block]:
    return [Block(*(group or "" for group in found.groups())) for found in FENCE.finditer(page.read_text("utf-8"))]


def split_commands(code: str) -> list[str]:
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


class Reader:
    """Does what a reader of a page does: saves files, runs blocks, and compares the output."""

    def __init__(
        self,
        folder: Path,
        stores: dict[tuple[str, ...], Path],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        self.folder, self.stores, self.monkeypatch, self.capfd = folder, stores, monkeypatch, capfd
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.commands: tuple[str, ...] = ()
        self.printed, self.ran = "", 0
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def follow(self, block: Block) -> None:
        if block.is_file:
            Path(block.title).write_text(block.code, encoding="utf-8")
        elif block.runs:
            self.capfd.readouterr()
            if block.language == "python":
                exec(compile(block.code, "a tutorial", "exec"), self.names)
            else:
                self.run_commands(block.code)
            self.printed = self.capfd.readouterr().out
            self.ran += 1
        elif block.language == "text" and block.title != ANY:
            normalize = mask_numbers if block.title == MEASURED else join_words
            printed = {normalize(line) for line in self.printed.splitlines()}
            lines = [line for line in block.code.splitlines() if line.strip() not in ("", "...")]
            missing = [line for line in lines if normalize(line) not in printed]
            assert not missing, f"not printed: {missing}\nprinted:\n{self.printed}"

    def run_commands(self, code: str) -> None:
        """Run commands of Seawall in this process, which saves the seconds of an import, and others in a shell."""
        commands = split_commands(code)
        if SHELL.search(code) or not all(command.startswith("seawall ") for command in commands):
            subprocess.run(["bash", "-e", "-c", code], check=True)
            return
        for command in commands:
            words = shlex.split(command, comments=True)
            self.commands += (" ".join(words),)
            if words[1] != "synthesize":
                self.run_command(words)
                continue
            out = words[words.index("--out") + 1]
            if self.commands in self.stores:  # another page has run the same commands
                shutil.copytree(self.stores[self.commands], out)
            else:
                self.run_command(words)
                self.stores[self.commands] = self.folder / out

    def run_command(self, words: list[str]) -> None:
        self.monkeypatch.setattr(sys, "argv", words)
        try:
            cli.main()
        except SystemExit as left:
            assert not left.code, f"exit code {left.code} of: {' '.join(words)}\n{self.capfd.readouterr().err}"


def join_words(line: str) -> str:
    return " ".join(line.split())


def mask_numbers(line: str) -> str:
    return join_words(NUMBER.sub("0", line))


@pytest.fixture(scope="module")
def stores():
    """Seawall's commands of a page up to a synthesis -> the embeddings that it wrote."""
    return {}


@pytest.fixture
def registries(monkeypatch):
    """Undo after the test what a page registers."""
    monkeypatch.setattr(families, "FAMILIES", list(families.FAMILIES))
    monkeypatch.setattr(prompts, "MEDIUM_WORDS", dict(prompts.MEDIUM_WORDS))
    for registry in (MODALITIES, families.MODELS, BENCHMARKS, JUDGES):
        registry.names()  # loads the plugins, which must stay
        monkeypatch.setattr(registry, "_values", dict(registry._values))
        monkeypatch.setattr(registry, "_local", set(registry._local))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_it_stands(page, tmp_path, stores, monkeypatch, capfd, registries):
    reader = Reader(tmp_path, stores, monkeypatch, capfd)
    blocks = read_blocks(page)
    for block in blocks:
        reader.follow(block)
    assert reader.ran == sum(block.runs for block in blocks) > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_tutorial_follows_the_rules(page):
    blocks = read_blocks(page)
    assert len(blocks) * 2 == len(re.findall(r"^ *```", page.read_text("utf-8"), re.M)), "a fence has another form"
    assert any(block.runs for block in blocks)
    saved = [block.title for block in blocks if block.is_file]
    code = "\n".join(block.code for block in blocks if not block.is_file)
    assert all(title in code for title in saved), "a saved file that no block uses"
    assert all(block.is_left_out or block.is_file or block.title in ("", MEASURED, ANY) for block in blocks)
    assert all(block.language for block in blocks), "a block without a language does not run"


def test_only_what_needs_more_than_this_machine_is_left_out():
    titles = [block.title for page in PAGES for block in read_blocks(page) if block.is_left_out]
    assert Counter(titles) == LEFT_OUT
