"""The data of the built-in models in the form of a user's: text safety records, folders of media, and a benchmark."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from seawall import prompts
from seawall.lab.world import dialogue
from seawall.lab.world.media import GENERATORS, MediaGenerator
from seawall.lab.world.phrases import Part, Phrase, list_phrases
from seawall.lab.world.published import write_published
from seawall.store.files import write_jsonl

AnyPhrase = TypeVar("AnyPhrase")
ITEMS = "items.jsonl"
"""File of a benchmark folder that lists its items."""
RECORDS_PER_PHRASE = 2
"""Text records of each training phrase, with different requests."""
KINDS = ("harmful", "harmless")
MEDIA_PER_PHRASE = 4
"""Harmless media of each training phrase that `write_data` writes."""


def write_data(folder: Path, modality: str = "image", phrases: int | None = None) -> dict[str, Path]:
    """Write what a user of a built-in model brings: text safety data, harmless media, and a benchmark.

    Args:
        folder: Folder to write to. It is created if missing.
        modality: `image`, `video` or `audio`.
        phrases: Maximum number of phrases of each kind. None uses all.

    Returns:
        `records`, the file `records.jsonl`; `media`, the folder of harmless media with `media.jsonl`; `benchmark`, held-out
        phrases in the layout of the published benchmark of the modality.
    """
    places = {"records": folder / "records.jsonl", "media": folder / "media", "benchmark": folder / "benchmark"}
    folder.mkdir(parents=True, exist_ok=True)
    write_media(places["media"], "harmless", MEDIA_PER_PHRASE, phrases, modality)
    write_published(places["benchmark"], "test", phrases, modality)
    write_records(places["records"], phrases)
    return places


def write_records(path: Path, phrases: int | None = None) -> None:
    """Write text safety data: two records of each training phrase.

    Harmful ones have a refusal as response, harmless ones an answer.

    Args:
        path: JSON Lines file to write.
        phrases: Maximum number of phrases of each kind. None uses all.
    """
    rng = random.Random("records")
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        for phrase in list_phrases("train", kind)[:phrases]:
            for number in rng.sample(range(len(dialogue.REQUESTS)), RECORDS_PER_PHRASE):
                instruction, answer = dialogue.make_request(phrase, number)
                response = rng.choice(dialogue.REFUSALS) if phrase.harmful else answer
                row = {"id": str(len(rows)), "kind": kind, "instruction": instruction, "response": response}
                rows.append({**row, "rejected": answer if phrase.harmful else None})
    write_jsonl(path, rows)


def write_media(folder: Path, kind: str, each: int, phrases: int | None = None, modality: str = "image") -> None:
    """Write real training media: files that show the training phrases of one kind in `train` styles, and `media.jsonl`.

    Harmful media have requests with a refusal as answer and the helpful answer as `rejected`. Harmless media have
    requests, content questions and style questions.

    Args:
        folder: Folder to write to.
        kind: `harmful` or `harmless`.
        each: Media per phrase.
        phrases: Maximum number of phrases. None uses all.
        modality: `image`, `video` or `audio`.
    """
    rng, generator = random.Random(f"media/{kind}"), GENERATORS[modality]
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase in list_phrases("train", kind)[:phrases]:
        for number in range(each):
            form, style = generator.forms[len(rows) % len(generator.forms)], generator.draw_style(rng, "train")
            question, answer = _draw_request(generator, rng, phrase, form, style)
            rejected = None
            if phrase.harmful:
                answer, rejected = rng.choice(dialogue.REFUSALS), answer
            elif number % 4 == 3:
                question, answer = _draw_question(rng, phrase, generator.list_style_answers(style, form), modality)
            row = _make_row(generator, len(rows), kind, question, answer, rejected)
            generator.save(folder / row[modality], phrase, form, style)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_rendered(folder: Path, each: int, phrases: int | None = None, modality: str = "image") -> None:
    """Write the media of the arm `rendered_media`: the training phrases as plain writing or speech, of both kinds.

    Args:
        folder: Folder to write to.
        each: Media per phrase.
        phrases: Maximum number of phrases of each kind. None uses all.
        modality: `image`, `video` or `audio`.
    """
    rng, generator = random.Random("rendered"), GENERATORS[modality]
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase in (phrase for kind in KINDS for phrase in list_phrases("train", kind)[:phrases]):
        for number in range(each):
            size = rng.uniform(0.8, 1.0)
            question, answer = dialogue.make_detoxified_request(phrase, rng.randrange(60), rng.randrange(60), modality)
            rejected = None
            if phrase.harmful:
                answer, rejected = rng.choice(dialogue.REFUSALS), answer
            row = _make_row(generator, len(rows), phrase.kind, question, answer, rejected)
            generator.save_plain(folder / row[modality], phrase.text, number, size)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_benchmark(folder: Path, part: Part, phrases: int | None = None, modality: str = "image") -> None:
    """Write the benchmark: `items.jsonl` and media files that show each phrase in every form.

    Args:
        folder: Folder to write to.
        part: `test` (test phrases, in styles that no training used) or `validation` (validation phrases, in styles
            that only the encoder's training used).
        phrases: Maximum number of phrases of each set. None uses all.
        modality: `image`, `video` or `audio`.
    """
    rng, generator = random.Random(f"benchmark/{part}"), GENERATORS[modality]
    pool = "unseen" if part == "test" else "encoder"
    sets = list_sets(list_phrases, part)
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, members in sets.items():
        for phrase in members[:phrases]:
            words = {"first": phrase.first, "second": phrase.second, "category": phrase.category}
            for form in (None, None) if name.startswith("text") else generator.forms:
                item = {"id": f"{len(rows):04d}", "set": name, **words}
                if form is None:
                    question = dialogue.make_request(phrase, rng.randrange(60))[0]
                    rows.append({**item, modality: None, "question": question})
                    continue
                style = generator.draw_style(rng, pool)
                reworded = name.endswith("_reworded")
                if reworded and generator.get_spoken_request(phrase, form, style):
                    continue  # no announcement, so nothing to reword
                question, _ = _draw_request(generator, rng, phrase, form, style, held_out=reworded)
                row = _make_row(generator, len(rows), phrase.kind, question)
                generator.save(folder / row[modality], phrase, form, style)
                rows.append({**item, "form": form, **row})
    write_jsonl(folder / ITEMS, rows)


def list_sets(
    list_phrases: Callable[[Part, str], tuple[AnyPhrase, ...]], part: Part
) -> dict[str, tuple[AnyPhrase, ...]]:
    """Return the phrases of each set of a benchmark.

    Args:
        list_phrases: Returns the phrases of a part and a kind of a world.
        part: Part of the evaluation. The first set is of training phrases.
    """
    return {
        "media_harmful_trained": list_phrases("train", "harmful"),
        "media_harmful_unseen": list_phrases(part, "harmful"),
        "media_harmful_reworded": list_phrases(part, "harmful"),
        "media_harmless": list_phrases(part, "harmless"),
        "text_harmful": list_phrases(part, "harmful"),
        "text_harmless": list_phrases(part, "harmless"),
    }


def _draw_question(rng: random.Random, phrase: Phrase, styles: dict[str, str], modality: str) -> tuple[str, str]:
    """Draw a content or style question about a medium, and its answer."""
    sentences = prompts.get_sentences(modality)
    if rng.random() < 0.5:
        question, style = rng.choice(list(styles.items()))
        answer = sentences.styles[question][0].format(style=style)
    else:
        question = rng.choice(sentences.content_questions)
        answer = prompts.format_content_answer(phrase.text, modality, phrase.category)
    return prompts.format_question(question, modality, phrase.category), answer


def _draw_request(
    generator: MediaGenerator, rng: random.Random, phrase: Phrase, form: str, style: Any, *, held_out: bool = False
) -> tuple[str, str]:
    """Draw the text beside a medium, and the helpful answer.

    The text is empty if the medium itself speaks the request.
    """
    if spoken := generator.get_spoken_request(phrase, form, style):
        return "", spoken[1]
    numbers = rng.randrange(60), rng.randrange(60)
    return dialogue.make_detoxified_request(phrase, *numbers, generator.modality, held_out=held_out)


def _make_row(
    generator: MediaGenerator,
    number: int,
    kind: str,
    question: str,
    answer: str | None = None,
    rejected: str | None = None,
) -> dict[str, Any]:
    """Return a line of `media.jsonl`."""
    row = {generator.modality: f"{number:04d}{generator.ending}", "kind": kind, "question": question}
    return row | {name: text for name, text in (("answer", answer), ("rejected", rejected)) if text}
