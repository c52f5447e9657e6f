"""`show_embeddings`: a store of embeddings -> one self-contained page."""

from __future__ import annotations

import dataclasses
import importlib.resources
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seawall.errors import ArtifactError, ConfigError
from seawall.models.chat import BLANK, Chat, Medium
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.reporting.embeddings.answers import AskedQuestion, ask_questions, explain_outcome
from seawall.reporting.embeddings.drawing import LossCurve, MapPoint, draw_curve, place_points
from seawall.reporting.embeddings.media import MediumView, view_medium
from seawall.reporting.embeddings.places import EncodedBank, encode_bank, find_starts, project, read_vectors
from seawall.reporting.embeddings.sample import GROUPS, choose_entries
from seawall.store.artifacts import Manifest, read_manifest
from seawall.store.embeddings import BLANK_SIZE, MADE_FROM, EmbeddingStore, Entry
from seawall.store.files import hash_listing, write_durably
from seawall.store.maintenance import OUTCOMES, open_any_store, require_model, summarize_entries
from seawall.store.pair import KINDS, Pair, read_pairs
from seawall.synthesis.amortize import LEFT_OUT, find_media
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.engines import find_devices
from seawall.synthesis.verify import MAX_NEW_TOKENS

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownEmbedding:
    """An embedding with all that the page shows of it."""

    anchor: str
    entry: Entry
    pair: Pair
    reason: str
    """Why it is, or is not, verified."""
    start: MediumView | None
    """The medium that it started from. None if the bank of the synthesis is not at hand."""
    start_distance: float | None
    """Cosine distance to that medium's encoder output."""
    curve: LossCurve | None
    asked: Sequence[AskedQuestion]
    nearest: Sequence[tuple[MediumView, float]]
    """Nearest media of the bank, with their cosine distances."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sources:
    """What a store was made from."""

    manifest: Manifest
    config: SynthesizeConfig
    loaded: LoadedModel
    pairs: Mapping[str, Pair]
    """By record id."""
    files: Sequence[Medium]
    """Files of the bank."""
    starts: Sequence[Medium]
    """Media that the synthesis could start from. Empty if the bank is not that of the synthesis."""


def show_embeddings(
    folder: Path,
    out: Path,
    *,
    model: str | None = None,
    pairs: Path | None = None,
    bank: Path | None = None,
    sample: int = 12,
) -> Path:
    """Write a page that shows whether a synthesis worked, and what went wrong. The store need not be finished.

    The page contains the phrases of harmful records. They are neither logged nor printed.

    Args:
        folder: Folder of the store.
        out: HTML file to write.
        model: The model that the embeddings were made for. None takes the name in the store's manifest.
        pairs: Folder of the pairs. None takes that in the manifest.
        bank: Folder of the bank. None takes that in the manifest, if it still exists.
        sample: Number of records to show in detail.

    Returns:
        `out`.

    Raises:
        ConfigError: The manifest has no name of the model or folder of the pairs, or `out` is a folder.
        ArtifactError: The folder holds no embeddings, or they were made for another model or from other pairs.
        DataError: The bank cannot be read.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder. Give the name of an HTML file, such as {out / 'embeddings.html'}.")
    if sample < 1:
        raise ConfigError(f"sample is {sample}; it must be at least 1.")
    store = open_any_store(folder)
    sources = _find_sources(folder, model, pairs, bank)
    known = [entry for entry in store.entries.values() if entry.record in sources.pairs]
    if not known:
        raise ArtifactError(
            f"{folder} holds {len(store.entries)} embeddings, but none of a record of these pairs. Give the folder of "
            "the pairs that they were made from as --pairs, or run `seawall synthesize` first."
        )
    chosen = [(entry, sources.pairs[entry.record]) for entry in choose_entries(known, sample)]
    page = _render(store, sources, chosen)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_durably(out, page.encode())
    log.info("%s shows %d of %d embeddings in detail", out, len(chosen), len(store.entries))
    return out


def _find_sources(folder: Path, model: str | None, pairs: Path | None, bank: Path | None) -> _Sources:
    """Load what a store was made from: what the user named, else what the manifest names."""
    manifest = read_manifest(folder)
    recorded = manifest.facts.get(MADE_FROM, {})
    if missing := [name for name, given in (("model", model), ("pairs", pairs)) if not (given or recorded.get(name))]:
        raise ConfigError(
            f"The manifest of {folder} does not name its {' and '.join(missing)}. "
            f"Give {' and '.join(f'--{name}' for name in missing)}."
        )
    known = {field.name for field in dataclasses.fields(SynthesizeConfig)}
    config = SynthesizeConfig(**{name: value for name, value in manifest.config.items() if name in known})
    found = {pair.id: pair for pair in read_pairs(pairs or Path(recorded["pairs"]))}
    modality = manifest.inputs.get("modality") or next(iter(found.values())).modality
    if bank is None and recorded.get("bank") and Path(recorded["bank"]).is_dir():
        bank = Path(recorded["bank"])
    files = find_media(bank, modality) if bank else []
    name = model or recorded["model"]
    loaded = load_model(
        name,
        modality=modality,
        blank=config.blank or manifest.facts.get(BLANK_SIZE),
        precision=config.precision,
        device_map=config.device_map,
    )
    require_model(folder, manifest, loaded.fingerprint)
    if not is_placed(loaded.model):
        loaded.model.to(find_devices()[0])
    starts: list[Medium] = []
    if config.start == "blank":
        starts = [BLANK]
    elif bank and files and hash_listing(files) == manifest.inputs.get("bank"):
        left_out = {bank / name for name in manifest.facts.get(LEFT_OUT, ())}
        files = [file for file in files if file not in left_out]
        starts = [*files]
    return _Sources(manifest=manifest, config=config, loaded=loaded, pairs=found, files=files, starts=starts)


def _render(store: EmbeddingStore, sources: _Sources, chosen: Sequence[tuple[Entry, Pair]]) -> str:
    """Return the page as HTML that loads nothing from the network."""
    from jinja2 import Environment, StrictUndefined

    embeddings = {entry.key: store.read(entry.key) for entry, _ in chosen if entry.shard}
    values = next(iter(embeddings.values())).numel() if embeddings else 0
    starts = find_starts(sources.loaded, chosen, sources.starts, sources.config) if sources.starts else {}
    bank = encode_bank(sources.loaded, sources.files, [*starts.values()], max(1, values))
    shown = _show_all(sources, chosen, embeddings, starts, bank)
    entries = [*store.entries.values()]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = importlib.resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        name="/".join(store.folder.resolve().parts[-2:]),
        model=sources.loaded.name,
        config=sources.config,
        complete=sources.manifest.complete,
        modality=sources.loaded.family.modality,
        summary=summarize_entries(entries, store.history),
        counts=_count(entries),
        failures=Counter(entry.failed for entry in entries if entry.failed).most_common(5),
        unknown=sum(entry.record not in sources.pairs for entry in entries),
        changed=sum(e.record in sources.pairs and not store.is_current(e, sources.pairs[e.record]) for e in entries),
        groups=_group(shown),
        bank=bank,
        starts_known=bool(sources.starts),
        map=_make_map(store, shown, bank, values) if values else None,
        max_new_tokens=MAX_NEW_TOKENS,
    )


def _show_all(
    sources: _Sources,
    chosen: Sequence[tuple[Entry, Pair]],
    embeddings: Mapping[str, Tensor],
    starts: Mapping[str, Medium],
    bank: EncodedBank,
) -> list[ShownEmbedding]:
    """Return the chosen entries with all that the page shows of them."""
    asked = ask_questions(sources.loaded, embeddings, chosen, sources.config)
    views = _Views(sources.loaded.chat)
    shown = []
    for number, (entry, pair) in enumerate(chosen, 1):
        embedding, start = embeddings.get(entry.key), starts.get(entry.key)
        questions = asked.get(entry.key, [])
        nearest = [] if embedding is None else bank.find_nearest(embedding)
        one = ShownEmbedding(
            anchor=f"record-{number}",
            entry=entry,
            pair=pair,
            reason=explain_outcome(entry, questions, sources.config),
            start=None if start is None else views[start],
            start_distance=None if start is None or embedding is None else bank.measure_distances(embedding)[start],
            curve=draw_curve(entry.curve, sources.config.threshold),
            asked=questions,
            nearest=[(views[medium], distance) for medium, distance in nearest],
        )
        shown.append(one)
    return shown


class _Views(dict[Medium, MediumView]):
    """Views of media, each made when it is first needed."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def __missing__(self, medium: Medium) -> MediumView:
        self[medium] = view_medium(self._chat, medium)
        return self[medium]


def _count(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    """Return kind -> outcome -> number of embeddings."""
    counts = Counter((entry.kind, entry.outcome) for entry in entries)
    return {kind: {outcome: counts[kind, outcome] for outcome in OUTCOMES} for kind in KINDS}


def _group(shown: Sequence[ShownEmbedding]) -> dict[tuple[str, str], list[ShownEmbedding]]:
    """Return (kind, outcome) -> embeddings, without empty groups."""
    groups = {group: [one for one in shown if (one.entry.kind, one.entry.outcome) == group] for group in GROUPS}
    return {group: members for group, members in groups.items() if members}


def _make_map(store: EmbeddingStore, shown: Sequence[ShownEmbedding], bank: EncodedBank, values: int) -> dict[str, Any]:
    """Return the points of the map in drawing order, and the share of the variance along each axis."""
    import torch

    entries, vectors = read_vectors(store, [one.entry for one in shown], values)
    coordinates, shares = project(torch.cat([bank.vectors, vectors]))
    places = place_points(coordinates)
    points = [
        MapPoint(place=place, sort="blank", title="blank")
        if medium is BLANK
        else MapPoint(place=place, sort="bank", title=f"bank: {getattr(medium, 'name', medium)}")
        for medium, place in zip(bank.media, places, strict=False)
    ]
    anchors = {one.entry.key: one.anchor for one in shown}
    for entry, place in zip(entries, places[len(bank.media) :], strict=True):
        title, link = f"{entry.key}: {entry.kind}, {entry.outcome}", anchors.get(entry.key, "")
        points.append(MapPoint(place=place, sort=entry.kind, title=title, verified=entry.verified, link=link))
    return {"points": points, "shares": shares, "synthetic": len(entries)}
