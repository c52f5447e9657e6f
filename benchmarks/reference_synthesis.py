"""The reference for all speed measurements: the synthesis of the paper in a straightforward implementation.

    python benchmarks/reference_synthesis.py --tune [--json]
    python benchmarks/reference_synthesis.py --pairs DIR --embeddings-out DIR [--twins]

It makes one record at a time from a blank medium, with two auxiliary examples per step (one content, one style), Adam
and a fixed number of steps. The usual savings are there: the model is frozen, the batch of a record is built once,
and the encoder's layers are not run again. Source: SEA, section 3.2.

`RATE` and `STEPS` were chosen by `--tune` on 48 records of organism:image on which nothing is measured. Every
learning rate runs to the largest number of steps and is verified on the way. The fewest steps win among the settings
whose VSR is within 0.01 of the best, then the better VSR (notes/2026-11-25-reference-tuned.md has the table). `--embeddings-out`
writes a store like that of `seawall synthesize`, for `seawall align` to train on.
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
from seawall.models.chat import BLANK, IGNORED, to_model
from seawall.models.encode import encode_media
from seawall.models.inject import inject
from seawall.models.load import LoadedModel, load_model
from seawall.store.artifacts import claim, finish
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.files import hash_file, write_json
from seawall.store.maintenance import SUMMARY, summarize_entries
from seawall.store.pair import PAIRS, Pair, read_modality, read_pairs
from seawall.store.writer import BlockWriter
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import make_example
from seawall.synthesis.verify import verify_embeddings

RATE = 0.4
"""Learning rate of Adam, relative to the standard deviation of the blank's embedding."""
STEPS = 10
"""Optimiser steps."""
RATES = (0.025, 0.05, 0.1, 0.2, 0.4)
"""Learning rates that `--tune` tries."""
COUNTS = (5, 10, 15, 20, 30, 40, 60, 80)
"""Numbers of steps that `--tune` tries."""


def trace(loaded: LoadedModel, pair: Pair, blank: Tensor, rate: float, steps: int) -> Iterator[Tensor]:
    """Yield `E` of one record after each step.

    Args:
        loaded: The model, frozen.
        pair: The record.
        blank: Starting point, shape = (1, rows, width).
        rate: See `RATE`.
        steps: Optimiser steps.
    """
    examples = [make_example(control) for control in (pair.content[0], pair.style) if control]
    batch = to_model(loaded.chat.batch(examples), loaded.model)
    targets = batch.pop("labels")[:, 1:]
    embedding = blank.clone().requires_grad_()
    adam = torch.optim.Adam([embedding], lr=rate * blank.std().item())
    for _ in range(steps):
        with inject(loaded.model, loaded.family, embedding.expand(len(examples), *blank.shape[1:])):
            logits = loaded.model(**batch, use_cache=False).logits[:, :-1].float()
        each = nn.functional.cross_entropy(logits.mT, targets, ignore_index=IGNORED, reduction="none")
        (each.sum(1) / (targets != IGNORED).sum(1)).mean().backward()
        adam.step()
        adam.zero_grad()
        yield embedding.detach().clone()


def synthesize_one(loaded: LoadedModel, pair: Pair, blank: Tensor, rate: float = RATE, steps: int = STEPS) -> Tensor:
    """Return the finished `E` of one record, shape = (1, rows, width)."""
    *_, last = trace(loaded, pair, blank, rate, steps)
    return last


def tune(loaded: LoadedModel, pairs: list[Pair]) -> list[dict[str, float]]:
    """Return VSR by learning rate and number of steps."""
    blank = encode_media(loaded, [BLANK])
    table = []
    for rate in RATES:
        traces = [list(trace(loaded, pair, blank, rate, COUNTS[-1])) for pair in pairs]
        for steps in COUNTS:
            embeddings = torch.cat([steps_of[steps - 1] for steps_of in traces])
            verified = verify_embeddings(loaded, embeddings, pairs)
            table.append({"rate": rate, "steps": steps, "vsr": sum(verified) / len(pairs)})
    return table


def choose(table: list[dict[str, float]]) -> dict[str, float]:
    """Return the row with the fewest steps whose VSR is within 0.01 of the best; of several, the best one."""
    best = max(row["vsr"] for row in table)
    return min(
        (row for row in table if row["vsr"] >= best - 0.01), key=lambda row: (row["steps"], -row["vsr"], row["rate"])
    )


def write_store(model: str, pairs: Path, out: Path, twins: bool = False) -> dict[str, Any]:
    """Write the reference's embeddings as `seawall synthesize` would. Without `twins` only those of harmful records."""
    loaded = load_model(model, modality=read_modality(pairs))
    loaded.model.requires_grad_(False)
    config = SynthesizeConfig(
        copies=1,
        twins=twins,
        start="blank",
        warm_start=0,
        content_questions=1,
        learning_rate=RATE,
        threshold=0,
        max_steps=STEPS,
        attempts=1,
    )
    inputs = {"model": loaded.fingerprint, "pairs": hash_file(pairs / PAIRS), "bank": BLANK.value}
    claim(out, "synthesize", config, inputs)
    store, blank = EmbeddingStore(out), encode_media(loaded, [BLANK])
    writer = BlockWriter(store, finished=[])
    for pair in read_pairs(pairs):
        if pair.kind != "harmful" and not twins:
            continue
        embeddings = synthesize_one(loaded, pair, blank)
        (verified,) = verify_embeddings(loaded, embeddings, [pair])
        content = store.hash_content(pair)
        entry = Entry(
            key=f"{pair.id}#0", record=pair.id, content=content, kind=pair.kind, verified=verified, steps=STEPS
        )
        writer.add("reference", [(entry, embeddings[0])])
    writer.finish("reference")
    summary = summarize_entries([*store.entries.values()], store.history)
    write_json(out / SUMMARY, summary)
    finish(out, counts={key: summary[key] for key in ("records", "embeddings")})
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="organism:image")
    parser.add_argument(
        "--tune", action="store_true", help="print VSR by learning rate and steps, and the best setting"
    )
    parser.add_argument("--pairs", type=Path, help="folder made by `seawall prepare`")
    parser.add_argument("--embeddings-out", type=Path, help="folder for a store of the reference's embeddings")
    parser.add_argument("--twins", action="store_true", help="also for harmless records, which the paper does not have")
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
