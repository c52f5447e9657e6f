"""Records to pairs: the phrase of each instruction, the model's own answers, and the sample."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seawall.preparation.config import PrepareConfig
from seawall.preparation.extract import NotExtractable, make_pair
from seawall.preparation.rules import extract_by_rules
from seawall.preparation.sources.reading import Dropped
from seawall.store.pair import KINDS, Pair, Record

if TYPE_CHECKING:
    from seawall.preparation.client import Client

LEAST_YIELD = 0.2
"""Share of the records that is expected to give pairs, at least, when a model is asked for a sample."""


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A record without a usable phrase or answer."""

    record: Record
    """The record."""
    reason: str
    """Why no pair can be made from it."""

    @property
    def kind(self) -> str | None:
        """Kind of the record."""
        return self.record.kind

    def to_json(self) -> dict[str, Any]:
        """Return the line of `rejected.jsonl`: the record, all columns of its source line, and the reason."""
        record = self.record
        line = {**record.to_json(), **(record.source or {}), "id": record.id, "kind": record.kind}
        return {**line, "reason": self.reason}


@dataclasses.dataclass
class Made:
    """What became of records."""

    pairs: list[Pair] = dataclasses.field(default_factory=list)
    """Pairs, in the order of the records."""
    rejected: list[Rejected] = dataclasses.field(default_factory=list)
    """Records without a usable phrase or answer."""
    dropped: list[Dropped] = dataclasses.field(default_factory=list)
    """Records that the sample does not need."""
    own_answers: int = 0
    """Number of responses that are the model's own."""


def make_pairs(
    records: Sequence[Record], config: PrepareConfig, clients: Mapping[str, Client], kept: Iterable[Pair] = ()
) -> Made:
    """Return the pairs of records, or of a sample of them.

    The sample takes records in a random order that depends only on their ids and the seed, until there are enough
    pairs. So a smaller sample is part of a larger one.

    Args:
        records: Records to use.
        config: Settings.
        clients: Models to ask; see `open_clients`.
        kept: Pairs of an earlier run, which count as part of the sample.

    Raises:
        EngineError: A model no longer answers.
    """
    if config.sample is None:
        return _make_all(records, config, clients)
    have = Counter(pair.kind for pair in kept)
    made = Made()
    if config.balance:
        halves = (math.ceil(config.sample / 2), config.sample // 2)
        for kind, half in zip(KINDS, halves, strict=True):
            some = [record for record in records if record.kind == kind]
            _make_until(made, some, half - have[kind], config, clients)
    else:
        _make_until(made, records, config.sample - have.total(), config, clients)
    place = {record.id: number for number, record in enumerate(records)}
    made.pairs.sort(key=lambda pair: place[pair.id])
    made.rejected.sort(key=lambda rejected: place[rejected.record.id])
    made.dropped.sort(key=lambda dropped: place[dropped.id])
    return made


def _make_until(
    made: Made, records: Sequence[Record], wanted: int, config: PrepareConfig, clients: Mapping[str, Client]
) -> None:
    """Add the pairs of records in random order until there are as many as wanted, and the rest as dropped."""
    order = sorted(records, key=lambda record: hashlib.sha256(f"{config.seed}/{record.id}".encode()).digest())
    tried, count = 0, 0
    while count < wanted and tried < len(order):
        rate = max(LEAST_YIELD, count / tried) if tried else 1.0
        chunk = order[tried : tried + math.ceil((wanted - count) / (rate if "extractor" in clients else 1))]
        some = _make_all(chunk, config, clients)
        made.own_answers += some.own_answers
        by_id: dict[str, Pair | Rejected] = {pair.id: pair for pair in some.pairs}
        by_id |= {rejected.record.id: rejected for rejected in some.rejected}
        for record in chunk:
            if count == wanted:
                break
            tried += 1
            result = by_id[record.id]
            if isinstance(result, Pair):
                made.pairs.append(result)
                count += 1
            else:
                made.rejected.append(result)
    made.dropped += [Dropped(record.id, "not sampled", kind=record.kind) for record in order[tried:]]


def _make_all(records: Sequence[Record], config: PrepareConfig, clients: Mapping[str, Client]) -> Made:
    pairs, rejected = extract_pairs(records, config, clients.get("extractor"))
    made = Made(rejected=rejected)
    if "answers" in clients:
        pairs, made.own_answers = answer_harmless(pairs, clients["answers"])
    by_id = {record.id: record for record in records}
    for pair in pairs:
        if pair.response:
            made.pairs.append(pair)
        else:
            made.rejected.append(
                Rejected(by_id[pair.id], "no answer: a harmless request needs one from --answers MODEL")
            )
    return made


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
            whole_requests=config.whole_requests,
            style_controls=config.style_controls,
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
