"""A small synthesis on the built-in image model, and a comparison of stores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from seawall.lab.world import data
from seawall.preparation.run import prepare
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.run import synthesize

CONFIG = SynthesizeConfig(copies=1)
TOLERANCE = {"rtol": 1e-3, "atol": 1e-2}
"""Tolerance for embeddings (standard deviation 10) made in different batches, as docs/how_to/resume.md states it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallRun:
    """Folders of the run, made in one process without interruption."""

    pairs: Path
    """12 pairs."""
    bank: Path
    """3 harmless images."""
    embeddings: Path
    """The finished store."""
    keys: list[str]
    """Key of the embedding of each pair."""


def make_small_run(folder: Path) -> SmallRun:
    """Write records and a bank, and run `prepare` and `synthesize` on them."""
    data.write_records(folder / "records.jsonl", 3)
    data.write_media(folder / "bank", "harmless", each=1, phrases=3)
    prepare(folder / "records.jsonl", folder / "pairs")
    synthesize("organism:image", folder / "pairs", folder / "embeddings", CONFIG, bank=folder / "bank")
    return SmallRun(
        pairs=folder / "pairs",
        bank=folder / "bank",
        embeddings=folder / "embeddings",
        keys=[f"{pair.id}#0" for pair in read_pairs(folder / "pairs")],
    )


def assert_same_embeddings(folder: Path, expected: Path, **tolerance: float) -> None:
    """Assert that two stores have equal keys, content hashes and outcomes, and embeddings within the tolerance."""
    one, other = EmbeddingStore(folder), EmbeddingStore(expected)
    assert one.entries.keys() == other.entries.keys()
    for key, entry in one.entries.items():
        assert (entry.content, entry.outcome) == (other.entries[key].content, other.entries[key].outcome)
        torch.testing.assert_close(one.read(key), other.read(key), **(tolerance or TOLERANCE))
    summaries = [read_json(path / "synthesis.json") for path in (folder, expected)]
    for name in ("records", "embeddings", "vsr"):
        assert summaries[0][name] == summaries[1][name]


def assert_equal_embeddings(folder: Path, expected: Path) -> None:
    """Assert that two stores have the same keys, outcomes, steps and loss curves, and embeddings with the same bytes."""
    one, other = EmbeddingStore(folder), EmbeddingStore(expected)
    assert one.entries.keys() == other.entries.keys()
    for key, entry in one.entries.items():
        for name in ("content", "outcome", "steps", "attempts", "curve", "block"):
            assert getattr(entry, name) == getattr(other.entries[key], name), (key, name)
        assert torch.equal(one.read(key), other.read(key)), key
