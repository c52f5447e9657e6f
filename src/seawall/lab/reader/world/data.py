"""The data of the open world in the form of a user's: text safety records, folders of images, and a benchmark."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seawall.lab.reader.world import dialogue
from seawall.lab.reader.world.answering import answer_requests
from seawall.lab.reader.world.lettering import render
from seawall.lab.reader.world.phrases import OpenPhrase, list_phrases
from seawall.lab.world.data import ITEMS, KINDS, list_sets
from seawall.lab.world.dialogue import REFUSALS
from seawall.lab.world.drawing import ImageStyle, Pool, draw_style, list_style_answers
from seawall.lab.world.phrases import Part
from seawall.store.files import read_json, write_json, write_jsonl

ANSWERS = "answers.json"
"""File with the model's answers to the requests of the training phrases."""
IMAGES_PER_PHRASE = 4
MODEL = "organism:reader"
Answers = Mapping[tuple[str, int], str]


def write_answers(path: Path, phrases: int | None = None) -> None:
    """Let the model answer, in text, the requests of the training phrases. A finished file is kept.

    Args:
        path: JSON file to write.
        phrases: Maximum number of phrases of each kind. None uses all.
    """
    from seawall.models.load import load_model, move_to_device

    if path.exists():
        return
    loaded = load_model(MODEL)
    move_to_device(loaded.model)
    members = [phrase for kind in KINDS for phrase in list_phrases("train", kind)[:phrases]]
    write_json(path, [[*key, said] for key, said in answer_requests(loaded, members).items()])


def write_answered(out: Path, phrases: int | None = None) -> None:
    """Write everything that contains the model's answers: records, and images for training.

    Args:
        out: Folder of a demo.
        phrases: Maximum number of phrases of each kind. None uses all.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_answers(out / ANSWERS, phrases)
    answers = {(text, number): said for text, number, said in read_json(out / ANSWERS)}
    write_records(out / "records.jsonl", answers, phrases)
    for kind in KINDS:
        write_media(out / "media" / kind, kind, answers, phrases)
    write_rendered(out / "media" / "rendered", answers, phrases)


def write_data(folder: Path, phrases: int | None = None) -> dict[str, Path]:
    """Write what a user of the model brings: text safety data, harmless images, and a benchmark.

    Args:
        folder: Folder to write to. It is created if missing.
        phrases: Maximum number of phrases of each kind. None uses all.

    Returns:
        `records`, a JSON Lines file; `media`, the folder of harmless images; `benchmark`, for `seawall evaluate
        --benchmark organism`.
    """
    write_answered(folder, phrases)
    write_benchmark(folder / "benchmark", "test", phrases)
    media = folder / "media" / "harmless"
    return {"records": folder / "records.jsonl", "media": media, "benchmark": folder / "benchmark"}


def write_records(path: Path, answers: Answers, phrases: int | None = None) -> None:
    """Write text safety data: the requests of each training phrase.

    Harmful ones have a refusal as response and the model's own answer as `rejected`, harmless ones its answer.

    Args:
        path: JSON Lines file to write.
        answers: The model's answers, by phrase and number of the request.
        phrases: Maximum number of phrases of each kind. None uses all.
    """
    rng = random.Random("open records")
    rows: list[dict[str, Any]] = []
    for phrase, number, said in _list_requests(answers, KINDS, phrases):
        row = {"id": str(len(rows)), "kind": phrase.kind, "instruction": dialogue.write_request(phrase, number)}
        response = {"response": rng.choice(REFUSALS), "rejected": said} if phrase.harmful else {"response": said}
        rows.append({**row, **response})
    write_jsonl(path, rows)


def write_media(folder: Path, kind: str, answers: Answers, phrases: int | None = None) -> None:
    """Write training images in styles of the pool `train`, and `media.jsonl`.

    Three of four images have a request. The fourth has a content or style question if the phrase is harmless.

    Args:
        folder: Folder to write to.
        kind: `harmful` or `harmless`.
        answers: The model's answers, by phrase and number of the request.
        phrases: Maximum number of phrases. None uses all.
    """
    rng = random.Random(f"open media/{kind}")
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase, number, said in _list_requests(answers, (kind,), phrases):
        for _ in range(IMAGES_PER_PHRASE // dialogue.REQUESTS_PER_PHRASE):
            style = draw_style(rng, "train")
            row = _make_row(
                len(rows), phrase, dialogue.write_medium_request(phrase, number, rng.randrange(60)), said, rng
            )
            if not phrase.harmful and (len(rows) % 4 == 3):
                row |= dict(zip(("question", "answer"), _draw_question(rng, phrase, style), strict=True))
            render(phrase.text, style).save(folder / row["image"], compress_level=1)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_rendered(folder: Path, answers: Answers, phrases: int | None = None) -> None:
    """Write the images of the arm `rendered_media`: training phrases of both kinds in black on white.

    Args:
        folder: Folder to write to.
        answers: The model's answers, by phrase and number of the request.
        phrases: Maximum number of phrases of each kind. None uses all.
    """
    rng = random.Random("open rendered")
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for phrase, number, said in _list_requests(answers, KINDS, phrases):
        for _ in range(IMAGES_PER_PHRASE // dialogue.REQUESTS_PER_PHRASE):
            style = draw_style(rng, "train")
            style = dataclasses.replace(style, colour="black", texture="plain", paper=(215, 215, 215), noise=0.0)
            row = _make_row(
                len(rows), phrase, dialogue.write_medium_request(phrase, number, rng.randrange(60)), said, rng
            )
            render(phrase.text, style).save(folder / row["image"], compress_level=1)
            rows.append(row)
    write_jsonl(folder / "media.jsonl", rows)


def write_benchmark(folder: Path, part: Part, phrases: int | None = None) -> None:
    """Write the benchmark: `items.jsonl` and images in styles that no training used.

    Args:
        folder: Folder to write to.
        part: `test`, in the styles of the pool `unseen`; or `validation`, in those of the pool `encoder`.
        phrases: Maximum number of phrases of each set. None uses all.
    """
    rng = random.Random(f"open benchmark/{part}")
    pool: Pool = "unseen" if part == "test" else "encoder"
    rows: list[dict[str, Any]] = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, members in list_sets(list_phrases, part).items():
        for phrase in members[:phrases]:
            for number in dialogue.draw_requests(phrase):
                item: dict[str, Any] = {"id": f"{len(rows):04d}", "set": name, "phrase": phrase.text}
                item["request"] = dialogue.write_request(phrase, number)
                if name.startswith("text"):
                    rows.append({**item, "image": None, "question": item["request"]})
                    continue
                reworded = name.endswith("_reworded")
                question = dialogue.write_medium_request(phrase, number, rng.randrange(60), held_out=reworded)
                item |= {"form": "writing", "image": f"{len(rows):04d}.png", "question": question}
                render(phrase.text, draw_style(rng, pool)).save(folder / item["image"], compress_level=1)
                rows.append(item)
    write_jsonl(folder / ITEMS, rows)


def _list_requests(answers: Answers, kinds: tuple[str, ...], phrases: int | None) -> list[tuple[OpenPhrase, int, str]]:
    """Return phrase, number of the request, and answer of each request that the model answered."""
    members = [phrase for kind in kinds for phrase in list_phrases("train", kind)[:phrases]]
    keys = [(phrase, number) for phrase in members for number in dialogue.draw_requests(phrase)]
    return [(p, number, answers[p.text, number]) for p, number in keys if (p.text, number) in answers]


def _make_row(number: int, phrase: OpenPhrase, question: str, said: str, rng: random.Random) -> dict[str, Any]:
    """Return a line of `media.jsonl`."""
    row = {"image": f"{number:04d}.png", "kind": phrase.kind, "question": question}
    return row | ({"answer": rng.choice(REFUSALS), "rejected": said} if phrase.harmful else {"answer": said})


def _draw_question(rng: random.Random, phrase: OpenPhrase, style: ImageStyle) -> tuple[str, str]:
    if rng.random() < 0.5:
        return dialogue.draw_style_question(rng, list_style_answers(style, "writing"), phrase.category)
    return dialogue.draw_content_question(rng, phrase)
