"""Data of the synthesis benchmarks: the built-in records in two parts, and harmless images as the bank."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from seawall.lab.world import data
from seawall.preparation.run import prepare
from seawall.store.pair import Pair, read_pairs

TUNING = 48
"""Number of records to choose settings on. Nothing is measured on them."""


def make_data(folder: Path | None = None) -> tuple[list[Pair], list[Pair], Path, Path]:
    """Write records as a user would have them, and prepare them.

    Args:
        folder: Folder to write to, or to reuse. None makes a temporary one.

    Returns:
        Pairs to choose settings on, pairs to measure on, the folder of all pairs, and the folder of the bank.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="seawall-benchmark-"))
    if not (folder / "pairs" / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        data.write_records(folder / "records.jsonl")
        data.write_media(folder / "bank", "harmless", each=4)
        prepare(folder / "records.jsonl", folder / "pairs")
    pairs = read_pairs(folder / "pairs")
    random.Random("benchmark").shuffle(pairs)
    return pairs[:TUNING], pairs[TUNING:], folder / "pairs", folder / "bank"
