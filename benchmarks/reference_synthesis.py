"""The baseline of every speed figure: the synthesis of the paper, written straightforwardly.

    python benchmarks/reference_synthesis.py --tune [--json]
    python benchmarks/reference_synthesis.py --pairs DIR --embeddings-out DIR [--twins]

One record at a time, from a blank, with two auxiliary rows a step (one content, one style), Adam, a fixed number of
steps. What anyone would write is there: the model is frozen, a record's batch is made once, the encoder's layers are not
run again. Nothing else is. Source: SEA, section 3.2.

`RATE` and `STEPS` were chosen by `--tune` on 48 records of organism:image that no figure is measured on: every rate
runs to the largest number of steps and is verified on the way; the fewest steps win among those whose VSR is within 0.01
of the best, then the better VSR (docs/synthesis_speed.md has the table). `--embeddings-out` writes a store like that of
`seawall synthesize`, for `seawall align` to train on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common import make_data
from seawall.store.artifacts import claim, finish
from seawall.store.files import hash_file, write_json
from seawall.store.pair import read_modality, read_pairs
from seawall.store.maintenance import SUMMARY, summarize_entries
from seawall.models.chat import BLANK, IGNORED, Example, to_model
from seawall.models.encode import encode_media
from seawall.models.inject import inject
from seawall.models.load import LoadedModel, load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.optimize import Task
from seawall.synthesis.verify import verify
from seawall.store.writer import Writer

RATE = 0.4
"""Adam's, as a share of the standard deviation of the blank's embedding."""
STEPS = 10
RATES = (0.025, 0.05, 0.1, 0.2, 0.4)
COUNTS = (5, 10, 15, 20, 30, 40, 60, 80)


def trace(loaded: LoadedModel, pair: dict[str, Any], blank: Tensor, rate: float, steps: int) -> Iterator[Tensor]:
    """Yield `E` of one record after each step.

    Args:
        loaded: The model, frozen.
        pair: The record.
        blank: Where it starts, shape = (1, rows, width).
        rate: As `RATE`.
        steps: Optimiser steps.
    """
    turns = [Example(**pair[control], medium=BLANK) for control in ("content", "style")]
    batch = to_model(loaded.chat.batch(turns), loaded.model)
    targets = batch.pop("labels")[:, 1:]
    embedding = blank.clone().requires_grad_()
    adam = torch.optim.Adam([embedding], lr=rate * blank.std().item())
    for _ in range(steps):
        with inject(loaded.model, loaded.family, embedding.expand(len(turns), *blank.shape[1:])):
            logits = loaded.model(**batch, use_cache=False).logits[:, :-1].float()
        each = nn.functional.cross_entropy(logits.mT, targets, ignore_index=IGNORED, reduction="none")
        (each.sum(1) / (targets != IGNORED).sum(1)).mean().backward()
        adam.step()
        adam.zero_grad()
        yield embedding.detach().clone()


def synthesize_one(
    loaded: LoadedModel, pair: dict[str, Any], blank: Tensor, rate: float = RATE, steps: int = STEPS
) -> Tensor:
    """Return the finished `E` of one record, shape = (1, rows, width)."""
    *_, last = trace(loaded, pair, blank, rate, steps)
    return last


def tune(loaded: LoadedModel, pairs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return VSR by rate and number of steps."""
    blank = encode_media(loaded, [BLANK])
    table = []
    for rate in RATES:
        traces = [list(trace(loaded, pair, blank, rate, COUNTS[-1])) for pair in pairs]
        for steps in COUNTS:
            verified = verify(loaded, torch.cat([embeddings[steps - 1] for embeddings in traces]), pairs)
            table.append({"rate": rate, "steps": steps, "vsr": sum(verified) / len(pairs)})
    return table


def choose(table: list[dict[str, float]]) -> dict[str, float]:
    """Return the cheapest row whose VSR is within 0.01 of the best; of equally cheap ones the better."""
    best = max(row["vsr"] for row in table)
    return min(
        (row for row in table if row["vsr"] >= best - 0.01), key=lambda row: (row["steps"], -row["vsr"], row["rate"])
    )


def write_store(model: str, pairs: Path, out: Path, twins: bool = False) -> dict[str, Any]:
    """Write the reference's embeddings, of the harmful records alone unless there are `twins`, as `seawall synthesize` would."""
    loaded = load_model(model, modality=read_modality(pairs))
    loaded.model.requires_grad_(False)
    config = SynthesizeConfig(
        copies=1,
        twins=twins,
        start="blank",
        warm_start=0,
        content_questions=1,
        rate=RATE,
        threshold=0,
        max_steps=STEPS,
        starts=1,
    )
    claim(
        out,
        "synthesize",
        config,
        {"model": loaded.fingerprint, "pairs": hash_file(pairs / "pairs.jsonl"), "bank": BLANK},
    )
    wanted = {pair["id"]: pair for pair in read_pairs(pairs) if twins or pair["kind"] == "harmful"}
    store, blank = EmbeddingStore(out), encode_media(loaded, [BLANK])
    writer = Writer(store, wanted, before=[])
    for record, pair in wanted.items():
        embeddings = synthesize_one(loaded, pair, blank)
        verified = verify(loaded, embeddings, [pair])
        writer.add(Task(record=record, turns=[[]], embeddings=embeddings, verified=verified, steps_before=STEPS))
    writer.write()
    summary = summarize_entries([*store.entries.values()], store.history)
    write_json(out / SUMMARY, summary)
    finish(out, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="organism:image")
    parser.add_argument("--tune", action="store_true", help="print VSR by rate and steps, and the choice")
    parser.add_argument("--pairs", type=Path, help="folder of `seawall prepare`")
    parser.add_argument("--embeddings-out", type=Path, help="folder for a store of the reference's embeddings")
    parser.add_argument("--twins", action="store_true", help="of harmless records too, which the paper does not have")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.tune:
        loaded = load_model(arguments.model)
        loaded.model.requires_grad_(False)
        table = tune(loaded, make_data()[0])
        result = {"table": table, "chosen": choose(table)}
    elif arguments.pairs and arguments.embeddings_out:
        result = write_store(arguments.model, arguments.pairs, arguments.embeddings_out, arguments.twins)
    else:
        parser.error("give --tune, or --pairs and --embeddings-out")
    if arguments.json or not arguments.tune:
        print(json.dumps(result))
        return
    print("rate   " + "".join(f"{steps:>6}" for steps in COUNTS) + "  steps")
    for rate in RATES:
        print(f"{rate:<7}" + "".join(f"{row['vsr']:6.2f}" for row in result["table"] if row["rate"] == rate))
    print("chosen:", result["chosen"])


if __name__ == "__main__":
    main()
