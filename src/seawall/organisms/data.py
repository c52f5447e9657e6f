"""The organisms' data as a user's would be: text safety records, folders of harmless media, a benchmark of real files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL import Image

from seawall import phrasing
from seawall.artifacts import write_jsonl
from seawall.media.typography import draw_text
from seawall.organisms import dialogue, drawing
from seawall.organisms.world import Phrase, split

FORMS_A_RECORD = 2
"""Records of each training phrase, with different requests."""


def write_records(path: Path, phrases: int | None = None) -> None:
    """Write the text safety data: two records for each training phrase, harmful -> refusal, harmless -> answer.

    Args:
        path: The JSON Lines file.
        phrases: Use only so many phrases of each kind.
    """
    rng = random.Random("records")
    rows = []
    for kind in ("harmful", "harmless"):
        for phrase in split("train", kind)[:phrases]:
            for form in rng.sample(range(len(dialogue.REQUESTS)), FORMS_A_RECORD):
                instruction, answer = dialogue.request(phrase, form)
                response = rng.choice(dialogue.REFUSALS) if phrase.harmful else answer
                rejected = answer if phrase.harmful else None
                rows.append(
                    {
                        "id": f"{len(rows)}",
                        "kind": kind,
                        "instruction": instruction,
                        "response": response,
                        "rejected": rejected,
                    }
                )
    write_jsonl(path, rows)


def write_media(folder: Path, kind: str, each: int, phrases: int | None = None) -> None:
    """Write real training media: PNG files of one kind's training phrases in `train` styles, and `media.jsonl`.

    Harmful media come with requests and refusals. Harmless ones come with requests, content and style questions.
    """
    rng = random.Random(f"media/{kind}")
    rows = []
    for phrase in split("train", kind)[:phrases]:
        for number in range(each):
            form, style = drawing.FORMS[number % 2], drawing.draw_style(rng, "train")
            question, answer = dialogue.detoxified_request(phrase, rng.randrange(60), rng.randrange(60), "image")
            if phrase.harmful:
                answer = rng.choice(dialogue.REFUSALS)
            elif number % 4 == 3:
                question, answer = _describe(rng, phrase, drawing.style_answers(style, form))
            rows.append(
                _save(folder, f"{len(rows):04d}.png", drawing.render(phrase, form, style), kind, question, answer)
            )
    write_jsonl(folder / "media.jsonl", rows)


def write_rendered(folder: Path, each: int, phrases: int | None = None) -> None:
    """Write the baseline `rendered_media`: each training phrase as plain black text on white, for both kinds."""
    rng = random.Random("rendered")
    rows = []
    for phrase in (p for kind in ("harmful", "harmless") for p in split("train", kind)[:phrases]):
        for number in range(each):
            image = Image.new("RGB", (drawing.SIDE, drawing.SIDE), "white")
            font = drawing.POOLS["train"]["font"][number % 4]
            draw_text(image, phrase.text, ink=drawing.COLOURS["black"], font_name=font, size=rng.uniform(0.8, 1.0))
            question, answer = dialogue.detoxified_request(phrase, rng.randrange(60), rng.randrange(60), "image")
            answer = rng.choice(dialogue.REFUSALS) if phrase.harmful else answer
            rows.append(_save(folder, f"{len(rows):04d}.png", image, phrase.kind, question, answer))
    write_jsonl(folder / "media.jsonl", rows)


def write_benchmark(folder: Path, part: str, phrases: int | None = None) -> None:
    """Write the benchmark: `items.jsonl` and PNG files.

    Args:
        folder: Where to.
        part: `test` (held-out phrases, styles that nobody saw) or `validation` (other held-out phrases, styles that
            only the encoder saw).
        phrases: Use only so many phrases of each set.
    """
    rng = random.Random(f"benchmark/{part}")
    pool = "unseen" if part == "test" else "encoder"
    sets = {
        "media_harmful_trained": split("train", "harmful"),
        "media_harmful_unseen": split(part, "harmful"),
        "media_harmless": split(part, "harmless"),
        "text_harmful": split(part, "harmful"),
        "text_harmless": split(part, "harmless"),
    }
    rows = []
    for name, members in sets.items():
        for phrase in members[:phrases]:
            for number in range(2):
                request, announcement = rng.randrange(60), rng.randrange(60)
                item = {
                    "id": f"{len(rows):04d}",
                    "set": name,
                    "first": phrase.first,
                    "second": phrase.second,
                    "category": phrase.category,
                }
                if name.startswith("text"):
                    rows.append({**item, "image": None, "question": dialogue.request(phrase, request)[0]})
                    continue
                form = drawing.FORMS[number]
                image = drawing.render(phrase, form, drawing.draw_style(rng, pool))
                question, _ = dialogue.detoxified_request(phrase, request, announcement, "image")
                rows.append(
                    {**item, "form": form, **_save(folder, f"{len(rows):04d}.png", image, phrase.kind, question, None)}
                )
    write_jsonl(folder / "items.jsonl", rows)


def _describe(rng: random.Random, phrase: Phrase, styles: dict[str, str]) -> tuple[str, str]:
    """Draw a content or style question about a medium, with its answer."""
    if rng.random() < 0.5:
        question, style = rng.choice(list(styles.items()))
        answer = phrasing.STYLES[question][0].format(style=style)
    else:
        question = rng.choice(phrasing.CONTENT_QUESTIONS)
        answer = phrasing.content_answer(phrase.text, "image", phrase.category)
    return phrasing.ask(question, "image", phrase.category), answer


def _save(folder: Path, name: str, image: Image.Image, kind: str, question: str, answer: str | None) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, compress_level=1)
    return {"image": name, "kind": kind, "question": question} | ({"answer": answer} if answer else {})
