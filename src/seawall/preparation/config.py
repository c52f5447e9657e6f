"""Settings of `prepare`."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from seawall.errors import ConfigError
from seawall.media.modality import MODALITIES
from seawall.preparation.sources.presets import PRESETS
from seawall.preparation.sources.source import Columns, Kind, Turns, is_encoding
from seawall.prompts import get_sentences
from seawall.store.pair import KINDS

FREE = ("connections", "retries", "timeout")
"""Settings that may change when a run is resumed. They affect how a model is queried, not the result."""

Duplicates = Literal["near", "exact", "keep"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Settings of `prepare`."""

    modality: str = "image"
    """What the embeddings will stand for: image, video, audio, or a registered modality."""
    extractor: str = "rules"
    """How to find the phrases: `rules`, or an Inspect model such as openai/gpt-4o-mini, ollama/llama3 or
    seawall/FOLDER."""
    answers: str | None = None
    """Inspect model that answers the harmless requests; its answers replace the responses of the data. Use the model
    that you will align. None keeps the responses of the data."""
    preset: str = "auto"
    """Format of the sources, such as pku-saferlhf, preferences, chat, requests or alpaca; docs/how_to/data.md lists all.
    `auto` chooses by the columns."""
    columns: Columns = Columns()
    """Column names of sources that match no preset. A source can have columns of its own; see `Source`."""
    header: bool = True
    """Whether the first row of CSV and TSV files has the column names. Without a header, a single column is the
    instruction, and several columns are named 1, 2, and so on."""
    encoding: str | None = None
    """Encoding of text files, such as cp1252. None recognises UTF-8 and UTF-16."""
    turns: Turns = "last"
    """What becomes of conversations of several turns: `last` uses the last request and its answer, `single` drops
    them. Use `single` where last requests make no sense without the turns before them."""
    subset: str | None = None
    """Configuration or subfolder of a dataset. None uses the dataset's default."""
    split: str | None = None
    """Split of a dataset. None uses `train`, or the only split."""
    kind: Kind | None = None
    """Kind of all requests. It counts more than what a preset assumes, and must not contradict a column of kinds or the
    labels of the data. None leaves out requests that nothing labels, except in Seawall's own format: there they are
    harmful if their answer refuses."""
    allow_label_conflicts: bool = False
    """Whether to go on where `kind` contradicts the data, most answers to harmful requests do not refuse, or most
    answers to harmless ones do."""
    refusals: tuple[str, ...] = (
        "I can't help with that.",
        "Sorry, I won't help with this.",
        "I can't assist with that request.",
    )
    """Responses for harmful requests of data without responses. One is chosen for each record by its id and the
    seed."""
    duplicates: Duplicates = "near"
    """Which repeated instructions to drop: `near` drops near and exact duplicates, `exact` only exact ones, `keep`
    none."""
    instruction_words: int = 200
    """Maximum length of an instruction in words. Longer records are dropped."""
    response_words: int = 800
    """Maximum length of a response in words. Longer records are dropped."""
    language: str | None = None
    """ISO 639-1 code, such as en. Records in other languages are dropped. None keeps all languages."""
    sample: int | None = None
    """Number of pairs, from records drawn at random. None uses all records."""
    balance: bool = False
    """Whether half of the sample is harmful and half harmless."""
    announcements: int | None = None
    """Number of different sentences that announce the medium. None uses all. 1 uses only the prefix of the SEA paper;
    a model can then learn to refuse the prefix instead of the content."""
    whole_requests: float | None = None
    """Share of the records whose medium contains the whole request instead of its phrase, with no text beside it. Only
    for modalities with words (audio). None takes a third, as in VA-SafetyBench; 0 makes none."""
    style_controls: bool = True
    """Whether each pair has a style question, which varies its embeddings by colour, background or voice."""
    seed: int = 0
    """Random seed for the sample and for the announcements, questions and styles."""
    connections: int = 10
    """Concurrent requests to each model."""
    retries: int = 6
    """Retries after a failed request to a model."""
    timeout: int = 120
    """Time limit for a request to a model, in seconds."""

    def __post_init__(self) -> None:
        faults = self._find_unknown_names()
        if not self.refusals:
            faults.append("refusals is empty; it needs at least one text")
        for name in ("instruction_words", "response_words", "announcements", "sample", "connections", "timeout"):
            value = getattr(self, name)
            if value is not None and value < 1:
                faults.append(f"{name} is {value}; it must be at least 1")
        faults += self._find_wrong_share()
        if self.balance and self.sample is None:
            faults.append("balance is true, but sample is missing; give the number of pairs")
        if self.retries < 0:
            faults.append(f"retries is {self.retries}; it must be at least 0")
        if faults:
            raise ConfigError("; ".join(faults) + ".")

    def _find_wrong_share(self) -> list[str]:
        """Return a sentence if the share of whole requests is no share, or the modality has no words."""
        share = self.whole_requests
        if share is not None and not 0 <= share <= 1:
            return [f"whole_requests is {share:g}; it must be from 0 to 1"]
        if share and get_sentences(self.modality).transcript is None:
            return [
                f"whole_requests is {share:g}, but modality {self.modality} has no words; use audio, or leave it out"
            ]
        return []

    def _find_unknown_names(self) -> list[str]:
        """Return a sentence for each setting that names something unknown."""
        faults = []
        if self.modality not in MODALITIES:
            faults.append(
                f"modality is {self.modality!r}; it must be one of {', '.join(MODALITIES.names())}, or one that you "
                "add with seawall.register_modality"
            )
        if self.extractor != "rules" and "/" not in self.extractor:
            faults.append(
                f"extractor is {self.extractor!r}; it must be 'rules' or an Inspect model such as openai/gpt-4o-mini"
            )
        if self.answers is not None and "/" not in self.answers:
            faults.append(f"answers is {self.answers!r}; it must be an Inspect model such as ollama/llama3")
        choices = (("preset", ("auto", *PRESETS)), ("duplicates", get_args(Duplicates)), ("turns", get_args(Turns)))
        for name, allowed in choices:
            if (value := getattr(self, name)) not in allowed:
                faults.append(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        if self.encoding is not None and not is_encoding(self.encoding):
            faults.append(f"encoding is {self.encoding!r}; it must be a name such as utf-8, cp1252 or shift_jis")
        if self.kind not in (None, *KINDS):
            faults.append(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        return faults
