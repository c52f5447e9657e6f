"""Where the errors of `organism:image` come from: which font, which question, tower or language model.

    python benchmarks/organism.py [--model organism:image] [--json]

Prints the share of fresh writings named, by pool of styles and font; the share of style questions answered, by
question; and what a linear probe reads from the mean of the tower's outputs (trained on 6,000 fresh images in known
styles, tested on others). Under two minutes on 2 cores.
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
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel, load_model
from seawall.lab.world import drawing
from seawall.lab.organisms.image import Sample, render_all
from seawall.lab.world.phrases import FIRST_WORDS, SECOND_WORDS, phrases

PROBED = 6_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="organism:image")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    loaded = load_model(arguments.model)
    tables = {"writing named": naming(loaded), "style answered": styles(loaded), "probe": probe(loaded)}
    if arguments.json:
        print(json.dumps(tables))
        return
    for title, table in tables.items():
        print(title)
        for name, share in table.items():
            print(f"  {name:45} {share['share']:.3f}  n = {share['n']}")


def naming(loaded: LoadedModel) -> dict[str, dict[str, float]]:
    """Share of writings named, greedily, by pool and font."""
    samples = {pool: draw(f"naming/{pool}", (pool,), ("writing",)) for pool in drawing.POOLS}
    question = prompts.get_sentences("image").content_questions[0]
    marks = defaultdict(list)
    for pool, drawn in samples.items():
        turns = [prompts.format_question(question, "image", phrase.category) for phrase, _, _ in drawn]
        for (phrase, _, style), answer in zip(drawn, ask(loaded, drawn, turns), strict=True):
            for key in (pool, f"{pool}: {style.font}"):
                marks[key].append(phrase.text in answer)
    return shares(marks)


def styles(loaded: LoadedModel) -> dict[str, dict[str, float]]:
    """Share of style questions about images in known styles that are answered exactly, by question."""
    drawn = draw("styles", ("train",), drawing.FORMS)
    marks = defaultdict(list)
    for number, (question, (target, _)) in enumerate(prompts.get_sentences("image").styles.items()):
        values = [
            (s.colour, s.texture, "a drawing" if form == "picture" else "writing")[number] for _, form, s in drawn
        ]
        turns = [prompts.format_question(question, "image", phrase.category) for phrase, _, _ in drawn]
        for value, answer in zip(values, ask(loaded, drawn, turns), strict=True):
            marks[prompts.format_question(question, "image", "activity")].append(answer == target.format(style=value))
    return shares(marks)


def probe(loaded: LoadedModel) -> dict[str, dict[str, float]]:
    """Share of fresh images of which a linear layer on the tower's mean output tells words, colour and texture."""
    rng, world = random.Random("probe"), phrases()
    pools = ("train", "encoder")
    train = [(rng.choice(world), rng.choice(drawing.FORMS), drawing.draw_style(rng, *pools)) for _ in range(PROBED)]
    test = draw("probe/test", pools, drawing.FORMS)
    classes = [
        FIRST_WORDS,
        SECOND_WORDS,
        *([v for p in pools for v in drawing.POOLS[p][n]] for n in ("colour", "texture")),
    ]
    labels = torch.tensor(
        [
            [c.index(v) for c, v in zip(classes, (p.first, p.second, s.colour, s.texture), strict=True)]
            for p, _, s in train + test
        ]
    )
    features = encode(loaded, train + test)
    heads = nn.ModuleList(
        nn.Sequential(nn.LayerNorm(features.shape[1]), nn.Linear(features.shape[1], len(c))) for c in classes
    )
    adam = torch.optim.Adam(heads.parameters(), 5e-3)
    for _ in range(400):
        rows = torch.randint(PROBED, (1_000,))
        loss = sum(nn.functional.cross_entropy(head(features[rows]), labels[rows, i]) for i, head in enumerate(heads))
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        right = torch.stack([h(features[PROBED:]).argmax(1) == labels[PROBED:, i] for i, h in enumerate(heads)], 1)
    writing = torch.tensor([form == "writing" for _, form, _ in test])
    return shares(
        {
            "both words, writing": right[writing][:, :2].all(1).tolist(),
            "both words, picture": right[~writing][:, :2].all(1).tolist(),
            "colour": right[:, 2].tolist(),
            "texture": right[:, 3].tolist(),
        }
    )


def draw(seed: str, pools: tuple[drawing.Pool, ...], forms: tuple[drawing.Form, ...]) -> list[Sample]:
    """Draw every phrase once in each form."""
    rng = random.Random(seed)
    return [(phrase, form, drawing.draw_style(rng, *pools)) for phrase in phrases() for form in forms]


def ask(loaded: LoadedModel, samples: list[Sample], questions: list[str]) -> list[str]:
    """Return the answers to one question about each image, read from PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        turns = []
        for number, (sample, question) in enumerate(zip(samples, questions, strict=True)):
            path = Path(folder, f"{number}.png")
            drawing.render(*sample).save(path)
            turns.append(Example(question=question, medium=path))
        return generate(loaded, turns)


@torch.no_grad()
def encode(loaded: LoadedModel, samples: list[Sample]) -> Tensor:
    """Return the mean over patches of the tower's outputs, shape = (images, width)."""
    tower = loaded.model.model.vision_tower
    pixels = render_all(samples, loaded.processor)
    outputs = (tower(some.float(), output_hidden_states=True).hidden_states[-1] for some in pixels.split(256))
    return torch.cat([hidden[:, 1:].mean(1) for hidden in outputs])


def shares(marks: dict[str, list[bool]]) -> dict[str, dict[str, Any]]:
    return {name: {"share": sum(values) / len(values), "n": len(values)} for name, values in marks.items()}


if __name__ == "__main__":
    main()
