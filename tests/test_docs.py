"""The pages for users: plain text, links that resolve, commands that parse, and nothing from another host."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import seawall
from seawall.cli import app
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.judges.registry import JUDGES
from seawall.models.families import FAMILIES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_hooks"))

import assets  # noqa: E402
import generate  # noqa: E402

PAGES = sorted(DOCS.rglob("*.md"))
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
MARKDOWN = [*PAGES, *FRONT]
LONGEST_LINE, LONGEST_SENTENCE = 100, 40
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)(```+|~~~+)(\S*)[^\n]*\n(.*?)^\1\2 *$", re.M | re.S)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_prose(path: Path) -> list[str]:
    """Return the lines of a page. Those of code, tables, images, HTML and the front matter are empty."""
    text = re.sub(r"\A---\n.*?\n---\n", lambda found: "\n" * found[0].count("\n"), path.read_text("utf-8"), flags=re.S)
    for pattern in (FENCE, re.compile(r"<!--.*?-->", re.S), re.compile(r"^:::.*\n(    .*\n)*", re.M)):
        text = pattern.sub(lambda found: "\n" * found[0].count("\n"), text)
    return ["" if line.lstrip().startswith(("|", "![", "<")) else line for line in text.splitlines()]


def list_sentences(lines: list[str]) -> Iterator[str]:
    """Yield the sentences of paragraphs, list items and headings. A code span or a link target is one word."""
    blocks, block = [], ""
    for line in [*lines, ""]:
        starts = re.match(r"\s*([-*+]|\d+\.|#+|>|!!!|\?\?\?)\s", line)
        if starts or not line.strip():
            blocks.append(block)
            block = ""
        block = f"{block} {line.strip()}"
    for text in blocks:
        text = re.sub(r"`[^`]*`", "code", text)
        text = re.sub(r"\]\([^)]*\)", "]", text)
        yield from re.split(r"(?<=[.!?])[)*_\"]*\s+", text.strip())


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_a_line_of_prose_has_at_most_100_characters(path):
    lines = enumerate(read_prose(path), 1)
    long = [number for number, line in lines if len(line) > LONGEST_LINE and " " in line.strip(" -*")]
    assert not long, f"{name(path)}: wrap lines {long}"


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_a_sentence_has_at_most_40_words(path):
    long = [one for one in list_sentences(read_prose(path)) if len(one.split()) > LONGEST_SENTENCE]
    assert not long, long


def list_anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as MkDocs makes them."""
    heads = re.findall(r"^#+ +(.*?)(?:\s*\{.*\})?$", FENCE.sub("", path.read_text("utf-8")), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head.replace("`", "")).strip().lower()) for head in heads}


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_every_relative_link_resolves(path):
    broken = []
    for found in LINK.finditer(FENCE.sub("", path.read_text("utf-8"))):
        target, _, anchor = (found[1] or found[2]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        generated = file.suffix == ".md" and re.search(r"^(:::|<!-- generated)", file.read_text("utf-8"), re.M)
        if not file.exists() or (anchor and not generated and anchor not in list_anchors(file)):
            broken.append(found[0])
    assert not broken


def list_nav(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from list_nav(one)


def test_every_page_is_in_the_navigation_once():
    listed = list(list_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    assert sorted(listed) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def test_every_public_name_is_in_the_reference():
    text = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference" / "api").glob("*.md"))
    documented = set(re.findall(r"^::: seawall\.(\w+)$", text, re.M))
    missing = [public for public in seawall.__all__ if public not in documented]
    assert not missing, f"add `::: seawall.{missing[0]}` to a page of docs/reference/api"


@pytest.mark.parametrize(
    ("page", "names"),
    [("benchmarks.md", BENCHMARKS.names()), ("judges.md", JUDGES.names())],
    ids=["benchmarks", "judges"],
)
def test_the_how_to_has_every_registered_name(page, names):
    text = (DOCS / "how_to" / page).read_text("utf-8")
    for part in re.findall(r"^<!-- generated: (\w+) -->$", text, re.M):
        text += generate.PARTS[part]()
    assert [one for one in names if f"`{one}`" not in text] == []


def list_code(path: Path, language: str) -> Iterator[str]:
    for found in FENCE.finditer(path.read_text("utf-8")):
        if found[3] == language:
            yield re.sub(rf"^{found[1]}", "", found[4], flags=re.M)


def list_commands(path: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `seawall` command in the code blocks of a page. One with `...` is only a part."""
    for language in ("", "console", "bash", "sh"):
        for block in list_code(path, language):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.partition(" | ")[0], comments=True) if "seawall " in line else []
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words.pop(0)
                if words[:1] == ["seawall"] and "..." not in words and not {"COMMAND", "[OPTIONS]"} & set(words):
                    yield words[1:]


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_every_command_parses(path):
    for words in list_commands(path):
        if "--help" not in words:
            command, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
            assert command.__module__.startswith("seawall."), f"{words} is no command of Seawall"


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_python_blocks_compile_and_name_what_exists(path):
    for block in list_code(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "seawall":
                assert node.attr in seawall.__all__, f"seawall.{node.attr}"


def test_the_command_line_page_has_every_command_and_flag():
    text = generate.make_command_line()
    for command in ("prepare", "synthesize", "align", "evaluate", "embeddings verify"):
        assert f" seawall {command}\n" in text
    assert "- <code>--learning-rate FLOAT</code>: " in text
    assert "- <code>--compile</code> / <code>--no-compile</code>: " in text
    assert "*(required)*" in text and "`sft`, `dpo`; default `sft`" in text


def test_the_recipe_page_has_every_key_with_type_and_default():
    text = generate.make_recipe_keys()
    assert "## `[synthesis]`" in text and "### `[alignment.mixture]`" in text
    assert re.search(r"- `copies`: .*\(whole number; default `4`\)", text)
    assert re.search(r"- `sources`: .*\(list of texts or tables; required\)", text)
    assert not re.search(r"^- `\w+`:  ", text, re.M), "a field has no docstring"


def test_the_recipe_on_the_page_has_no_faults(tmp_path):
    recipe, *_ = list_code(DOCS / "reference" / "recipe.md", "toml")
    (tmp_path / "recipe.toml").write_text(recipe)
    assert seawall.read_recipe(tmp_path / "recipe.toml").align.steps == 240


def test_the_table_of_families_has_every_row():
    table = [line for line in generate.make_families().splitlines() if line.startswith("| `")]
    assert len(table) == len(FAMILIES)


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<p style="background: url(http://example.org/a.png)">',
        '<pre class="mermaid">graph</pre>',
    ],
)
def test_what_another_host_serves_is_found(page):
    assert len(assets.find_in_html(page)) == 1


def test_links_and_local_files_are_no_external_assets(tmp_path):
    (tmp_path / "index.html").write_text(
        '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org/"><img src="a.png">'
    )
    (tmp_path / "a.css").write_text("a { background: url(data:image/svg+xml,x) } /* https://example.org */")
    assert assets.find_external_assets(tmp_path) == []
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example/a.woff2') }")
    assert assets.find_external_assets(tmp_path) == ["a.css: https://fonts.example/a.woff2"]


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.chdir(ROOT)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True))
    assert (tmp_path / "site" / "reference" / "command_line" / "index.html").is_file()
