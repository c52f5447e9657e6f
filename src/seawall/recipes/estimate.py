"""The dry run: what a recipe will make, and roughly how long and how much memory and disk each stage takes."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from seawall.errors import ArtifactError
from seawall.evaluation.benchmarks.read import read_benchmark
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.judges.registry import JUDGES
from seawall.models.chat import BLANK, Blank
from seawall.models.load import LoadedModel, is_placed, load_model
from seawall.preparation.preview import preview_pairs
from seawall.preparation.sources.select import select_records
from seawall.recipes.check import check_recipe
from seawall.recipes.probe import (
    PROBED_RECORDS,
    SynthesisCost,
    TrainingCost,
    count_trained,
    probe_answers,
    probe_synthesis,
    probe_training,
)
from seawall.recipes.tables import Recipe
from seawall.recipes.usage import Cost, format_bytes, format_seconds, measure_folder, read_memory
from seawall.store.items import Item
from seawall.synthesis.amortize import find_media
from seawall.synthesis.engines import find_devices

log = logging.getLogger(__name__)

INSPECT_SECONDS, INSPECT_SECONDS_EACH, INSPECT_BYTES = 3.0, 0.02, 150_000_000
"""What Inspect adds to an evaluation: at its start, for each item, and in main memory."""
LOG_BYTES_EACH = 20_000
"""Disk for the log and the kept answer of an item, without its medium."""
WARM_STEPS = 0.6
"""Steps of a record with a warm start, relative to one without."""
FULL_SECONDS = 1.5
"""Time of a step of full tuning, relative to LoRA."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """What one stage will make and take."""

    stage: str
    """Name of the stage, as in `usage.json`."""
    makes: str
    """What it will make."""
    seconds: float
    """Wall time."""
    memory: int
    """Peak of main memory, in bytes."""
    gpu_memory: int = 0
    """Peak of GPU memory, over all GPUs, in bytes."""
    disk: int = 0
    """Size of its folder, in bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a recipe will make and take."""

    stages: Sequence[StageEstimate]
    """One entry per stage."""
    notes: Sequence[str]
    """What the numbers leave out or assume."""
    free_disk: int
    """Free space for the folder of the run, in bytes."""
    missing_disk: int
    """Space that the embeddings lack, in bytes. 0 if they fit."""

    def list_rows(self) -> list[dict[str, str]]:
        """Return a row of text for each stage, and one for the whole run. Without a GPU there is no column for its memory."""
        memory, gpu = (max(sizes) for sizes in zip(*((one.memory, one.gpu_memory) for one in self.stages), strict=True))
        whole = StageEstimate(
            stage="all",
            makes="",
            seconds=sum(one.seconds for one in self.stages),
            memory=memory,
            gpu_memory=gpu,
            disk=sum(one.disk for one in self.stages),
        )
        return [
            {
                "stage": one.stage,
                "makes": one.makes,
                "time": format_seconds(one.seconds),
                "memory": format_bytes(one.memory),
                **({"GPU memory": format_bytes(one.gpu_memory)} if gpu else {}),
                "disk": format_bytes(one.disk),
            }
            for one in (*self.stages, whole)
        ]

    def require_disk(self) -> None:
        """Check that the embeddings fit on the disk.

        Raises:
            ArtifactError: They do not. The text says how much is missing.
        """
        if self.missing_disk:
            (size,) = [one.disk for one in self.stages if one.stage == "synthesize"]
            raise ArtifactError(
                f"The embeddings take {format_bytes(size)}, but the disk has {format_bytes(self.free_disk)} free: "
                f"{format_bytes(self.missing_disk)} are missing. Free some space, use another --out, or lower "
                "data.sample or synthesis.copies."
            )


def estimate(recipe: Recipe, out: Path) -> Estimate:
    """Probe a few records of a recipe in a temporary folder, and foresee the whole run. Nothing is written to `out`.

    Models behind an API are not asked, neither as extractors nor as judges.

    Args:
        recipe: The recipe.
        out: Folder that the run would write to; its disk is looked at.

    Raises:
        ConfigError: A file is missing, or the mixture needs examples that the data does not contain.
        SeawallError: A stage would fail in the same way.
    """
    check_recipe(recipe)
    started = time.perf_counter()
    selection = select_records(recipe.data.sources, recipe.prepare)
    sample, pairs = preview_pairs(selection, recipe.prepare, PROBED_RECORDS)
    reading = time.perf_counter() - started
    items = read_benchmark(recipe.benchmark, recipe.evaluation.data) if recipe.evaluation and recipe.benchmark else []
    media = find_media(recipe.data.bank, recipe.prepare.modality) if recipe.data.bank and _uses_bank(recipe) else []
    started = time.perf_counter()
    loaded = load_model(
        recipe.model.name,
        modality=recipe.prepare.modality,
        blank=recipe.synthesize.blank,
        precision=recipe.align.precision,
        device_map=recipe.align.device_map,
    )
    loaded.chat.cut_long(recipe.align.long_sounds == "cut")
    if not is_placed(loaded.model):
        loaded.model.to(find_devices()[0])
    foresight = _Foresight(recipe, loaded, time.perf_counter() - started)
    stages: dict[str, StageEstimate] = {}
    if items:  # in the order of a run, so that what stays in memory is the same
        log.info("probing answers")
        answer = probe_answers(loaded, items, recipe.evaluate.max_tokens, recipe.evaluate.batch_size)
        stages["before"], level = foresight.foresee_evaluation("before", items, answer), read_memory()[0]
    stages["prepare"] = foresight.foresee_prepare(pairs, reading)
    cost: SynthesisCost | None = None
    if recipe.align.mixture.needs_embeddings:
        log.info("probing the synthesis")
        cost = probe_synthesis(loaded, sample, media or [BLANK], recipe)
        stages["synthesize"] = foresight.foresee_synthesis(pairs, media or [BLANK], cost)
    log.info("probing the alignment")
    with tempfile.TemporaryDirectory(prefix="seawall-dry-run-") as folder:
        trained = probe_training(loaded, sample, cost.tasks if cost else [], recipe, Path(folder))
    stages["align"] = foresight.foresee_alignment(pairs, trained)
    if items:
        answer = dataclasses.replace(answer, memory=answer.memory + max(0, read_memory()[0] - level))
        stages["after"] = foresight.foresee_evaluation("after", items, answer)
    chosen = [stages[name] for name in ("before", "prepare", "synthesize", "align", "after") if name in stages]
    free = shutil.disk_usage(next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())).free
    need = stages["synthesize"].disk - measure_folder(out / "embeddings") if cost else 0
    return Estimate(
        stages=[dataclasses.replace(one, memory=one.memory + bool(items) * INSPECT_BYTES) for one in chosen],
        notes=foresight.notes,
        free_disk=free,
        missing_disk=max(0, need - free),
    )


class _Foresight:
    """Turns the costs of probes into estimates of stages, and notes what they assume."""

    def __init__(self, recipe: Recipe, loaded: LoadedModel, load_seconds: float) -> None:
        self.recipe, self.loaded, self.load_seconds = recipe, loaded, load_seconds
        self.weights = sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters())
        self.notes: list[str] = []

    def foresee_prepare(self, pairs: dict[str, int], seconds: float) -> StageEstimate:
        config = self.recipe.prepare
        models = [name for name in (config.extractor, config.answers) if name and name != "rules"]
        if models:
            self.notes.append(f"prepare: the time of requests to {', '.join(models)} is not included")
        made = f"{pairs['harmful']} harmful and {pairs['harmless']} harmless pairs"
        return StageEstimate(
            stage="prepare", makes=made, seconds=seconds, memory=read_memory()[0], disk=2_000 * sum(pairs.values())
        )

    def foresee_synthesis(
        self, pairs: dict[str, int], media: Sequence[Path | Blank], cost: SynthesisCost
    ) -> StageEstimate:
        config = self.recipe.synthesize
        records = pairs["harmful"] + (pairs["harmless"] if config.twins else 0)
        copies = min(config.copies, len(media))
        first = min(records, config.warm_start) if config.warm_start else records
        rounds = 2 if first < records else 1  # the starting media are encoded again after a warm start
        steps = first + WARM_STEPS * (records - first) if config.threshold else records
        devices = len(find_devices()) if self.recipe.synthesis.engine == "local" else 1
        if cost.assumed_steps:
            self.notes.append(
                f"synthesize: {cost.assumed_steps} steps per record are assumed; at most "
                f"{config.max_steps * config.attempts}"
            )
        if self.recipe.synthesis.engine == "ray":
            self.notes.append("synthesize: the time is that of one device of this machine, not of the Ray cluster")
        number = records * copies
        return StageEstimate(
            stage="synthesize",
            makes=f"{number} embeddings, {copies} per record",
            seconds=self.load_seconds + rounds * len(media) * cost.seconds_per_medium
            + steps * cost.seconds_per_record / devices,
            memory=cost.batch.memory,
            gpu_memory=cost.batch.gpu_memory,
            disk=number * (cost.bytes_per_embedding + 1_000),
        )  # fmt: skip

    def foresee_evaluation(self, name: str, items: Sequence[Item], cost: Cost) -> StageEstimate:
        assert self.recipe.evaluation and self.recipe.benchmark
        judges = self.recipe.evaluation.judges or BENCHMARKS.find(self.recipe.benchmark.benchmark).judges
        models = [judge for judge in judges if JUDGES.find(judge.partition("=")[0]).needs_model]
        note = f"before, after: {len(items)} requests each to {', '.join(models)}; their time is not included"
        if models and note not in self.notes:
            self.notes.append(note)
        files = {item.medium for item in items if item.medium}
        stored = 2 * sum(file.stat().st_size for file in files) if self.recipe.evaluate.log_media else 0
        return StageEstimate(
            stage=name,
            makes=f"{len(items)} answers",
            seconds=self.load_seconds + INSPECT_SECONDS + len(items) * (INSPECT_SECONDS_EACH + cost.seconds),
            memory=cost.memory,
            gpu_memory=cost.gpu_memory,
            disk=stored + LOG_BYTES_EACH * len(items),
        )

    def foresee_alignment(self, pairs: dict[str, int], cost: TrainingCost) -> StageEstimate:
        config = self.recipe.align
        examples = config.steps * config.batch_size
        media = min(examples * config.mixture.get_shares()["media_harmless"], 1_000)
        seconds = self.load_seconds + cost.setup_seconds + config.steps * cost.seconds_per_step
        seconds += media * cost.seconds_per_medium
        if config.method == "dpo":  # the reference scores each example once, without gradients
            distinct = min(examples, sum(pairs.values()) * (1 + self.recipe.synthesize.copies) + media)
            seconds += distinct / config.batch_size * cost.seconds_per_step / 3
        memory, gpu = cost.run.memory, cost.run.gpu_memory
        disk = cost.adapter_bytes + config.num_checkpoints * cost.checkpoint_bytes
        if config.tuning == "full":
            self.notes.append("align: full tuning is estimated from a probe with LoRA")
            trained = count_trained(self.loaded) * self.loaded.model.dtype.itemsize
            seconds, disk = FULL_SECONDS * seconds, self.weights + config.num_checkpoints * (self.weights + 2 * trained)
            memory, gpu = (level + 3 * trained if level else 0 for level in (0 if gpu else memory, gpu))
        what = "model" if config.tuning == "full" else "adapter"
        return StageEstimate(
            stage="align",
            makes=f"{what}, {config.steps} steps of {config.batch_size} examples by {config.method.upper()}",
            seconds=seconds,
            memory=memory,
            gpu_memory=gpu,
            disk=disk + self.weights * self.recipe.alignment.merge,
        )


def _uses_bank(recipe: Recipe) -> bool:
    return recipe.align.mixture.needs_embeddings and recipe.synthesize.start == "bank"
