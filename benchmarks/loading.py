"""Measure the share of a training's wall time that loading takes, with 10,000 embeddings in the store.

    python benchmarks/loading.py [--embeddings 10000] [--steps 60] [--repeats 3] [--json]

The store is real and is filled up with noisy copies of its embeddings. Loading is everything that the collator does:
reading embeddings, encoding examples, padding. The results are medians over the trainings. The model is
`organism:image`, whose step takes at most 50 ms; a step of a large model takes about a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch

from common import make_data
from seawall import AlignConfig, Mixture, SynthesizeConfig, synthesize
from seawall.alignment.collate import Collator
from seawall.alignment.mixture import collect_examples, plan_training
from seawall.alignment.trainers import train
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore
from seawall.store.pair import read_pairs

MODEL = "organism:image"
SHARD = 512
"""Embeddings in a shard."""


def fill(store: EmbeddingStore, wanted: int) -> None:
    """Add noisy copies of a store's embeddings until it has the wanted number."""
    originals = list(store.entries.values())
    generator = torch.Generator().manual_seed(0)
    missing = wanted - len(originals)
    sources = itertools.islice(itertools.cycle(originals), missing)
    for first in range(0, missing, SHARD):
        tensors, entries = {}, []
        for number, entry in enumerate(itertools.islice(sources, SHARD), first):
            key = f"{entry.record}#{1 + number // len(originals)}"
            tensor = store.read(entry.key)
            tensors[key] = tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
            entries.append(dataclasses.replace(entry, key=key, verified=True))
        store.append(tensors, entries)


def measure(store: EmbeddingStore, pairs: Path, out: Path, steps: int) -> dict[str, float]:
    """Train, and return the seconds for the training, for its collator, and for reading embeddings in the collator."""
    loaded = load_model(MODEL)
    mixture = Mixture(synthetic_harmful=0.35, synthetic_harmless=0.35, media_harmless=0)
    examples = plan_training(collect_examples(read_pairs(pairs), store, []), mixture, steps, 32, 0)
    seconds = {"read": 0.0, "collate": 0.0}
    collate, read = Collator.__call__, EmbeddingStore.read

    def timed(name, work):
        def call(*arguments):
            started = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                seconds[name] += time.perf_counter() - started

        return call

    Collator.__call__, EmbeddingStore.read = timed("collate", collate), timed("read", read)
    started = time.perf_counter()
    try:
        train(loaded, examples, store, out, AlignConfig(mixture=mixture, steps=steps, num_checkpoints=1))
    finally:
        Collator.__call__, EmbeddingStore.read = collate, read
    return {"train": time.perf_counter() - started, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("seawall").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, _, pairs, bank = make_data(folder)
        config = SynthesizeConfig(copies=1, warm_start=0, max_steps=10)
        synthesize(MODEL, pairs, folder / "embeddings", config, bank=bank)
        fill(EmbeddingStore(folder / "embeddings"), arguments.embeddings)
        store = EmbeddingStore(folder / "embeddings")
        runs = [measure(store, pairs, folder / f"run{n}", arguments.steps) for n in range(arguments.repeats)]
        gigabytes = sum(path.stat().st_size for path in (folder / "embeddings").glob("*.safetensors")) / 1e9
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    result = {
        "embeddings": len(store.entries),
        "gigabytes": gigabytes,
        "steps": arguments.steps,
        "seconds": median,
        "share": statistics.median(run["collate"] / run["train"] for run in runs),
        "share_read": statistics.median(run["read"] / run["train"] for run in runs),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['embeddings']} embeddings, {gigabytes:.2f} GB; {arguments.steps} steps in {median['train']:.1f} s")
    print(f"loading {result['share']:.1%} of it, reading embeddings {result['share_read']:.1%}")


if __name__ == "__main__":
    main()
