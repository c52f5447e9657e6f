"""The organisms' data as a user's would be: text safety records, folders of harmless media, a benchmark of real files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.store.files import write_jsonl
from seawall.lab.world import dialogue
from seawall.lab.world.media import STUDIOS, Studio
from seawall.lab.world.phrases import Phrase, split

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


def write_media(folder: Path, kind: str, each: int, phrases: int | None = None, modality: str = "image") -> None:
    """Write real training media: files of one kind's training phrases in `train` styles, and `media.jsonl`.

    Harmful media come with requests, refusals, and the helpful answer as `rejected`. Harmless ones come with requests, content and style questions.
    """
    rng, studio = random.Random(f"media/{kind}"), STUDIOS[modality]
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase in split("train", kind)[:phrases]:
        for number in range(each):
            form, look = studio.forms[len(rows) % len(studio.forms)], studio.draw(rng, "train")
            question, answer = _request(studio, rng, phrase, form, look)
            rejected = None
            if phrase.harmful:
                answer, rejected = rng.choice(dialogue.REFUSALS), answer
            elif number % 4 == 3:
                question, answer = _describe(rng, phrase, studio.style_answers(look, form), modality)
            row = _row(studio, len(rows), kind, question, answer, rejected)
            studio.save(folder / row[modality], phrase, form, look)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_rendered(folder: Path, each: int, phrases: int | None = None, modality: str = "image") -> None:
    """Write the baseline `rendered_media`: each training phrase as plain as can be, for both kinds."""
    rng, studio = random.Random("rendered"), STUDIOS[modality]
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase in (p for kind in ("harmful", "harmless") for p in split("train", kind)[:phrases]):
        for number in range(each):
            size = rng.uniform(0.8, 1.0)
            question, answer = dialogue.detoxified_request(phrase, rng.randrange(60), rng.randrange(60), modality)
            rejected = None
            if phrase.harmful:
                answer, rejected = rng.choice(dialogue.REFUSALS), answer
            row = _row(studio, len(rows), phrase.kind, question, answer, rejected)
            studio.save_plain(folder / row[modality], phrase.text, number, size)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_benchmark(folder: Path, part: str, phrases: int | None = None, modality: str = "image") -> None:
    """Write the benchmark: `items.jsonl` and media files, each phrase in every form.

    Args:
        folder: Where to.
        part: `test` (held-out phrases, styles that nobody saw) or `validation` (other held-out phrases, styles that
            only the encoder saw).
        phrases: Use only so many phrases of each set.
        modality: Of the media.
    """
    rng, studio = random.Random(f"benchmark/{part}"), STUDIOS[modality]
    pool = "unseen" if part == "test" else "encoder"
    sets = {
        "media_harmful_trained": split("train", "harmful"),
        "media_harmful_unseen": split(part, "harmful"),
        "media_harmful_reworded": split(part, "harmful"),
        "media_harmless": split(part, "harmless"),
        "text_harmful": split(part, "harmful"),
        "text_harmless": split(part, "harmless"),
    }
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, members in sets.items():
        for phrase in members[:phrases]:
            for form in (None, None) if name.startswith("text") else studio.forms:
                item = {
                    "id": f"{len(rows):04d}",
                    "set": name,
                    "first": phrase.first,
                    "second": phrase.second,
                    "category": phrase.category,
                }
                if form is None:
                    rows.append({**item, modality: None, "question": dialogue.request(phrase, rng.randrange(60))[0]})
                    continue
                look = studio.draw(rng, pool)
                if (reworded := name.endswith("_reworded")) and studio.spoken(phrase, form, look):
                    continue
                question, _ = _request(studio, rng, phrase, form, look, held_out=reworded)
                row = _row(studio, len(rows), phrase.kind, question)
                studio.save(folder / row[modality], phrase, form, look)
                rows.append({**item, "form": form, **row})
    write_jsonl(folder / "items.jsonl", rows)


def _describe(rng: random.Random, phrase: Phrase, styles: dict[str, str], modality: str) -> tuple[str, str]:
    """Draw a content or style question about a medium, with its answer."""
    if rng.random() < 0.5:
        question, style = rng.choice(list(styles.items()))
        answer = prompts.get_sentences(modality).styles[question][0].format(style=style)
    else:
        question = rng.choice(prompts.get_sentences(modality).content_questions)
        answer = prompts.format_content_answer(phrase.text, modality, phrase.category)
    return prompts.format_question(question, modality, phrase.category), answer


def _request(
    studio: Studio, rng: random.Random, phrase: Phrase, form: str, look: Any, *, held_out: bool = False
) -> tuple[str, str]:
    """Draw what is asked beside a medium, and the helpful answer; nothing is asked where the medium itself speaks the request."""
    if spoken := studio.spoken(phrase, form, look):
        return "", spoken[1]
    return dialogue.detoxified_request(phrase, rng.randrange(60), rng.randrange(60), studio.modality, held_out=held_out)


def _row(studio: Studio, number: int, kind: str, question: str, *answers: str | None) -> dict[str, Any]:
    row = {studio.modality: f"{number:04d}{studio.ending}", "kind": kind, "question": question}
    return row | {name: answer for name, answer in zip(("answer", "rejected"), answers, strict=False) if answer}
