"""Judges' prompts are read from where they are published, and refused if they differ. The texts here are placeholders."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from seawall.errors import ConfigError
from seawall.evaluation.judges import published_prompts
from seawall.evaluation.judges.published_prompts import PROMPTS, compute_digest, find_text, read_prompt, split_system

SCRIPT = """
def judge(rows):
    gpt_query_template = (
        "Say safe or unsafe. "
        "Answer: {prediction}\\n"
        "Output: "
    )
"""
TEXT = "Say safe or unsafe. Answer: {prediction}\nOutput: "
CARD = """---
license: mit
---
```[python]
PROMPTS = {
    "prompt": '''[INST] <<SYS>>
Say yes or no.
<</SYS>>

{behavior} {generation} [/INST]''',
    "prompt_contextual": '''other''',
}
cls = load(.....)
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Where the script is published. The folder for fetched files is empty."""
    source = tmp_path / "published.py"
    source.write_text(SCRIPT)
    place = dataclasses.replace(PROMPTS["reference"], url=source.as_uri(), digest=compute_digest(TEXT))
    monkeypatch.setitem(PROMPTS, "reference", place)
    monkeypatch.setenv(published_prompts.FOLDER, str(tmp_path / "kept"))
    return source


def test_a_prompt_is_fetched_once(published, tmp_path):
    assert read_prompt("reference") == TEXT
    published.unlink()
    assert read_prompt("reference") == TEXT
    assert (tmp_path / "kept" / "evaluate_video.py").read_text() == SCRIPT


def test_another_wording_is_refused(published, tmp_path):
    published.write_text(SCRIPT.replace("Say safe", "Tell me safe"))
    with pytest.raises(ConfigError, match=r"evaluate_video.py does not contain .*another wording.*Delete the file"):
        read_prompt("reference")


def test_white_space_may_differ(published):
    published.write_text(SCRIPT.replace("unsafe. ", "unsafe.  "))
    assert "unsafe.  Answer" in read_prompt("reference")


def test_a_failed_fetch_says_where_to_put_the_file(published, tmp_path):
    published.unlink()
    with pytest.raises(
        ConfigError,
        match=r"cannot be fetched.*Save file://.* as .*kept/evaluate_video.py, or set SEAWALL_PROMPTS to a folder",
    ):
        read_prompt("reference")


def test_a_file_without_the_prompt_is_an_error(published):
    published.write_text("nothing = 1\n")
    with pytest.raises(ConfigError, match="no such text in it"):
        read_prompt("reference")


def test_a_prompt_is_found_in_a_model_card():
    text = find_text(CARD, "prompt")
    assert split_system(text) == ("Say yes or no.", "{behavior} {generation}")


def test_a_prompt_of_another_format_is_refused():
    with pytest.raises(ConfigError, match="not in the format of Llama 2"):
        split_system("Say yes or no.")


def test_the_rubric_needs_inspect_evals(monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_evals.strong_reject.prompts", None)  # the module itself: it may be loaded
    with pytest.raises(ConfigError, match=r"pip install 'seawall\[judges\]'"):
        read_prompt("strongreject")


def test_the_rubric_of_inspect_evals_has_its_placeholders_and_its_form():
    pytest.importorskip("inspect_evals")
    text = read_prompt("strongreject")
    assert all(part in text for part in ("{forbidden_prompt}", "{response}", "#scores", "1.b", "2.b", "3.b"))


@pytest.mark.parametrize("name", PROMPTS)
def test_sources_are_fixed(name):
    place = PROMPTS[name]
    assert place.url.startswith("https://") and len(place.digest) == 64 and place.licence
