"""Stage 1, `prepare`: read the sources, choose records, extract the phrases, write the alignment pairs."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import ArtifactError, DataError
from seawall.preparation.config import FREE, PrepareConfig
from seawall.preparation.extract import NotExtractable, make_pair
from seawall.preparation.filters import filter_records
from seawall.preparation.presets import Dropped, read_records
from seawall.preparation.rules import extract_by_rules
from seawall.preparation.sources import read_rows
from seawall.store.artifacts import MANIFEST, claim, finish, read_manifest, release, reopen, require
from seawall.store.files import hash_text, read_jsonl, write_jsonl
from seawall.store.pair import Pair, Record, read_pairs, write_pairs

if TYPE_CHECKING:
    from seawall.preparation.client import Client

log = logging.getLogger(__name__)

REJECTED = "rejected.jsonl"
DROPPED = "dropped.jsonl"


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A record without a usable phrase."""

    record: Record
    """The record."""
    reason: str
    """Why no pair can be made from it."""

    def to_json(self) -> dict[str, Any]:
        """Return the line of `rejected.jsonl`: the record, all columns of its source line, and the reason."""
        record = self.record
        line = {**record.to_json(), **(record.source or {}), "id": record.id, "kind": record.kind}
        return {**line, "reason": self.reason}


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


def prepare(
    source: str | Path | Sequence[str | Path], out: Path, config: PrepareConfig = PrepareConfig()
) -> dict[str, int]:
    """Turn text safety data into alignment pairs.

    Args:
        source: One or several sources that `read_rows` reads. If the only source is a folder that `prepare` wrote, its
            pairs are kept and its rejected records are tried again.
        out: Folder for `pairs.jsonl`, `rejected.jsonl`, `dropped.jsonl` and `manifest.json`.
        config: Settings.

    Returns:
        Counts: `pairs`, `rejected`, and the number of records that each step dropped.

    Raises:
        ConfigError: The extractor cannot be used.
        DataError: A source cannot be read, or no phrase could be extracted.
        ArtifactError: `out` belongs to another run.
        EngineError: The extractor no longer answers.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    # A missing API key is reported before large sources are read. A finished run needs no client.
    clients = {} if (out / MANIFEST).is_file() else open_clients(config)
    selection = select_records(sources, config)
    inputs = {"source": selection.digest}
    if claim(out, "prepare", config, inputs, FREE):
        return dict(read_manifest(out).facts["counts"])
    clients = clients or open_clients(config)
    started = time.perf_counter()
    extracted, rejected = extract_pairs(selection.records, config, clients.get("extractor"))
    facts: dict[str, Any] = {}
    if "answers" in clients:
        extracted, facts["own_answers"] = answer_harmless(extracted, clients["answers"])
    facts |= {use: dataclasses.asdict(client.usage) for use, client in clients.items()}
    facts["seconds"] = time.perf_counter() - started
    pairs = selection.pairs + extracted
    steps = Counter(drop.step for drop in selection.dropped)
    if not pairs:
        release(out)
        raise DataError(explain_no_pairs(sources, rejected, steps, config.extractor))
    reopen(out, config, inputs)
    write_jsonl(out / DROPPED, selection.dropped)
    write_jsonl(out / REJECTED, rejected)
    write_pairs(out, pairs)
    counts = {"pairs": len(pairs), "rejected": len(rejected), **steps}
    finish(out, sources=[str(each) for each in sources], read=selection.read, counts=counts, **facts)
    if rejected:
        log.warning(
            "%d of %d records rejected: see %s. Try them with another extractor: "
            "seawall prepare %s --extractor MODEL --out DIR",
            len(rejected), len(pairs) + len(rejected), out / REJECTED, out,
        )  # fmt: skip
    return counts


def select_records(sources: Sequence[str | Path], config: PrepareConfig) -> Selection:
    """Read the sources and choose the records to use.

    Raises:
        DataError: A source cannot be read.
        ArtifactError: The source is a folder of `prepare` that is unfinished or has other settings.
    """
    if len(sources) == 1 and (Path(sources[0]) / MANIFEST).is_file():
        pairs, records = read_rejected(Path(sources[0]), config)
        read = len(pairs) + len(records)
        return Selection(pairs=pairs, records=records, dropped=[], read=read, digest=_hash(pairs, records))
    records, dropped = read_sources(sources, config)
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


def read_sources(sources: Sequence[str | Path], config: PrepareConfig) -> tuple[list[Record], list[Dropped]]:
    """Return the records of all sources, and the rows that cannot be used.

    With several sources, each id begins with the name of its source. Records without a response get a refusal.

    Raises:
        DataError: A source cannot be read, or two records have the same id.
    """
    if not sources:
        raise DataError("No source was given. Give a file, a folder, or a dataset id of the hub.")
    records: dict[str, Record] = {}
    dropped = []
    for source in sources:
        rows = read_rows(source, config.subset, config.split)
        for record in read_records(str(source), rows, columns=config.columns, preset=config.preset, kind=config.kind):
            if len(sources) > 1:
                record = dataclasses.replace(record, id=f"{Path(source).stem}:{record.id}")
            if isinstance(record, Dropped):
                dropped.append(record)
                continue
            if record.id in records:
                raise DataError(
                    f"{source}: the id {record.id!r} occurs twice. Give each record and each source its own name."
                )
            if record.response is None:
                chosen = int(hash_text(f"{config.seed}/{record.id}"), 16) % len(config.refusals)
                record = dataclasses.replace(record, response=config.refusals[chosen])
            records[record.id] = record
    return list(records.values()), dropped


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
    return pairs, [record for record in read_records(str(path), read_jsonl(path)) if isinstance(record, Record)]


def open_clients(config: PrepareConfig) -> dict[str, Client]:
    """Return the models that the run asks, by use: `extractor` for phrases and `answers` for the model's own answers.

    Raises:
        ConfigError: A model cannot be used.
    """
    models = {"answers": config.answers} if config.answers else {}
    if config.extractor != "rules":
        models = {"extractor": config.extractor, **models}
    if not models:
        return {}
    from seawall.preparation.client import Client

    return {
        use: Client(name, connections=config.connections, retries=config.retries, timeout=config.timeout)
        for use, name in models.items()
    }


def extract_pairs(
    records: Sequence[Record], config: PrepareConfig, client: Client | None
) -> tuple[list[Pair], list[Rejected]]:
    """Return the pairs of the records, and the records without a usable phrase.

    Args:
        records: Records with kinds and responses.
        config: Settings.
        client: Model that extracts the phrases. None uses the rules.

    Raises:
        EngineError: The model no longer answers.
    """
    if client:
        from seawall.preparation.ask import extract_by_model

        replies = extract_by_model([record.instruction for record in records], client)
    pairs, rejected = [], []
    for record in records:
        try:
            extraction = replies[record.instruction] if client else extract_by_rules(record.instruction)
            if isinstance(extraction, str):
                raise NotExtractable(extraction)
        except NotExtractable as reason:
            rejected.append(Rejected(record, str(reason)))
            continue
        pair = make_pair(
            record,
            extraction,
            seed=config.seed,
            modality=config.modality,
            extractor=config.extractor,
            announcements=config.announcements,
        )
        pairs.append(pair)
    return pairs, rejected


def answer_harmless(pairs: Sequence[Pair], client: Client) -> tuple[list[Pair], int]:
    """Replace the responses of harmless pairs by a model's own answers (self-distillation).

    A twin then teaches only that the harmless medium is answered like the same request as text. A pair without an
    answer keeps its response.

    Returns:
        All pairs in their order, and the number of replaced responses.

    Raises:
        EngineError: The model no longer answers.
    """
    from seawall.preparation.ask import answer_by_model

    answers = answer_by_model([pair.instruction for pair in pairs if pair.kind == "harmless"], client)
    updated, replaced = [], 0
    for pair in pairs:
        answer = answers.get(pair.instruction) if pair.kind == "harmless" else None
        updated.append(dataclasses.replace(pair, response=answer) if answer else pair)
        replaced += bool(answer)
    return updated, replaced


def explain_no_pairs(
    sources: Sequence[str | Path], rejected: Sequence[Rejected], steps: Counter[str], extractor: str
) -> str:
    """Return an error message that says why there is no pair and what to do."""
    where = ", ".join(map(str, sources))
    if not rejected:
        counts = ", ".join(f"{count} {step}" for step, count in steps.items())
        advice = (
            "Set the kind of its requests with --kind."
            if "not labelled" in steps
            else "Change the settings that drop them, or add other sources."
        )
        return f"No record of {where} is left ({counts}). {advice}"
    advice = (
        "The rules need requests such as 'Explain how to ...'; for others, give a model as --extractor."
        if extractor == "rules"
        else f"Check whether {extractor} can be reached and is able to do this; --extractor rules needs no model."
    )
    reason = rejected[0].reason.rstrip(".")
    return f"None of the {len(rejected)} instructions in {where} gave a phrase. The first one: {reason}. {advice}"
