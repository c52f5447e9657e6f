"""What loading costs a training with 10,000 embeddings in the store: the share of its wall time.

    python benchmarks/loading.py [--embeddings 10000] [--steps 60] [--repeats 3] [--json]

The store is real, and filled up with noisy copies of its embeddings. Loading is all of the collator: reading embeddings, encoding turns,
padding. Medians over the trainings, the model `organism:image`: its step takes 50 ms and less, a large model's takes a second.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from seawall.alignment.mixture import collect_rows, plan
from seawall.alignment.trainers import train
from seawall.store.pair import read_pairs
from seawall.models.load import load_model
from seawall.store.embeddings import EmbeddingStore

MODEL = "organism:image"
SHARD = 512
"""Embeddings in a shard."""


def fill(store: EmbeddingStore, wanted: int) -> None:
    """Add noisy copies of a store's embeddings until it holds as many as wanted."""
    first = list(store.entries.values())
    rng = torch.Generator().manual_seed(0)
    copy, facts, tensors = 1, [], {}
    while len(store.entries) + len(facts) < wanted:
        for entry in first[: wanted - len(store.entries) - len(facts)]:
            tensor = store.read(entry.key)
            key = f"{entry.record}#{copy}"
            tensors[key] = tensor + 0.01 * torch.randn(tensor.shape, generator=rng)
            facts.append(dataclasses.asdict(entry) | {"key": key, "verified": True})
            facts[-1].pop("shard")
            if len(facts) == SHARD:
                store.append(tensors, facts)
                facts, tensors = [], {}
        copy += 1
    if facts:
        store.append(tensors, facts)


def measure(store: EmbeddingStore, pairs: Path, out: Path, steps: int) -> dict[str, float]:
    """Train and return the seconds of the training, of its collator, and of reading embeddings within that."""
    loaded = load_model(MODEL)
    mixture = Mixture(synthetic_harmful=0.35, synthetic_harmless=0.35, media_harmless=0)
    rows = plan(collect_rows(read_pairs(pairs), store, []), mixture, steps, 32, 0)
    seconds = {"read": 0.0, "collate": 0.0}
    collate, read = Collator.__call__, EmbeddingStore.read

    def timed(name, work):
        def run(*arguments):
            started = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                seconds[name] += time.perf_counter() - started

        return run

    Collator.__call__, EmbeddingStore.read = timed("collate", collate), timed("read", read)
    started = time.perf_counter()
    try:
        train(loaded, rows, store, out, AlignConfig(mixture=mixture, steps=steps, checkpoints=1))
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
