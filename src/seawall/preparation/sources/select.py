"""The records of all sources of a run, and the choice among them."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from seawall.errors import ArtifactError, ConfigError, DataError
from seawall.preparation.config import PrepareConfig
from seawall.preparation.filters import filter_records
from seawall.preparation.sources.labels import check_answers
from seawall.preparation.sources.presets import PRESETS
from seawall.preparation.sources.reading import Dropped, Reading
from seawall.preparation.sources.records import read_records
from seawall.preparation.sources.rows import read_rows
from seawall.preparation.sources.source import Source
from seawall.store.artifacts import MANIFEST, require
from seawall.store.files import hash_text, read_jsonl
from seawall.store.pair import Pair, Record, read_pairs

log = logging.getLogger(__name__)

REJECTED = "rejected.jsonl"
ADVICE = {
    "not labelled": "Give the kind of its requests with --kind, or a column of kinds with --columns.kind. Harmful requests "
    "without safe answers get a refusal with --preset requests.",
    "no response": "A model answers harmless requests with --answers MODEL.",
}
"""Step -> what to do about rows that it dropped."""
SourceLike = str | Path | Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """What the sources contain."""

    pairs: list[Pair]
    """Pairs of an earlier `prepare`, which are kept."""
    records: list[Record]
    """Records whose phrases are to be extracted."""
    dropped: list[Dropped]
    """Rows and records that are not used."""
    read: int
    """Number of pairs, records and dropped rows that were read."""
    digest: str
    """Hash of the pairs and records that were read."""


def select_records(sources: Sequence[SourceLike], config: PrepareConfig) -> Selection:
    """Read the sources and choose the records to use.

    Raises:
        DataError: A source cannot be read, or its answers contradict its labels.
        ArtifactError: The source is a folder of `prepare` that is unfinished or has other settings.
    """
    parsed = [Source.parse(source) for source in sources]
    if len(parsed) == 1 and (Path(parsed[0].path) / MANIFEST).is_file():
        pairs, records = read_rejected(Path(parsed[0].path), config)
        read = len(pairs) + len(records)
        return Selection(pairs=pairs, records=records, dropped=[], read=read, digest=_hash(pairs, records))
    records, dropped = read_sources(parsed, config)
    kept, unfit = filter_records(records, config)
    return Selection(
        pairs=[],
        records=kept,
        dropped=dropped + unfit,
        read=len(records) + len(dropped),
        digest=_hash([], records),
    )


def _hash(pairs: Sequence[Pair], records: Sequence[Record]) -> str:
    return hash_text(json.dumps([[pair.to_json() for pair in pairs], [record.to_json() for record in records]]))


def read_sources(sources: Sequence[SourceLike], config: PrepareConfig) -> tuple[list[Record], list[Dropped]]:
    """Return the records of all sources, and the rows that cannot be used.

    With several sources, each id begins with the name of its source. Harmful records without an answer get a refusal.

    Raises:
        ConfigError: A source has a wrong setting.
        DataError: A source cannot be read, two records have the same id, or answers contradict the labels.
    """
    if not sources:
        raise DataError("No source was given. Give a file, a folder, or a dataset id of the hub.")
    parsed = [Source.parse(source) for source in sources]
    for source in parsed:
        if faults := source.find_faults(PRESETS):
            raise ConfigError(f"The source {source} has wrong settings: {'; '.join(faults)}.")
    records: dict[str, Record] = {}
    dropped: list[Dropped] = []
    warnings = []
    for source in parsed:
        found, unusable = _read_source(source, config)
        for step, advice in ADVICE.items():
            if lost := [drop for drop in unusable if drop.step == step]:
                warnings.append(f"{source}: {len(lost)} rows are left out: {lost[0].reason}. {advice}")
        prefix = f"{Path(source.path).stem}:" if len(parsed) > 1 else ""
        dropped += [dataclasses.replace(drop, id=prefix + drop.id) if prefix else drop for drop in unusable]
        for record in found:
            record = _complete(dataclasses.replace(record, id=prefix + record.id) if prefix else record, config)
            if record.id in records:
                raise DataError(
                    f"{source}: the id {record.id!r} occurs twice. Give each record and each source its own name."
                )
            records[record.id] = record
    if records:  # otherwise an error says the same
        for warning in warnings:
            log.warning("%s", warning)
    return list(records.values()), dropped


def _read_source(source: Source, config: PrepareConfig) -> tuple[list[Record], list[Dropped]]:
    """Return the records of one source, and the rows that cannot be used."""
    source = dataclasses.replace(
        source,
        kind=source.kind or config.kind,
        subset=source.subset or config.subset,
        split=source.split or config.split,
        encoding=source.encoding or config.encoding,
        header=config.header if source.header is None else source.header,
    )
    rows = read_rows(source)
    reading = Reading(
        name=source.path,
        unit=rows.unit,
        columns=source.columns or config.columns,
        kind=source.kind,
        turns=config.turns,
        allow_conflicts=config.allow_label_conflicts,
        answered=config.answers is not None,
    )
    records, dropped = [], []
    for found in read_records(rows.rows, reading, source.preset or config.preset):
        if isinstance(found, Dropped):
            dropped.append(found)
        else:
            records.append(found)
    if not config.allow_label_conflicts:
        judged = [
            record
            for record in records
            if not record.vouched and not (record.kind == "harmless" and config.answers is not None)
        ]
        check_answers(judged, str(source))
    return records, dropped


def _complete(record: Record, config: PrepareConfig) -> Record:
    """Return a record; a harmful one without an answer gets a refusal."""
    if record.response is not None or record.kind != "harmful":
        return record
    chosen = int(hash_text(f"{config.seed}/{record.id}"), 16) % len(config.refusals)
    return dataclasses.replace(record, response=config.refusals[chosen])


def read_rejected(folder: Path, config: PrepareConfig) -> tuple[list[Pair], list[Record]]:
    """Return the pairs of a finished `prepare` and its rejected records.

    Raises:
        ArtifactError: The folder is unfinished, or has another modality or seed.
        DataError: No record was rejected.
    """
    manifest = require(folder, "prepare")
    pairs = read_pairs(folder)
    for name in ("modality", "seed"):
        found, wanted = manifest.config[name], getattr(config, name)
        if found != wanted:
            raise ArtifactError(
                f"{folder} was prepared with {name} {found!r}, not {wanted!r}. To keep its pairs, give "
                f"--{name} {found}."
            )
    if not manifest.facts["counts"]["rejected"]:
        raise DataError(f"{folder} has no rejected records to try again. Use its pairs as they are.")
    path = folder / REJECTED
    reading = Reading(name=str(path), unit="line", default="harmful", answered=True)
    records = []
    for number, line in read_jsonl(path):
        instruction = reading.require_text(line, "instruction", number)
        response = reading.read_text(line, "response", number) or None
        rejected = reading.read_text(line, "rejected", number)
        key = reading.read_id(line, number)
        record = reading.make_record(key, number, line, instruction, response, rejected, source=line)
        if isinstance(record, Record):
            records.append(record)
    return pairs, records
