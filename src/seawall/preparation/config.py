"""Settings of `prepare`."""

from __future__ import annotations

import dataclasses
from typing import Literal

from seawall.errors import ConfigError
from seawall.media.modality import MODALITIES
from seawall.preparation.presets import PRESETS, Columns
from seawall.store.pair import KINDS

FREE = ("connections", "retries", "timeout")
"""Settings that may change when a run is resumed: they say how a model is asked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Settings of `prepare`."""

    modality: str = "image"
    """What the embeddings will stand for: image, video, audio, or a modality that you have registered."""
    extractor: str = "rules"
    """How phrases are found: by rules, or by a model that Inspect reaches, such as openai/gpt-4o-mini, ollama/llama3 or seawall/FOLDER."""
    answers: str | None = None
    """A model whose own answers, to the plain instructions, replace the responses of harmless records: that which will be aligned."""
    preset: str = "auto"
    """Schema of the source: auto goes by its columns; else pku-saferlhf, beavertails, hh-rlhf, salad-bench, salad-bench-attacks, alpaca or dolly."""
    columns: Columns = Columns()
    """The columns of a source that is of no preset."""
    subset: str | None = None
    """Configuration or subfolder of a set."""
    split: str | None = None
    """Split of a set; by default train."""
    kind: Literal["harmful", "harmless"] | None = None
    """What the requests are that the source does not label; without it those of a public set are left out."""
    refusals: tuple[str, ...] = (
        "I can't help with that.",
        "Sorry, I won't help with this.",
        "I can't assist with that request.",
    )
    """Responses to draw from where a set of harmful requests has none."""
    copies: Literal["near", "exact", "keep"] = "near"
    """Which copies of an instruction are left out."""
    instruction_words: int = 200
    """The longest instruction that is used, in words."""
    response_words: int = 800
    """The longest response that is used, in words."""
    language: str | None = None
    """Use only this language, as an ISO 639-1 code such as en."""
    sample: int | None = None
    """Draw so many records at most."""
    announcements: int | None = None
    """Announce the medium in only so many ways: 1 is the paper's one prefix, which a model can learn in place of the content."""
    seed: int = 0
    """Seed of the sample and of the drawn questions, styles and announcements."""
    connections: int = 10
    """Requests to the extractor at a time."""
    retries: int = 6
    """Of a request that the extractor's server turns away or breaks off."""
    timeout: int = 120
    """Seconds that a request to the extractor may take."""

    def __post_init__(self) -> None:
        faults = []
        if self.modality not in MODALITIES:
            faults.append(f"modality is {self.modality!r}; it must be one of {', '.join(MODALITIES.names())}")
        if self.extractor != "rules" and "/" not in self.extractor:
            faults.append(
                f"extractor is {self.extractor!r}; --extractor takes 'rules' or a model as Inspect names it, such as openai/gpt-4o-mini"
            )
        if self.answers is not None and "/" not in self.answers:
            faults.append(f"answers is {self.answers!r}; it takes a model as Inspect names it, such as ollama/llama3")
        if self.preset not in ("auto", *PRESETS):
            faults.append(f"preset is {self.preset!r}; it must be auto or one of {', '.join(PRESETS)}")
        if self.kind not in (None, *KINDS):
            faults.append(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
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


