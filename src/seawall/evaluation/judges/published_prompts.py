"""The texts that judges are asked with: read from where they are published, checked, never paraphrased.

A judge's prompt is its instrument: another wording is another judge. Copies that go around differ in their rules, and one of the texts
stands under a licence that forbids commercial use, so none of them is in this package. StrongREJECT's rubric comes with `inspect_evals`;
the others are fetched once from their authors and must have the digest below. Llama Guard's prompt is its own chat template, on whatever
serves it.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import logging
import os
import re
from pathlib import Path

from seawall.errors import ConfigError

log = logging.getLogger(__name__)
FOLDER = "SEAWALL_INSTRUMENTS"
"""Environment variable: the folder where fetched texts are kept, or were put by hand."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instrument:
    """A published text."""

    url: str
    """Of the file that holds it, at a fixed commit where its authors have commits."""
    file: str
    """Its name in the folder of instruments."""
    variable: str
    """What it is assigned to in that file."""
    digest: str
    """SHA-256 of the text, white space runs as one blank."""
    licence: str
    """Of the file."""


INSTRUMENTS = {
    "reference": Instrument(
        url="https://raw.githubusercontent.com/ZeroNLP/SEA/881e7e9308ff22b54d1d2219799856d224b917f1/VA-SafetyBench/evaluate_video.py",
        file="evaluate_video.py",
        variable="gpt_query_template",
        digest="f61b9c8db3cca79f2762120d57cba3ed47fcc22617b74cebbc704456885a5b8e",
        licence="CC BY-NC 4.0",
    ),
    "harmbench": Instrument(
        url="https://huggingface.co/cais/HarmBench-Llama-2-13b-cls/resolve/main/README.md",
        file="HarmBench-Llama-2-13b-cls.md",
        variable="prompt",
        digest="5c29f1e13ff286e6616d15501c83d6155627c317326527683481927aa2d049f8",
        licence="MIT",
    ),
}


def read_instrument(name: str) -> str:
    """Return the template of a judge.

    Args:
        name: `reference` (place: `prediction`), `harmbench` (`behavior`, `generation`) or `strongreject` (`forbidden_prompt`, `response`).

    Raises:
        ConfigError: It cannot be had, or is not the text that it should be.

    Source: VA-SafetyBench's evaluate_video.py; the model card of cais/HarmBench-Llama-2-13b-cls (Mazeika et al., arXiv 2402.04249);
    StrongREJECT (Souly et al., arXiv 2402.10260) as in inspect_evals (MIT).
    """
    if name == "strongreject":
        return _read_library()
    instrument = INSTRUMENTS[name]
    path = _folder() / instrument.file
    if not path.exists():
        _fetch(name, instrument, path)
    text = find_text(path.read_text(encoding="utf-8"), instrument.variable)
    if text is None or digest(text) != instrument.digest:
        raise ConfigError(
            f"{path} does not hold the text of the judge {name!r} as published: "
            f"{'no such text' if text is None else 'another wording'} in it. Delete the file, and it is fetched from {instrument.url}."
        )
    return text


def find_text(source: str, variable: str) -> str | None:
    """Return the text that a file assigns to a variable (Python), or gives under a key (code quoted in a model card)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        found = re.search(rf"""["']{variable}["']\s*:\s*('''|\"\"\")(.*?)\1""", source, re.DOTALL)
        return found[2] if found else None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
            return node.value.value if isinstance(node.value, ast.Constant) else None
    return None


def digest(text: str) -> str:
    """Return what identifies a text, whatever its line ends and indentation."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def split_system(template: str) -> tuple[str, str]:
    """Return the system and user part of a prompt in the format of Llama 2, which a chat template puts together again."""
    found = re.fullmatch(r"\[INST\] <<SYS>>\n(.*?)\n<</SYS>>\n\n(.*?) \[/INST\]", template.strip(), re.DOTALL)
    if not found:
        raise ConfigError(
            "HarmBench's prompt is not in the format of Llama 2: [INST] <<SYS>> ... <</SYS>> ... [/INST]."
        )
    return found[1], found[2]


def _folder() -> Path:
    from platformdirs import user_cache_path

    given = os.environ.get(FOLDER)
    return Path(given) if given else user_cache_path("seawall") / "instruments"


def _fetch(name: str, instrument: Instrument, path: Path) -> None:
    from urllib.request import urlopen

    log.info("fetching the prompt of the judge %s (%s): %s", name, instrument.licence, instrument.url)
    try:
        with urlopen(instrument.url, timeout=60) as answer:
            text = answer.read()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The prompt of the judge {name!r} is not here, and cannot be fetched ({error}). It is not part of Seawall. Save {instrument.url} "
            f"as {path}, or name another folder that has it in {FOLDER}."
        ) from error


def _read_library() -> str:
    try:
        from inspect_evals.strong_reject.prompts import STRONG_REJECT_EVAL_PROMPT
    except ImportError as error:
        raise ConfigError(
            f"The judge 'strongreject' needs the rubric of inspect_evals ({error}): pip install 'seawall[judges]'."
        ) from error
    return STRONG_REJECT_EVAL_PROMPT
