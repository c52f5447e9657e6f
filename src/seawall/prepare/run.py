"""The parts of `prepare`: sources -> records, records -> pairs, and what to say where nothing is left."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.artifacts import hash_text, read_jsonl, read_manifest, read_pairs
from seawall.errors import ArtifactError, DataError
from seawall.prepare.extract import NotExtractable
from seawall.prepare.pairs import describe, make_pair
from seawall.prepare.presets import Dropped, Record, read_records
from seawall.prepare.rules import extract_by_rules
from seawall.prepare.sources import read_rows

if TYPE_CHECKING:
    from seawall.prepare import PrepareConfig
    from seawall.prepare.client import Client


def read_sources(sources: Sequence[str | Path], config: PrepareConfig) -> tuple[list[Record], list[Dropped]]:
    """Read every source; the ids of several get the source's name in front."""
    if not sources:
        raise DataError("No source was given. Name a file, a folder or a set of the hub.")
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
                    f"{source}: the id {record.id!r} came before. Ids, and the names of several sources, must differ."
                )
            if record.response is None:
                chosen = int(hash_text(f"{config.seed}/{record.id}"), 16) % len(config.refusals)
                record = dataclasses.replace(record, response=config.refusals[chosen])
            records[record.id] = record
    return list(records.values()), dropped


def read_rejected(folder: Path, config: PrepareConfig) -> tuple[list[dict[str, Any]], list[Record]]:
    """Return the pairs of a finished `prepare`, and its rejected records."""
    pairs = read_pairs(folder)
    found = read_manifest(folder)
    for name in ("modality", "seed"):
        if found["config"][name] != getattr(config, name):
            raise ArtifactError(
                f"{folder} was prepared with {name} {found['config'][name]!r}, now it is {getattr(config, name)!r}. Give the same --{name}."
            )
    if not found["counts"]["rejected"]:
        raise DataError(f"{folder} has no rejected records to try again.")
    return pairs, list(read_records(str(folder / "rejected.jsonl"), read_jsonl(folder / "rejected.jsonl")))


def open_clients(config: PrepareConfig) -> dict[str, Client]:
    """Open the models that a run asks: for phrases (`extractor`), for answers (`answers`), or none."""
    wanted = {"extractor": config.extractor, "answers": config.answers}
    names = {use: name for use, name in wanted.items() if name not in (None, "rules")}
    if not names:
        return {}
    from seawall.prepare.client import Client

    limits = {"connections": config.connections, "retries": config.retries, "timeout": config.timeout}
    return {use: Client(name, **limits) for use, name in names.items()}


def extract_all(
    records: Sequence[Record], config: PrepareConfig, client: Client | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return pairs, and rejected lines with their reasons."""
    if client:
        from seawall.prepare.ask import extract_by_model

        found = extract_by_model([record.instruction for record in records], client)
    pairs, rejected = [], []
    for record in records:
        try:
            extraction = found[record.instruction] if client else extract_by_rules(record.instruction)
            if isinstance(extraction, str):
                raise NotExtractable(extraction)
            made = make_pair(
                record,
                extraction,
                seed=config.seed,
                medium=config.modality,
                extractor=config.extractor,
                announcements=config.announcements,
            )
            pairs.append(made)
        except NotExtractable as reason:
            line = {**describe(record), **(record.line or {}), "id": record.id, "kind": record.kind}
            rejected.append({**line, "reason": str(reason)})
    return pairs, rejected


def answer_harmless(pairs: Sequence[dict[str, Any]], client: Client) -> int:
    """Put a model's own answers in the place of the harmless pairs' responses; return how many it gave.

    A twin then teaches nothing but that the harmless medium is to be answered as the text would be (self-distillation).
    """
    from seawall.prepare.ask import answer_by_model

    twins = [pair for pair in pairs if pair["kind"] == "harmless"]
    own = answer_by_model([pair["instruction"] for pair in twins], client)
    given = [pair for pair in twins if own[pair["instruction"]]]
    for pair in given:
        pair["response"] = own[pair["instruction"]]
    return len(given)


def explain_nothing(
    sources: Sequence[str | Path], rejected: Sequence[dict[str, Any]], steps: Counter[str], extractor: str
) -> str:
    """Say why there is not one pair."""
    where = ", ".join(map(str, sources))
    left_out = ", ".join(f"{count} {step}" for step, count in steps.items())
    if not rejected:
        advice = " Say by --kind what its requests are." if "not labelled" in steps else ""
        return f"No record of {where} is left ({left_out}).{advice}"
    advice = (
        "The rules need requests such as 'Explain how to ...'; a model as --extractor takes others."
        if extractor == "rules"
        else f"See whether {extractor} can be reached and is able to do this; --extractor rules needs no model."
    )
    reason = rejected[0]["reason"].rstrip(".")
    return f"None of the {len(rejected)} instructions in {where} gave a phrase; the first one: {reason}. {advice}"
