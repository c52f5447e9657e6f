"""What a recipe consists of: its tables, and the configs of the stages that they fill."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from seawall.alignment.config import AlignConfig
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
from seawall.models.families import Precision
from seawall.preparation.config import PrepareConfig
from seawall.preparation.sources.source import Source
from seawall.synthesis.config import SynthesizeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelTable:
    """The model that all stages use."""

    name: str
    """Registered model, folder in Hugging Face format (relative to the recipe), or hub id."""
    precision: Precision | None = None
    """Precision in every stage: `fp32`, `bf16` or `4bit`. Default: that of the checkpoint."""
    device_map: str | None = None
    """`auto` spreads the model over GPUs, main memory and disk. Default: one device."""
    blank: float | None = None
    """Size of the blank medium, for synthesis and alignment: pixels of an image's edge, frames of a video, or seconds of a
    sound. Default: the size that `seawall models` lists, or the window of the feature extractor if that is shorter."""

    def get_shared(self, stage: str) -> dict[str, Any]:
        """Return the settings that a stage (`synthesize`, `align` or `evaluate`) takes from this table."""
        names = ("precision", "device_map", *(["blank"] if stage != "evaluate" else []))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataTable:
    """The data that the user brings, in addition to the settings of `prepare`."""

    sources: tuple[str | Source, ...]
    """Text safety data: files or folders, relative to the recipe, or ids of data sets. A source with settings of its own
    is a table, such as `{path = "a.csv", kind = "harmful", columns = {instruction = "goal"}}`."""
    bank: Path | None = None
    """Folder of real, harmless, unlabelled media from which the synthesis starts."""
    media: tuple[Path, ...] = ()
    """Folders of real media with `media.jsonl`, for the alignment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesisTable:
    """Where the synthesis runs, in addition to its settings."""

    engine: Literal["local", "ray"] = "local"
    """`local` uses every visible device of this machine, `ray` every device of a Ray cluster."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignmentTable:
    """What happens to the adapter, in addition to the settings of `align`."""

    merge: bool = False
    """Also write the whole model with the adapter merged."""
    push_to_hub: str | None = None
    """Hub repository to upload the adapter to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationTable:
    """The benchmark's data and judges, in addition to the settings of `evaluate`."""

    data: Path
    """Folder or zip file of the benchmark."""
    judges: tuple[str, ...] = ()
    """Judges such as `strongreject=openai/gpt-4o-mini`. Default: those of the benchmark."""


TABLES: dict[str, tuple[type, ...]] = {
    "model": (ModelTable,),
    "data": (DataTable, PrepareConfig),
    "synthesis": (SynthesisTable, SynthesizeConfig),
    "alignment": (AlignmentTable, AlignConfig),
    "evaluation": (EvaluationTable, BenchmarkConfig, EvaluateConfig),
}
"""Table -> the dataclasses whose fields are its keys."""
STAGES = {"synthesis": "synthesize", "alignment": "align", "evaluation": "evaluate"}
"""Table -> the stage that uses the model with its settings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run needs. `read_recipe` makes it from a file."""

    model: ModelTable
    """Table `[model]`."""
    data: DataTable
    """The sources of `[data]`."""
    prepare: PrepareConfig
    """The other keys of `[data]`."""
    synthesis: SynthesisTable = SynthesisTable()
    """The engine of `[synthesis]`."""
    synthesize: SynthesizeConfig = SynthesizeConfig()
    """The other keys of `[synthesis]`."""
    alignment: AlignmentTable = AlignmentTable()
    """What `[alignment]` says about the adapter."""
    align: AlignConfig = AlignConfig()
    """The other keys of `[alignment]`."""
    evaluation: EvaluationTable | None = None
    """Data and judges of `[evaluation]`. None if the recipe has no such table; then nothing is evaluated or reported."""
    benchmark: BenchmarkConfig | None = None
    """What is asked. None if nothing is evaluated."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How it is asked."""

    def find_conflicts(self) -> list[str]:
        """Return a sentence for each two values that exclude each other."""
        stages = {name: getattr(self, stage) for name, stage in STAGES.items()}
        faults = [
            f"model.{key} is {wanted!r}, but {stage}.{key} is {found!r}; set only model.{key}"
            for stage, config in stages.items()
            for key, wanted in self.model.get_shared(STAGES[stage]).items()
            if (found := getattr(config, key)) not in (None, wanted)
        ]
        if self.align.blank is not None and self.align.blank != (self.model.blank or self.synthesize.blank):
            faults.append(
                f"alignment.blank is {self.align.blank:g}, but synthesis.blank is not; set model.blank, which holds for both"
            )
        shares, synthetic = self.align.mixture.get_shares(), self.align.mixture.needs_embeddings
        if synthetic and self.synthesize.start == "bank" and self.data.bank is None:
            faults.append(
                'synthesis.start is "bank", but data.bank is missing; give a folder of harmless media, or set '
                'synthesis.start = "blank"'
            )
        if shares["synthetic_harmless"] and not self.synthesize.twins:
            faults.append(
                "synthesis.twins is false, but alignment.mixture.synthetic_harmless is above 0; make twins, or set the "
                "share to 0"
            )
        real = [name for name, share in shares.items() if share and name.startswith("media_")]
        if real and not self.data.media:
            faults.append(
                f"alignment.mixture.{real[0]} is above 0, but data.media is missing; give folders with media.jsonl, or "
                "set the share to 0"
            )
        if self.alignment.merge and self.align.tuning == "full":
            faults.append('alignment.merge is true, but alignment.tuning is "full", which makes no adapter; remove one')
        return faults
