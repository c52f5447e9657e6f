"""What the benchmarks of the synthesis share: the organism's records, in two parts, and harmless images as the bank."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from seawall.store.pair import read_pairs
from seawall.lab.world import data
from seawall.preparation.run import prepare

TUNING = 48
"""Records that settings are chosen on; no figure is measured on them."""


def make_data(folder: Path | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Path, Path]:
    """Write the organism's records as a user would have them.

    Args:
        folder: Where to; by default a temporary folder.

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
