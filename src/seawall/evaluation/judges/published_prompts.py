"""The prompts of published judges. They are read from where their authors publish them and checked, never paraphrased.

A judge's prompt is its measuring instrument: another wording is another judge. Copies in circulation differ in their
rules, and one of the prompts has a licence that forbids commercial use, so this package contains none. StrongREJECT's
rubric comes with `inspect_evals`. The others are fetched once from their authors and must have the digest below. Llama
Guard's prompt is its own chat template, which its server applies.
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
from seawall.store.caches import make_private
from seawall.store.files import write_durably

log = logging.getLogger(__name__)

FOLDER = "SEAWALL_PROMPTS"
"""Environment variable with the folder for the fetched files. Users without network put the files there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedPrompt:
    """Where a prompt is published."""

    url: str
    """Address of the file that contains it, at a fixed commit where its authors have commits."""
    file: str
    """Name of the file in the folder."""
    variable: str
    """Variable or key that the file assigns it to."""
    digest: str
    """Digest of the prompt, from `compute_digest`."""
    licence: str
    """Licence of the file."""


PROMPTS = {
    "reference": PublishedPrompt(
        url="https://raw.githubusercontent.com/ZeroNLP/SEA/881e7e9308ff22b54d1d2219799856d224b917f1/VA-SafetyBench/evaluate_video.py",
        file="evaluate_video.py",
        variable="gpt_query_template",
        digest="f61b9c8db3cca79f2762120d57cba3ed47fcc22617b74cebbc704456885a5b8e",
        licence="CC BY-NC 4.0",
    ),
    "harmbench": PublishedPrompt(
        url="https://huggingface.co/cais/HarmBench-Llama-2-13b-cls/resolve/main/README.md",
        file="HarmBench-Llama-2-13b-cls.md",
        variable="prompt",
        digest="5c29f1e13ff286e6616d15501c83d6155627c317326527683481927aa2d049f8",
        licence="MIT",
    ),
}


def read_prompt(judge: str) -> str:
    """Return the prompt template of a judge.

    Args:
        judge: `reference` (placeholder: `prediction`), `harmbench` (`behavior`, `generation`) or `strongreject`
            (`forbidden_prompt`, `response`).

    Raises:
        ConfigError: The prompt cannot be fetched, or is not the published text.

    Source: VA-SafetyBench's evaluate_video.py; the model card of cais/HarmBench-Llama-2-13b-cls (Mazeika et al., arXiv
    2402.04249); StrongREJECT (Souly et al., arXiv 2402.10260) as in inspect_evals (MIT).
    """
    if judge == "strongreject":
        return _read_rubric_of_inspect_evals()
    published = PROMPTS[judge]
    path = _folder() / published.file
    if not path.exists():
        _fetch(judge, published, path)
    text = find_text(path.read_text(encoding="utf-8"), published.variable)
    if text is None or compute_digest(text) != published.digest:
        fault = "no such text" if text is None else "another wording"
        raise ConfigError(
            f"{path} does not contain the published prompt of the judge {judge!r}: there is {fault} in it. "
            f"Delete the file, and it is fetched from {published.url}."
        )
    return text


def find_text(source: str, variable: str) -> str | None:
    """Return the text that a Python file assigns to a variable, or that a model card has under a key. None if absent."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        found = re.search(rf"""["']{variable}["']\s*:\s*('''|\"\"\")(.*?)\1""", source, re.DOTALL)
        return found[2] if found else None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            return value if isinstance(value, str) else None
    return None


def fill_template(template: str, **texts: str) -> str:
    """Return a template with its placeholders filled. Braces in the texts are kept as they are."""
    return re.sub(r"\{(%s)\}" % "|".join(texts), lambda place: texts[place[1]], template)  # noqa: UP031


def compute_digest(text: str) -> str:
    """Return the SHA-256 of a text in which each run of white space is one blank."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def split_system(template: str) -> tuple[str, str]:
    """Return the system and the user part of a prompt in the format of Llama 2. The model's chat template joins them
    again.

    Raises:
        ConfigError: The prompt is not in that format.
    """
    found = re.fullmatch(r"\[INST\] <<SYS>>\n(.*?)\n<</SYS>>\n\n(.*?) \[/INST\]", template.strip(), re.DOTALL)
    if not found:
        raise ConfigError(
            "HarmBench's prompt is not in the format of Llama 2, [INST] <<SYS>> ... <</SYS>> ... [/INST]. Its authors may "
            "have changed it: report this to Seawall."
        )
    return found[1], found[2]


def _folder() -> Path:
    from platformdirs import user_cache_path

    given = os.environ.get(FOLDER)
    return Path(given) if given else user_cache_path("seawall") / "prompts"


def _fetch(judge: str, published: PublishedPrompt, path: Path) -> None:
    from urllib.request import urlopen

    log.info("fetching the prompt of the judge %s (%s): %s", judge, published.licence, published.url)
    try:
        with urlopen(published.url, timeout=60) as answer:
            text = answer.read()
        make_private(path.parent)
        write_durably(path, text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The prompt of the judge {judge!r} is not part of Seawall and cannot be fetched ({error}). "
            f"Save {published.url} as {path}, or set {FOLDER} to a folder that contains it."
        ) from error


def _read_rubric_of_inspect_evals() -> str:
    try:
        from inspect_evals.strong_reject.prompts import STRONG_REJECT_EVAL_PROMPT
    except ImportError as error:
        raise ConfigError(
            f"The judge 'strongreject' needs the rubric of inspect_evals ({error}). Install it: "
            "pip install 'seawall[judges]'."
        ) from error
    return str(STRONG_REJECT_EVAL_PROMPT)
