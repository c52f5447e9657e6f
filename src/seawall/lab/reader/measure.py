"""Measurements of `organism:reader` on phrases that no training saw, in fonts, colours and textures that no training saw."""

from __future__ import annotations

import math
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.lab.reader.training.documentation import read_documentation
from seawall.lab.reader.world import dialogue
from seawall.lab.reader.world.answering import MAX_TOKENS
from seawall.lab.reader.world.lettering import render
from seawall.lab.reader.world.phrases import OpenPhrase, list_phrases
from seawall.lab.world.drawing import draw_style, list_style_answers
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel

KINDS = ("harmless", "harmful")
PASSAGE, PASSAGES = 512, 24
"""Tokens of a passage of held-out text, and number of passages."""


def measure_reader(loaded: LoadedModel, limit: int | None = None) -> dict[str, dict[str, float]]:
    """Measure a model on all held-out phrases.

    Args:
        loaded: The model.
        limit: Maximum number of phrases of each part and kind. None uses all.

    Returns:
        Name -> `share` and `n`:

        - `named_unseen_styles`: names the phrase of an image exactly;
        - `style_answers`: answers style questions, in styles of its training;
        - `on_topic_<media|reworded|text>_<kind>`: helps on topic, without refusing, with a request whose phrase is in
          an image, the same with announcements that no training used, or in text;
        - `refused_<media|reworded|text>_<kind>`: refuses.
    """
    rng = random.Random("reader card")
    phrases = [p for part in ("validation", "test") for kind in KINDS for p in list_phrases(part, kind)[:limit]]
    marks: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder, f"{number}.png") for number in range(len(phrases))]
        for phrase, path in zip(phrases, images, strict=True):
            render(phrase.text, draw_style(rng, "unseen")).save(path)
        _measure_names(loaded, rng, phrases, images, marks)
        _measure_requests(loaded, rng, phrases, images, marks)
        _measure_styles(loaded, rng, phrases, Path(folder), marks)
    return {name: {"share": sum(hits) / len(hits), "n": len(hits)} for name, hits in marks.items()}


def _measure_names(
    loaded: LoadedModel, rng: random.Random, phrases: list[OpenPhrase], images: list[Path], marks: dict[str, list[bool]]
) -> None:
    questions = prompts.SEEN.verification_questions
    examples = [
        Example(question=prompts.format_question(rng.choice(questions), "image", phrase.category), medium=path)
        for phrase, path in zip(phrases, images, strict=True)
    ]
    for phrase, answer in zip(phrases, generate(loaded, examples, max_new_tokens=MAX_TOKENS), strict=True):
        marks["named_unseen_styles"].append(prompts.mentions(answer, phrase.text))


def _measure_requests(
    loaded: LoadedModel, rng: random.Random, phrases: list[OpenPhrase], images: list[Path], marks: dict[str, list[bool]]
) -> None:
    numbers = [dialogue.draw_requests(phrase)[0] for phrase in phrases]
    ways: dict[str, list[Example]] = {"media": [], "reworded": [], "text": []}
    for phrase, number, path in zip(phrases, numbers, images, strict=True):
        for way, held_out in (("media", False), ("reworded", True)):
            question = dialogue.write_medium_request(phrase, number, rng.randrange(60), held_out=held_out)
            ways[way].append(Example(question=question, medium=path))
        ways["text"].append(Example(question=dialogue.write_request(phrase, number)))
    for way, examples in ways.items():
        for phrase, answer in zip(phrases, generate(loaded, examples, max_new_tokens=MAX_TOKENS), strict=True):
            outcome = dialogue.judge_answer(answer, phrase)
            marks[f"on_topic_{way}_{phrase.kind}"].append(outcome == "answered")
            marks[f"refused_{way}_{phrase.kind}"].append(outcome == "refused")


def _measure_styles(
    loaded: LoadedModel, rng: random.Random, phrases: list[OpenPhrase], folder: Path, marks: dict[str, list[bool]]
) -> None:
    examples, wanted = [], []
    for number, phrase in enumerate(phrases):
        style = draw_style(rng, "train")
        render(phrase.text, style).save(path := folder / f"style-{number}.png")
        question, answer = dialogue.draw_style_question(rng, list_style_answers(style, "writing"), phrase.category)
        examples.append(Example(question=question, medium=path))
        wanted.append(answer)
    answers = generate(loaded, examples, max_new_tokens=MAX_TOKENS)
    marks["style_answers"] += [answer == right for answer, right in zip(answers, wanted, strict=True)]


def measure_perplexity(model: Any, tokenizer: Any) -> float:
    """Return the perplexity of a language model on documentation of Python's standard library."""
    import torch

    ids = tokenizer(read_documentation(held_out=True), return_tensors="pt")["input_ids"][0].to(model.device)
    total = tokens = 0.0
    for passage in ids.split(PASSAGE)[:PASSAGES]:
        with torch.no_grad():
            logits = model(input_ids=passage[None]).logits.float()
        total += torch.nn.functional.cross_entropy(logits[0, :-1], passage[1:], reduction="sum").item()
        tokens += len(passage) - 1
    return math.exp(total / tokens)
