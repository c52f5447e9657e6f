"""Stage 1, `prepare`: text safety data -> alignment pairs."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seawall.artifacts import (
    MANIFEST,
    claim,
    finish,
    hash_text,
    read_manifest,
    release,
    reopen,
    write_jsonl,
)
from seawall.errors import ConfigError, DataError
from seawall.phrasing import MEDIA
from seawall.prepare.presets import KINDS, PRESETS, Columns

if TYPE_CHECKING:
    from seawall.prepare.presets import Dropped

log = logging.getLogger(__name__)

FREE = ("connections", "retries", "timeout")
"""Settings that say how a model is asked, not what comes out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Settings of `prepare`."""

    modality: Literal["image", "video", "audio"] = "image"
    """What the embeddings will stand for."""
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
        if self.modality not in MEDIA:
            faults.append(f"modality is {self.modality!r}; it must be one of {', '.join(MEDIA)}")
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


def prepare(
    source: str | Path | Sequence[str | Path], out: Path, config: PrepareConfig = PrepareConfig()
) -> dict[str, int]:
    """Turn text safety data into alignment pairs.

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
    from seawall.prepare import run
    from seawall.prepare.filters import drop_unfit
    from seawall.prepare.pairs import describe

    sources = [source] if isinstance(source, str | Path) else list(source)
    begun = (out / MANIFEST).is_file()
    clients = {} if begun else run.open_clients(config)  # a missing key is said before anything is read
    retrying = len(sources) == 1 and (Path(sources[0]) / MANIFEST).is_file()
    before, records = run.read_rejected(Path(sources[0]), config) if retrying else ([], [])
    dropped: list[Dropped] = []
    if not retrying:
        records, dropped = run.read_sources(sources, config)
    inputs = {"source": hash_text(json.dumps([before, [describe(record) for record in records]]))}
    read = len(before) + len(records) + len(dropped)
    if not retrying:
        words = config.instruction_words, config.response_words
        records, unfit = drop_unfit(
            records, words=words, language=config.language, copies=config.copies, sample=config.sample, seed=config.seed
        )
        dropped += unfit
    steps = Counter(drop.step for drop in dropped)
    if claim(out, "prepare", config, inputs, FREE):
        return read_manifest(out)["counts"]
    clients = clients or run.open_clients(config)
    started = time.perf_counter()
    extracted, rejected = run.extract_all(records, config, clients.get("extractor"))
    facts: dict[str, Any] = {}
    if "answers" in clients:
        facts["own_answers"] = run.answer_harmless(extracted, clients["answers"])
    facts |= {use: dataclasses.asdict(client.usage) for use, client in clients.items()}
    facts["seconds"] = time.perf_counter() - started
    pairs = before + extracted
    if not pairs:
        release(out)
        raise DataError(run.explain_nothing(sources, rejected, steps, config.extractor))
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
