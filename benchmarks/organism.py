"""Error analysis of `organism:image`: by font, by question, and tower against language model.

    python benchmarks/organism.py [--model organism:image] [--json]

It prints three tables: the share of new writings that the model names, by pool of styles and font; the share of style
questions that it answers, by question; and what a linear probe reads from the mean of the tower's outputs (trained on
6,000 new images in known styles, tested on others). It takes less than two minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seawall import prompts
from seawall.lab.organisms.image import Sample, render_all
from seawall.lab.world import drawing
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, list_all_phrases
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel, load_model

PROBED = 6_000
"""Images that the probe is trained on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="organism:image")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    loaded = load_model(arguments.model)
    tables = {
        "writing named": measure_naming(loaded),
        "style answered": measure_styles(loaded),
        "probe": run_probe(loaded),
    }
    if arguments.json:
        print(json.dumps(tables))
        return
    for title, table in tables.items():
        print(title)
        for name, share in table.items():
            print(f"  {name:45} {share['share']:.3f}  n = {share['n']}")


def measure_naming(loaded: LoadedModel) -> dict[str, dict[str, Any]]:
    """Return the share of writings that the model names, by pool and font."""
    question = prompts.get_sentences("image").content_questions[0]
    marks: dict[str, list[bool]] = defaultdict(list)
    for pool in drawing.POOLS:
        samples = draw_samples(f"naming/{pool}", (pool,), ("writing",))
        questions = [prompts.format_question(question, "image", phrase.category) for phrase, _, _ in samples]
        for (phrase, _, style), answer in zip(samples, ask(loaded, samples, questions), strict=True):
            for key in (pool, f"{pool}: {style.font}"):
                marks[key].append(phrase.text in answer)
    return compute_shares(marks)


def measure_styles(loaded: LoadedModel) -> dict[str, dict[str, Any]]:
    """Return the share of style questions about images in known styles that the model answers exactly, by question."""
    samples = draw_samples("styles", ("train",), drawing.FORMS)
    marks: dict[str, list[bool]] = defaultdict(list)
    for question, (target, _) in prompts.get_sentences("image").styles.items():
        values = [drawing.list_style_answers(style, form)[question] for _, form, style in samples]
        questions = [prompts.format_question(question, "image", phrase.category) for phrase, _, _ in samples]
        for value, answer in zip(values, ask(loaded, samples, questions), strict=True):
            key = prompts.format_question(question, "image", "activity")
            marks[key].append(answer == target.format(style=value))
    return compute_shares(marks)


def run_probe(loaded: LoadedModel) -> dict[str, dict[str, Any]]:
    """Return the share of new images whose words, colour and texture a linear layer reads from the tower's mean output."""
    rng, world = random.Random("probe"), list_all_phrases()
    pools: tuple[drawing.Pool, ...] = ("train", "encoder")
    train = [(rng.choice(world), rng.choice(drawing.FORMS), drawing.draw_style(rng, *pools)) for _ in range(PROBED)]
    test = draw_samples("probe/test", pools, drawing.FORMS)
    style_values = [[v for pool in pools for v in drawing.POOLS[pool][name]] for name in ("colour", "texture")]
    classes = [FIRST_WORDS, SECOND_WORDS, *style_values]
    rows = [(phrase.first, phrase.second, style.colour, style.texture) for phrase, _, style in train + test]
    labels = torch.tensor([[names.index(v) for names, v in zip(classes, row, strict=True)] for row in rows])
    features = encode(loaded, train + test)
    heads = fit_heads(features[:PROBED], labels[:PROBED], [len(names) for names in classes])
    with torch.no_grad():
        right = torch.stack([h(features[PROBED:]).argmax(1) == labels[PROBED:, i] for i, h in enumerate(heads)], 1)
    writing = torch.tensor([form == "writing" for _, form, _ in test])
    return compute_shares(
        {
            "both words, writing": right[writing][:, :2].all(1).tolist(),
            "both words, picture": right[~writing][:, :2].all(1).tolist(),
            "colour": right[:, 2].tolist(),
            "texture": right[:, 3].tolist(),
        }
    )


def fit_heads(features: Tensor, labels: Tensor, classes: list[int]) -> nn.ModuleList:
    """Return one linear classifier for each column of the labels."""
    width = features.shape[1]
    heads = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, number)) for number in classes)
    adam = torch.optim.Adam(heads.parameters(), 5e-3)
    for _ in range(400):
        rows = torch.randint(len(features), (1_000,))
        losses = [nn.functional.cross_entropy(head(features[rows]), labels[rows, i]) for i, head in enumerate(heads)]
        adam.zero_grad()
        sum(losses).backward()
        adam.step()
    return heads


def draw_samples(seed: str, pools: tuple[drawing.Pool, ...], forms: tuple[drawing.Form, ...]) -> list[Sample]:
    """Return every phrase once in each form."""
    rng = random.Random(seed)
    return [(phrase, form, drawing.draw_style(rng, *pools)) for phrase in list_all_phrases() for form in forms]


def ask(loaded: LoadedModel, samples: list[Sample], questions: list[str]) -> list[str]:
    """Return the answers to one question about each image, read from PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        examples = []
        for number, (sample, question) in enumerate(zip(samples, questions, strict=True)):
            path = Path(folder, f"{number}.png")
            drawing.render(*sample).save(path)
            examples.append(Example(question=question, medium=path))
        return generate(loaded, examples)


@torch.no_grad()
def encode(loaded: LoadedModel, samples: list[Sample]) -> Tensor:
    """Return the mean of the tower's outputs over patches, shape = (images, width)."""
    tower = loaded.model.model.vision_tower
    pixels = render_all(samples, loaded.processor)
    outputs = (tower(batch.float(), output_hidden_states=True).hidden_states[-1] for batch in pixels.split(256))
    return torch.cat([hidden[:, 1:].mean(1) for hidden in outputs])


def compute_shares(marks: dict[str, list[bool]]) -> dict[str, dict[str, Any]]:
    return {name: {"share": sum(values) / len(values), "n": len(values)} for name, values in marks.items()}


if __name__ == "__main__":
    main()
