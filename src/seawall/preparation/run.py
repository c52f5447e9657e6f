"""Stage 1, `prepare`: read the sources, choose records, extract phrases, write alignment pairs."""

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
from seawall.preparation.extract import NotExtractable
from seawall.preparation.filters import drop_unfit
from seawall.preparation.pairs import make_pair
from seawall.preparation.presets import Dropped, read_records
from seawall.preparation.rules import extract_by_rules
from seawall.preparation.sources import read_rows
from seawall.store.artifacts import MANIFEST, claim, finish, read_manifest, release, reopen
from seawall.store.files import hash_text, read_jsonl, write_jsonl
from seawall.store.pair import Pair, Record, read_pairs

if TYPE_CHECKING:
    from seawall.preparation.client import Client

log = logging.getLogger(__name__)


def prepare(
    source: str | Path | Sequence[str | Path], out: Path, config: PrepareConfig = PrepareConfig()
) -> dict[str, int]:
    """Example text safety data into alignment pairs.

    Args:
        source: What `read_rows` reads, or several of that. A folder that `prepare` wrote stands for its rejected records: they are
            tried again, and its pairs are taken over.
        out: Folder for `pairs.jsonl`, `rejected.jsonl`, `dropped.jsonl` and `manifest.json`.
        config: Settings.

    Returns:
        Counts: `pairs`, `rejected`, and what each step left out.

    Raises:
        ConfigError: The extractor cannot be used.
        DataError: The source cannot be read, or not one phrase could be extracted from it.
        ArtifactError: `out` belongs to another run.
        EngineError: The extractor does not answer any more.
    """

    sources = [source] if isinstance(source, str | Path) else list(source)
    begun = (out / MANIFEST).is_file()
    clients = {} if begun else open_clients(config)  # a missing key is said before anything is read
    retrying = len(sources) == 1 and (Path(sources[0]) / MANIFEST).is_file()
    before, records = read_rejected(Path(sources[0]), config) if retrying else ([], [])
    dropped: list[Dropped] = []
    if not retrying:
        records, dropped = read_sources(sources, config)
    inputs = {"source": hash_text(json.dumps([[one.to_json() for one in [*before, *records]]]))}
    read = len(before) + len(records) + len(dropped)
    if not retrying:
        words = config.instruction_words, config.response_words
        records, unfit = drop_unfit(
            records, words=words, language=config.language, copies=config.copies, sample=config.sample, seed=config.seed
        )
        dropped += unfit
    steps = Counter(drop.step for drop in dropped)
    if claim(out, "prepare", config, inputs, FREE):
        return read_manifest(out).facts["counts"]
    clients = clients or open_clients(config)
    started = time.perf_counter()
    extracted, rejected = extract_all(records, config, clients.get("extractor"))
    facts: dict[str, Any] = {}
    if "answers" in clients:
        extracted, facts["own_answers"] = answer_harmless(extracted, clients["answers"])
    facts |= {use: dataclasses.asdict(client.usage) for use, client in clients.items()}
    facts["seconds"] = time.perf_counter() - started
    pairs = before + extracted
    if not pairs:
        release(out)
        raise DataError(explain_nothing(sources, rejected, steps, config.extractor))
    reopen(out, config, inputs)
    counts = {"pairs": len(pairs), "rejected": len(rejected), **steps}
    for name, rows in (("dropped", dropped), ("rejected", rejected), ("pairs", pairs)):
        write_jsonl(out / f"{name}.jsonl", rows)
    finish(out, sources=[str(each) for each in sources], read=read, counts=counts, **facts)
    if rejected:
        log.warning(
            "%d of %d records rejected: see %s. To try them with another extractor: seawall prepare %s --extractor MODEL --out DIR",
            len(rejected), len(pairs) + len(rejected), out / "rejected.jsonl", out,
        )  # fmt: skip
    return counts


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


def read_rejected(folder: Path, config: PrepareConfig) -> tuple[list[Pair], list[Record]]:
    """Return the pairs of a finished `prepare`, and its rejected records."""
    pairs = read_pairs(folder)
    found = read_manifest(folder)
    for name in ("modality", "seed"):
        if found.config[name] != getattr(config, name):
            raise ArtifactError(
                f"{folder} was prepared with {name} {found['config'][name]!r}, now it is {getattr(config, name)!r}. Give the same --{name}."
            )
    if not found.facts["counts"]["rejected"]:
        raise DataError(f"{folder} has no rejected records to try again.")
    return pairs, list(read_records(str(folder / "rejected.jsonl"), read_jsonl(folder / "rejected.jsonl")))


def open_clients(config: PrepareConfig) -> dict[str, Client]:
    """Open the models that a run asks: for phrases (`extractor`), for answers (`answers`), or none."""
    wanted = {"extractor": config.extractor, "answers": config.answers}
    names = {use: name for use, name in wanted.items() if name not in (None, "rules")}
    if not names:
        return {}
    from seawall.preparation.client import Client

    limits = {"connections": config.connections, "retries": config.retries, "timeout": config.timeout}
    return {use: Client(name, **limits) for use, name in names.items()}


def extract_all(
    records: Sequence[Record], config: PrepareConfig, client: Client | None
) -> tuple[list[Pair], list[dict[str, Any]]]:
    """Return pairs, and rejected lines with their reasons."""
    if client:
        from seawall.preparation.ask import extract_by_model

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
                modality=config.modality,
                extractor=config.extractor,
                announcements=config.announcements,
            )
            pairs.append(made)
        except NotExtractable as reason:
            line = {**record.to_json(), **(record.source or {}), "id": record.id, "kind": record.kind}
            rejected.append({**line, "reason": str(reason)})
    return pairs, rejected


def answer_harmless(pairs: Sequence[Pair], client: Client) -> tuple[list[Pair], int]:
    """Replace the responses of harmless pairs by a model's own answers (self-distillation).

    A twin then only teaches that the harmless medium is answered as the text would be.

    Returns:
        All pairs, and the number of answers that the model gave.
    """
    from seawall.preparation.ask import answer_by_model

    twins = {pair.id: pair for pair in pairs if pair.kind == "harmless"}
    own = answer_by_model([pair.instruction for pair in twins.values()], client)
    answered = {id: own[pair.instruction] for id, pair in twins.items() if own[pair.instruction]}
    replaced = [dataclasses.replace(pair, response=answered.get(pair.id, pair.response)) for pair in pairs]
    return replaced, len(answered)


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
