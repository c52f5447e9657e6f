"""Settings of `prepare`."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from seawall.errors import ConfigError
from seawall.media.modality import MODALITIES
from seawall.preparation.presets import PRESETS, Columns
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
    """Format of the source: pku-saferlhf, beavertails, hh-rlhf, salad-bench, salad-bench-attacks, alpaca or dolly.
    `auto` chooses by the columns."""
    columns: Columns = Columns()
    """Column names of a source that matches no preset."""
    subset: str | None = None
    """Configuration or subfolder of a dataset. None uses the dataset's default."""
    split: str | None = None
    """Split of a dataset. None uses `train`, or the only split."""
    kind: Literal["harmful", "harmless"] | None = None
    """Kind of all requests that the source does not label. None leaves them out, except in Seawall's own format, where
    they are harmful."""
    refusals: tuple[str, ...] = (
        "I can't help with that.",
        "Sorry, I won't help with this.",
        "I can't assist with that request.",
    )
    """Responses for datasets of harmful requests that have no responses. One is chosen for each record by its id and
    the seed."""
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
    """Maximum number of records, drawn at random. None uses all."""
    announcements: int | None = None
    """Number of different sentences that announce the medium. None uses all. 1 uses only the prefix of the SEA paper;
    a model can then learn to refuse the prefix instead of the content."""
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
        if self.retries < 0:
            faults.append(f"retries is {self.retries}; it must be at least 0")
        if faults:
            raise ConfigError("; ".join(faults) + ".")

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
        for name, allowed in (("preset", ("auto", *PRESETS)), ("duplicates", get_args(Duplicates))):
            if (value := getattr(self, name)) not in allowed:
                faults.append(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        if self.kind not in (None, *KINDS):
            faults.append(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        return faults
