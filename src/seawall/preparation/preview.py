"""Some pairs of a selection, and the number that it will give, without a question to a model."""

from __future__ import annotations

import dataclasses
import itertools

from seawall.errors import DataError
from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import Extraction, make_pair
from seawall.preparation.making import extract_pairs
from seawall.preparation.sources.select import Selection
from seawall.store.pair import KINDS, Pair, Record

EXTRACTED = 200
"""Maximum number of records of each kind whose phrases are looked for."""


def preview_pairs(selection: Selection, config: PrepareConfig, count: int) -> tuple[list[Pair], dict[str, int]]:
    """Return some pairs of both kinds in turn, and the expected number of pairs of each kind.

    Args:
        selection: What the sources contain.
        config: Settings. The rules stand for another extractor.
        count: Maximum number of pairs to return.

    Raises:
        DataError: No pair could be made.
    """
    samples, counts = [], {}
    for kind in KINDS:
        records = [record for record in selection.records if record.kind == kind]
        kept = [pair for pair in selection.pairs if pair.kind == kind]
        some = records[:EXTRACTED]
        made = extract_pairs(some, dataclasses.replace(config, extractor="rules"), None)[0]
        counts[kind] = len(kept) + len(records)
        if config.extractor == "rules":
            counts[kind] = len(kept) + round(len(made) / max(1, len(some)) * len(records))
        elif not made:  # the rules need requests of another form than the extractor does
            made = [_pretend_pair(record, config) for record in some]
        samples.append([*kept, *made][: count // 2])
    if not any(samples):
        raise DataError("No pair could be made from the sources. Run `seawall prepare` on them to see why.")
    pairs = [pair for both in itertools.zip_longest(*samples) for pair in both if pair]
    return pairs, _cut_to_sample(counts, config)


def _cut_to_sample(counts: dict[str, int], config: PrepareConfig) -> dict[str, int]:
    """Return how many pairs of each kind a sample is expected to have."""
    total = sum(counts.values())
    if config.sample is None or not total:
        return counts
    if config.balance:
        return {kind: min(count, config.sample // 2) for kind, count in counts.items()}
    return {kind: round(count * min(1, config.sample / total)) for kind, count in counts.items()}


def _pretend_pair(record: Record, config: PrepareConfig) -> Pair:
    """Return a pair of usual length for a record, with its last words as the phrase."""
    phrase = " ".join(record.instruction.rstrip(" .?!").split()[-3:])
    extraction = Extraction(phrase=phrase, category="activity", instruction=record.instruction)
    return make_pair(
        record,
        extraction,
        seed=config.seed,
        modality=config.modality,
        extractor="rules",
        whole_requests=config.whole_requests,
        style_controls=config.style_controls,
    )
