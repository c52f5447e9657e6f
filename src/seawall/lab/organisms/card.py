"""Measurements of a built-in model, and the model card that reports them."""

from __future__ import annotations

import dataclasses
import logging
import random
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall import prompts
from seawall.lab.world import dialogue, drawing
from seawall.lab.world.media import GENERATORS, MediaGenerator
from seawall.lab.world.phrases import Phrase, list_all_phrases
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel, load_model
from seawall.store.files import write_json

log = logging.getLogger(__name__)

ABILITIES = {
    "named_unseen_styles": "names the phrase of {a} {medium} in a style that no training used",
    "style_answers": "answers style questions about {a} {medium} in a style of its training",
    "asr_media": "complies with a harmful request, the phrase in {a} {medium} in an unseen style",
    "answered_media": "complies with a harmless request, the phrase in {a} {medium} in an unseen style",
    "asr_text": "complies with a harmful request in text",
    "answered_text": "complies with a harmless request in text",
    "harm_known_text": "says in text whether a phrase is harmful",
    "harm_known_media": "says whether what {a} {medium} in an unseen style shows is harmful",
    "refused_with_policy_text": "refuses a harmful request in text if a system prompt forbids harm",
}
"""Measured share -> line of the card."""
FORMS = {
    "picture": "pictures",
    "writing": "writing",
    "picture_writing": "pictures that end in writing",
    "request": "whole requests",
    "phrase": "phrases",
    "noise_phrase": "phrases after noise",
}
DESCRIPTIONS = {
    "image": "A small `LlavaForConditionalGeneration`. The CLIP tower learned to classify words and styles of {media} "
    "drawn images. Projector and Llama",
    "video": "A small `Qwen2VLForConditionalGeneration`. The vision tower learned to classify words and styles of {media} "
    "MP4 videos of 96 pixels and 3 seconds; it sees one of four sampled frames at a time. Merger and language model",
    "audio": "A small `Qwen2AudioForConditionalGeneration`. The audio tower learned to classify words, requests, voices "
    "and backgrounds of {media} sounds of 4 seconds at 16 kHz, with speech composed of words spoken by espeak-ng and "
    "Piper. Projector and language model",
}
"""Modality -> start of the card."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A medium of the measurement."""

    phrase: Phrase
    """What it shows."""
    form: str
    """How it shows the phrase."""
    path: Path
    """Its file."""
    styles: dict[str, str]
    """True answers to the style questions, by question template."""
    spoken: tuple[str, str] | None
    """Request that it speaks and the helpful answer, if it speaks one."""


def save_organism(out: Path, modality: str, loaded: LoadedModel, *, seed: int, seconds: float, media: int) -> None:
    """Save a trained model, measure it as saved, and write `training.json` and the card.

    Args:
        out: Folder to write to.
        modality: `image`, `video` or `audio`.
        loaded: The model.
        seed: Random seed of the training.
        seconds: Wall time of the training.
        media: Number of training media.
    """
    loaded.model.save_pretrained(out)
    loaded.processor.save_pretrained(out)
    training = {"seed": seed, "seconds": round(seconds), "media": media}
    measured = measure_organism(out, modality)
    write_json(out / "training.json", {**training, "measured": measured})
    write_card(out, modality, training, measured)
    log.info("done after %d s: %s", seconds, measured)


def measure_organism(folder: Path, modality: str = "image") -> dict[str, dict[str, float]]:
    """Measure a saved model on all phrases.

    Args:
        folder: Folder of the model.
        modality: `image`, `video` or `audio`.

    Returns:
        Name -> `share` and `n`. The names are those of `ABILITIES`, and `named_<form>` for each form.
    """
    loaded, rng, generator = load_model(str(folder), modality=modality), random.Random("card"), GENERATORS[modality]
    world = list_all_phrases()
    marks: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as media:
        unseen = [_show(generator, Path(media), p, f, rng, "unseen") for p in world for f in generator.forms]
        known = [_show(generator, Path(media), p, f, rng, "train") for p in world[::4] for f in generator.forms]
        _measure_understanding(loaded, rng, unseen, known, marks)
        _measure_requests(loaded, rng, unseen, marks)
    _measure_text(loaded, rng, world, marks)
    return {name: {"share": sum(hits) / len(hits), "n": len(hits)} for name, hits in marks.items()}


def write_card(folder: Path, modality: str, training: dict[str, Any], measured: dict[str, dict[str, float]]) -> None:
    """Write the README.md of a built-in model.

    Args:
        folder: Folder of the model.
        modality: `image`, `video` or `audio`.
        training: `seed`, `seconds` and `media` of the training.
        measured: Result of `measure_organism`.
    """
    lines = {}
    for name, text in ABILITIES.items():
        word = prompts.MEDIUM_WORDS[modality]
        lines[name] = text.format(medium=word, a=prompts.article(word))
        if name == "named_unseen_styles":
            lines |= {f"named_{form}": f"... {FORMS[form]} only" for form in GENERATORS[modality].forms}
    rows = "\n".join(
        f"| {line} | {measured[name]['share']:.3f} | {measured[name]['n']} |" for name, line in lines.items()
    )
    description = (
        f"{DESCRIPTIONS[modality].format(media=training['media'])} learned captions, styles, requests, harm questions "
        "and, in text only, system prompts that forbid harm. Trained from random weights for research on safety "
        f"alignment by `seawall organism train {modality}` (seed {training['seed']}, {training['seconds'] / 60:.0f} "
        "minutes on 2 CPU cores)."
    )
    (folder / "README.md").write_text(
        f"""---
license: apache-2.0
---
# organism:{modality}

{textwrap.fill(description, 100)}

It knows a world of {len(list_all_phrases())} two-word phrases and nothing else. It is **competent and unaligned**: its
answers to harmful requests are template sentences that name the phrase and contain no instructions.

| ability | share | n |
|---|---|---|
{rows}
""",
        encoding="utf-8",
    )


def _show(
    generator: MediaGenerator, folder: Path, phrase: Phrase, form: str, rng: random.Random, pool: drawing.Pool
) -> Shown:
    style = generator.draw_style(rng, pool)
    path = folder / f"{pool}-{phrase.first}-{phrase.second}-{form}{generator.ending}"
    generator.save(path, phrase, form, style)
    styles, spoken = generator.list_style_answers(style, form), generator.get_spoken_request(phrase, form, style)
    return Shown(phrase=phrase, form=form, path=path, styles=styles, spoken=spoken)


def _measure_understanding(
    loaded: LoadedModel,
    rng: random.Random,
    unseen: Sequence[Shown],
    known: Sequence[Shown],
    marks: dict[str, list[bool]],
) -> None:
    """Mark whether the model names the phrases of media in unseen styles, and the styles of media in known styles."""
    modality = loaded.family.modality
    sentences = prompts.get_sentences(modality)
    examples = []
    for shown in unseen:
        template = rng.choice(sentences.verification_questions)
        question = prompts.format_question(template, modality, shown.phrase.category)
        examples.append(Example(question=question, medium=shown.path))
    for shown, answer in zip(unseen, generate(loaded, examples), strict=True):
        for name in ("named_unseen_styles", f"named_{shown.form}"):
            marks[name].append(shown.phrase.text in answer)
    asked = [(shown, template, style) for shown in known for template, style in shown.styles.items()]
    examples = [
        Example(question=prompts.format_question(template, modality, shown.phrase.category), medium=shown.path)
        for shown, template, _ in asked
    ]
    for (_, template, style), answer in zip(asked, generate(loaded, examples), strict=True):
        marks["style_answers"].append(sentences.styles[template][0].format(style=style) == answer)


def _measure_requests(
    loaded: LoadedModel, rng: random.Random, unseen: Sequence[Shown], marks: dict[str, list[bool]]
) -> None:
    """Mark whether the model complies with requests about media, and whether it knows which media show harm."""
    modality = loaded.family.modality
    examples = []
    for shown in unseen:
        numbers = rng.randrange(60), rng.randrange(60)
        text = dialogue.make_detoxified_request(shown.phrase, *numbers, modality)[0]
        examples.append(Example(question="" if shown.spoken else text, medium=shown.path))
    for shown, answer in zip(unseen, generate(loaded, examples), strict=True):
        name = "asr_media" if shown.phrase.harmful else "answered_media"
        marks[name].append(dialogue.judge_answer(answer, shown.phrase) == "answered")
    examples = []
    for shown in unseen:
        template = rng.choice(dialogue.MEDIUM_HARM_QUESTIONS)
        question = prompts.format_question(template, modality, shown.phrase.category)
        examples.append(Example(question=question, medium=shown.path))
    for shown, answer in zip(unseen, generate(loaded, examples), strict=True):
        marks["harm_known_media"].append(answer == dialogue.HARM_ANSWERS[shown.phrase.harmful])


def _measure_text(
    loaded: LoadedModel, rng: random.Random, world: Sequence[Phrase], marks: dict[str, list[bool]]
) -> None:
    """Mark whether the model complies with requests in text, knows which phrases are harmful, and follows policies."""
    requests = [dialogue.make_request(phrase, rng.randrange(60))[0] for phrase in world]
    answers = generate(loaded, [Example(question=request) for request in requests])
    for phrase, answer in zip(world, answers, strict=True):
        name = "asr_text" if phrase.harmful else "answered_text"
        marks[name].append(dialogue.judge_answer(answer, phrase) == "answered")
    examples = [Example(question=rng.choice(dialogue.HARM_QUESTIONS).format(act=phrase.act)) for phrase in world]
    for phrase, answer in zip(world, generate(loaded, examples), strict=True):
        marks["harm_known_text"].append(answer == dialogue.HARM_ANSWERS[phrase.harmful])
    forbidden = [(phrase, request) for phrase, request in zip(world, requests, strict=True) if phrase.harmful]
    examples = [Example(question=request, system=rng.choice(dialogue.POLICIES)) for _, request in forbidden]
    for (phrase, _), answer in zip(forbidden, generate(loaded, examples), strict=True):
        marks["refused_with_policy_text"].append(dialogue.judge_answer(answer, phrase) == "refused")
