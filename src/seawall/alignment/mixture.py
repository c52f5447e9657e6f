"""What a training batch is made of: rows of each component, in fixed shares, planned before training begins."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seawall.alignment.config import Mixture
from seawall.store.files import read_jsonl
from seawall.errors import ConfigError, DataError
from seawall.models.chat import BLANK, Example
from seawall.store.embeddings import EmbeddingStore

log = logging.getLogger(__name__)

MEDIA_LIST = "media.jsonl"
KINDS = ("harmful", "harmless")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a batch."""

    turn: Example
    key: str | None = None
    """Key of its synthetic embedding, if it has one."""
    rejected: str | None = None
    """The answer that preference training is to make less likely."""


def collect_rows(
    pairs: Sequence[dict[str, Any]], store: EmbeddingStore | None, media: Sequence[Path], modality: str = "image"
) -> dict[str, list[Row]]:
    """Return every available row of each component.

    Args:
        pairs: Lines of `pairs.jsonl`.
        store: Synthetic embeddings; only those are used that are verified and were made for these very prompts.
        media: Folders with `media.jsonl`: the file (in a column named by the modality), `question`, `answer`, `kind`.
        modality: What the media are.

    What is rejected in place of a harmful record's answer is the unsafe answer that its source gave, if any; in place of a harmless
    one's it is a refusal, one of the harmful records' in turn.
    """
    rows: dict[str, list[Row]] = {field.name: [] for field in dataclasses.fields(Mixture)}
    by_id = {pair["id"]: pair for pair in pairs}
    refusals = itertools.cycle([pair["response"] for pair in pairs if pair["kind"] == "harmful"] or [None])
    rejected = {pair["id"]: pair["rejected"] if pair["kind"] == "harmful" else next(refusals) for pair in pairs}
    for pair in pairs:
        turn = Example(question=pair["instruction"], answer=pair["response"])
        rows[f"text_{pair['kind']}"].append(Row(turn, rejected=rejected[pair["id"]]))
    stale = 0
    for entry in store.entries.values() if store else ():
        if not entry.verified or not (pair := by_id.get(entry.record)):
            continue
        if not store.is_current(entry, pair):
            stale += 1
            continue
        turn = Example(question=pair["detoxified"], answer=pair["response"], medium=BLANK)
        rows[f"synthetic_{entry.kind}"].append(Row(turn, entry.key, rejected[entry.record]))
    if stale:
        log.warning(
            "%d embeddings in %s are left out: their records have other prompts now. Run `seawall synthesize` again.",
            stale, store.folder,
        )  # fmt: skip
    for folder in media:
        for row in read_media(folder, modality):
            turn = Example(question=row["question"], answer=row["answer"], medium=folder / row[modality])
            other = row.get("rejected") if row["kind"] == "harmful" else next(refusals)
            rows[f"media_{row['kind']}"].append(Row(turn, rejected=other))
    return rows


def keep_preferences(rows: dict[str, list[Row]], mixture: Mixture) -> dict[str, list[Row]]:
    """Return the rows that have a rejected answer, which preference training needs; say how many have none.

    Raises:
        ConfigError: No row of a component that the mixture wants has one.
    """
    kept = {name: [row for row in some if row.rejected] for name, some in rows.items()}
    lost = {name: (len(some) - len(kept[name]), len(some)) for name, some in rows.items() if getattr(mixture, name)}
    lost = {name: (none, of) for name, (none, of) in lost.items() if none}
    if lost:
        found = ", ".join(f"{none} of {of} {name}" for name, (none, of) in lost.items())
        advice = "Harmful records take theirs from the source's `rejected` column, harmless ones a refusal of the harmful records."
        if any(none == of for none, of in lost.values()):
            raise ConfigError(f"Rows without a rejected answer: {found}. {advice} Use --method sft, or a share of 0.")
        log.warning("rows without a rejected answer, left out: %s. %s", found, advice)
    return kept


def read_media(folder: Path, modality: str = "image") -> Iterator[dict[str, Any]]:
    """Yield the lines of a folder's `media.jsonl`: `image` (or `video`, ...), `question`, `answer` and `kind` (default `harmless`).

    Raises:
        DataError: The list is missing or broken, lacks a column, or names a file that is not there.
    """
    columns = (modality, "question", "answer")
    needed = (modality, "answer") if modality == "audio" else columns  # a sound can ask by itself
    for number, line in read_jsonl(folder / MEDIA_LIST):
        missing = [column for column in needed if not line.get(column)]
        if missing:
            raise DataError(f"{folder / MEDIA_LIST}, line {number}, lacks {', '.join(missing)}.")
        line = {"kind": "harmless", **line, "question": line.get("question") or ""}
        wrong = [column for column in columns if not isinstance(line[column], str)]
        if wrong or line["kind"] not in KINDS:
            raise DataError(
                f"{folder / MEDIA_LIST}, line {number}: {', '.join(wrong) or 'kind'} is {line[(wrong or ['kind'])[0]]!r}; "
                f"{modality}, question and answer must be texts, kind one of {', '.join(KINDS)}."
            )
        if not (folder / line[modality]).is_file():
            raise DataError(f"{folder / MEDIA_LIST}, line {number}, names {line[modality]}, which is not in {folder}.")
        yield line


def plan(rows: dict[str, list[Row]], mixture: Mixture, steps: int, batch_size: int, seed: int) -> list[Row]:
    """Return the rows of a whole training, batch after batch: every batch has the same shares.

    Each component is gone through in shuffled rounds, so that no row comes twice before all came once.

    Raises:
        ConfigError: The mixture wants a component of which there is not one row.
    """
    counts = mixture.counts(batch_size)
    empty = [name for name in counts if not rows[name]]
    if empty:
        raise ConfigError(
            f"The mixture wants {', '.join(empty)}, but there is not one such row. Give the data (text from --pairs, "
            "synthetic from --embeddings, media from --media), or set the share to 0."
        )
    left_out = [name for name, number in counts.items() if not number]
    if left_out:
        raise ConfigError(
            f"In a batch of {batch_size} no row is left for {', '.join(left_out)}. Take a larger --batch-size, larger shares, "
            "or 0 for what is to be left out."
        )
    streams = {name: _rounds(rows[name], random.Random(f"{seed}/{name}")) for name in counts}
    return [
        row for _ in range(steps) for name, number in counts.items() for row in itertools.islice(streams[name], number)
    ]


def _rounds(rows: list[Row], rng: random.Random) -> Iterator[Row]:
    while True:
        yield from rng.sample(rows, len(rows))
