"""A small piece of work for the organism: records, their pairs, a bank, and what one process makes of them."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

import seawall
from seawall.store.files import read_json
from seawall.store.pair import read_pairs
from seawall.lab.world import data
from seawall.store.embeddings import EmbeddingStore

CONFIG = seawall.SynthesizeConfig(copies=1)
TOLERANCE = {"rtol": 1e-3, "atol": 1e-2}
"""Of embeddings (standard deviation 10) made in different batches, as docs/synthesis.md states it."""


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> types.SimpleNamespace:
    folder = tmp_path_factory.mktemp("work")
    data.write_records(folder / "records.jsonl", 3)
    data.write_media(folder / "bank", "harmless", each=1, phrases=3)
    seawall.preparation.run(folder / "records.jsonl", folder / "pairs")
    seawall.synthesis.config("organism:image", folder / "pairs", folder / "whole", CONFIG, bank=folder / "bank")
    return types.SimpleNamespace(
        folder=folder,
        pairs=folder / "pairs",
        bank=folder / "bank",
        whole=folder / "whole",
        keys=[f"{pair['id']}#0" for pair in read_pairs(folder / "pairs")],
    )


def assert_same_set(folder: Path, whole: Path, **tolerance: float) -> None:
    """The same keys, content hashes and outcomes, and embeddings equal to the tolerance (by default the stated one)."""
    one, other = EmbeddingStore(folder), EmbeddingStore(whole)
    assert one.entries.keys() == other.entries.keys()
    for key, entry in one.entries.items():
        assert (entry.content, entry.outcome) == (other.entries[key].content, other.entries[key].outcome)
        torch.testing.assert_close(one.read(key), other.read(key), **(tolerance or TOLERANCE))
    counts = [
        {k: read_json(f / "synthesis.json")[k] for k in ("records", "embeddings", "vsr")} for f in (folder, whole)
    ]
    assert counts[0] == counts[1]
