"""Stage 1, `prepare`: read the sources, choose records, extract the phrases, write the alignment pairs."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import DataError
from seawall.preparation.config import FREE, PrepareConfig
from seawall.preparation.making import Rejected, make_pairs
from seawall.preparation.phrases.leak import measure_leak, warn_of_leak
from seawall.preparation.sources.labels import check_answers, measure_refusals
from seawall.preparation.sources.reading import Dropped
from seawall.preparation.sources.select import ADVICE, REJECTED, SourceLike, select_records
from seawall.preparation.sources.source import Source
from seawall.store.artifacts import MANIFEST, Manifest, claim, finish, read_manifest, released_after_errors, reopen
from seawall.store.files import write_jsonl
from seawall.store.pair import KINDS, Pair, write_pairs

if TYPE_CHECKING:
    from seawall.preparation.client import Client

log = logging.getLogger(__name__)

DROPPED = "dropped.jsonl"
UNLABELLED = "unlabelled"
"""Stands for the kind of rows whose kind is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What became of the data."""

    counts: dict[str, int]
    """`pairs`, `rejected`, and the number of records that each step dropped."""
    kinds: dict[str, dict[str, int]]
    """The same for each kind: `harmful`, `harmless`, and `unlabelled` rows. Empty for folders of Seawall 0.2."""
    refusing: dict[str, float | None]
    """Kind -> share of the pairs' responses that refuse, by refusal strings. None without a response."""

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> PrepareResult:
        """Return the result of a finished folder."""
        facts = manifest.facts
        return cls(counts=facts["counts"], kinds=facts.get("kinds", {}), refusing=facts.get("refusing", {}))

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and those of each kind with its share of refusals."""
        kinds: dict[str, dict[str, Any]] = {kind: dict(counts) for kind, counts in self.kinds.items()}
        for kind, share in self.refusing.items():
            if share is not None:
                kinds.setdefault(kind, {})["refusing"] = round(share, 3)
        return {**self.counts, **kinds}


def prepare(
    source: SourceLike | Sequence[SourceLike], out: Path, config: PrepareConfig = PrepareConfig()
) -> PrepareResult:
    """Turn text safety data into alignment pairs.

    Args:
        source: One or several sources: paths, ids of datasets, or `Source`s with settings of their own. If the only
            source is a folder that `prepare` wrote, its pairs are kept and its rejected records are tried again.
        out: Folder for `pairs.jsonl`, `rejected.jsonl`, `dropped.jsonl` and `manifest.json`.
        config: Settings.

    Returns:
        Counts, in total and by kind, and the shares of responses that refuse.

    Raises:
        ConfigError: The extractor or a setting of a source cannot be used.
        DataError: A source cannot be read, its answers contradict its labels, or no phrase could be extracted.
        ArtifactError: `out` belongs to another run.
        EngineError: The extractor no longer answers.
    """
    sources = [source] if isinstance(source, str | Path | Source) else list(source)
    # A missing API key is reported before large sources are read. A finished run needs no client.
    clients = {} if (out / MANIFEST).is_file() else open_clients(config)
    selection = select_records(sources, config)
    inputs = {"source": selection.digest}
    if claim(out, "prepare", config, inputs, FREE):
        return PrepareResult.from_manifest(read_manifest(out))
    with released_after_errors(out):
        clients = clients or open_clients(config)
        started = time.perf_counter()
        made = make_pairs(selection.records, config, clients, selection.pairs)
        facts: dict[str, Any] = {"own_answers": made.own_answers} if "answers" in clients else {}
        facts |= {use: dataclasses.asdict(client.usage) for use, client in clients.items()}
        facts["seconds"] = time.perf_counter() - started
        pairs, dropped = selection.pairs + made.pairs, selection.dropped + made.dropped
        if not pairs:
            raise DataError(explain_no_pairs(sources, made.rejected, dropped, config.extractor))
        if config.answers and not config.allow_label_conflicts:
            own = [pair for pair in made.pairs if pair.kind == "harmless"]
            check_answers(own, f"The answers of {config.answers}")
    reopen(out, config, inputs)
    write_jsonl(out / DROPPED, dropped)
    write_jsonl(out / REJECTED, made.rejected)
    write_pairs(out, pairs)
    result = count_kinds(pairs, made.rejected, dropped)
    leak = measure_leak(pairs)
    figures = dataclasses.asdict(result) | facts | {"leak": leak and dataclasses.asdict(leak)}
    finish(out, sources=[str(each) for each in sources], read=selection.read, **figures)
    _log_result(out, result, config)
    warn_of_leak(leak)
    return result


def count_kinds(pairs: Sequence[Pair], rejected: Sequence[Rejected], dropped: Sequence[Dropped]) -> PrepareResult:
    """Return the counts of a run, in total and by kind, and the shares of responses that refuse."""
    lines: list[tuple[str, Sequence[Pair | Rejected | Dropped]]] = [("pairs", pairs), ("rejected", rejected)]
    steps = list(dict.fromkeys(drop.step for drop in dropped))
    lines += [(step, [drop for drop in dropped if drop.step == step]) for step in steps]
    found = {step: Counter(line.kind or UNLABELLED for line in some) for step, some in lines}
    names = [*KINDS, *([UNLABELLED] if any(counts[UNLABELLED] for counts in found.values()) else [])]
    return PrepareResult(
        counts={step: counts.total() for step, counts in found.items()},
        kinds={kind: {step: counts[kind] for step, counts in found.items()} for kind in names},
        refusing={kind: share.share for kind, share in measure_refusals(pairs).items()},
    )


def _log_result(out: Path, result: PrepareResult, config: PrepareConfig) -> None:
    """Log what the user may want to change."""
    pairs = {kind: counts["pairs"] for kind, counts in result.kinds.items() if kind in KINDS}
    rejected = result.counts["rejected"]
    if rejected:
        kinds = ", ".join(f"{counts['rejected']} {kind}" for kind, counts in result.kinds.items() if counts["rejected"])
        log.warning(
            "%d of %d records rejected (%s): see %s. Try them with another extractor: "
            "seawall prepare %s --extractor MODEL --out DIR",
            rejected, rejected + sum(pairs.values()), kinds, out / REJECTED, out,
        )  # fmt: skip
    if config.sample is not None and sum(pairs.values()) < config.sample:
        found = ", ".join(f"{count} {kind}" for kind, count in pairs.items())
        log.warning("the sources give %s pairs, fewer than --sample %d", found, config.sample)


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


def explain_no_pairs(
    sources: Sequence[SourceLike], rejected: Sequence[Rejected], dropped: Sequence[Dropped], extractor: str
) -> str:
    """Return an error message that says why there is no pair and what to do."""
    where = ", ".join(map(str, sources))
    if not rejected:
        counts = ", ".join(f"{count} {step}" for step, count in Counter(drop.step for drop in dropped).items())
        lost = next((drop for step in ADVICE for drop in dropped if drop.step == step), None)
        advice = (
            f"The first one: {lost.reason}. {ADVICE[lost.step]}"
            if lost
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
