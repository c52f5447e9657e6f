"""Stage 1, `prepare`: text safety data -> alignment pairs."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Literal

from seawall.artifacts import claim, finish, hash_file, write_jsonl
from seawall.errors import ConfigError, DataError
from seawall.phrasing import MEDIA

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Settings of `prepare`."""

    modality: Literal["image", "video", "audio"] = "image"
    """What the embeddings will stand for."""
    extractor: Literal["rules"] = "rules"
    """How phrases are found."""
    seed: int = 0
    """Seed of the drawn questions, styles and announcements."""

    def __post_init__(self) -> None:
        faults = []
        if self.modality not in MEDIA:
            faults.append(f"modality is {self.modality!r}; it must be one of {', '.join(MEDIA)}")
        if self.extractor != "rules":
            faults.append(f"extractor is {self.extractor!r}; only 'rules' is available")
        if faults:
            raise ConfigError("; ".join(faults) + ".")


def prepare(source: Path, out: Path, config: PrepareConfig = PrepareConfig()) -> dict[str, int]:
    """Turn text safety data into alignment pairs.

    Args:
        source: JSON Lines, see `read_records`.
        out: Folder for `pairs.jsonl`, `rejected.jsonl` and `manifest.json`.
        config: Settings.

    Returns:
        Counts: `pairs`, `rejected`.

    Raises:
        DataError: The source cannot be read, or not one phrase could be extracted from it.
        ArtifactError: `out` belongs to another run.
    """
    from seawall.prepare.extract import NotExtractable
    from seawall.prepare.rules import extract_by_rules
    from seawall.prepare.pairs import make_pair
    from seawall.prepare.sources import read_records

    records = read_records(source)
    pairs, rejected = [], []
    for record in records:
        try:
            extraction = extract_by_rules(record.instruction)
            made = make_pair(record, extraction, seed=config.seed, medium=config.modality, extractor=config.extractor)
            pairs.append(made)
        except NotExtractable as reason:
            rejected.append({**record.line, "reason": str(reason)})
    if not pairs:
        raise DataError(
            f"None of the {len(records)} instructions in {source} gave a phrase; the first one: {rejected[0]['reason']}. "
            "The rules need requests such as 'Explain how to ...'."
        )
    counts = {"pairs": len(pairs), "rejected": len(rejected)}
    if claim(out, "prepare", config, {"source": hash_file(source)}):
        return counts
    write_jsonl(out / "rejected.jsonl", rejected)
    write_jsonl(out / "pairs.jsonl", pairs)
    finish(out, counts=counts)
    if rejected:
        log.warning("%d of %d records rejected: see %s", len(rejected), len(records), out / "rejected.jsonl")
    return counts
