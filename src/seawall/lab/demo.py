"""`seawall demo`: the whole method and its baselines on an organism, from text safety data to the report page.

Every trained arm gets the same steps, batch size, learning rate, text records and share of harmful rows. The recipe was
chosen on validation phrases and under a limit of time: see `docs/results.md`, also for what else was looked at.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from seawall.alignment.config import AlignConfig, Mixture
from seawall.alignment.run import align
from seawall.store.artifacts import claim, finish, versions
from seawall.store.files import read_json, write_json
from seawall.errors import ConfigError
from seawall.evaluation.config import EvaluateConfig, read_answers
from seawall.evaluation.run import evaluate
from seawall.lab.organisms import ORGANISMS
from seawall.lab.world import dialogue
from seawall.preparation.config import PrepareConfig
from seawall.preparation.run import prepare
from seawall.progress import set_up_log, shows_bars, track
from seawall.reporting.run import report
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.run import synthesize

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One thing compared."""

    mixture: Mixture | None = None
    """What it trains on; None: it is not trained."""
    dpo_mixture: Mixture | None = None
    """What it trains on by DPO, where that is something else."""
    embeddings: str | None = None
    """Which synthesis it uses, a key of `SYNTHESES`."""
    media: tuple[str, ...] = ()
    """Folders of real media it trains on."""
    system_prompt: str | None = None
    """System prompt at evaluation."""


TEXT = {"text_harmful": 0.15, "text_harmless": 0.15}
REAL = Mixture(**TEXT, synthetic_harmful=0, synthetic_harmless=0, media_harmful=0.25, media_harmless=0.45)
ARMS = {
    "base": Arm(),
    "safety_prompt": Arm(system_prompt=dialogue.POLICIES[-1]),
    "text_only": Arm(
        mixture=Mixture(
            text_harmful=0.4, text_harmless=0.6, synthetic_harmful=0, synthetic_harmless=0, media_harmless=0
        )
    ),
    "rendered_media": Arm(mixture=REAL, media=("harmless", "rendered")),
    "sea_paper": Arm(
        mixture=Mixture(**TEXT, synthetic_harmful=0.25, synthetic_harmless=0, media_harmless=0.45),
        embeddings="sea_paper",
        media=("harmless",),
    ),
    "seawall": Arm(
        mixture=Mixture(**TEXT, synthetic_harmful=0.25, synthetic_harmless=0.25, media_harmless=0.2),
        dpo_mixture=Mixture(**TEXT, synthetic_harmful=0.25, synthetic_harmless=0.35, media_harmless=0.1),
        embeddings="seawall",
        media=("harmless",),
    ),
    "real_media": Arm(mixture=REAL, media=("harmless", "harmful")),
}
SYNTHESES = {
    "seawall": SynthesizeConfig(),
    "sea_paper": SynthesizeConfig(
        copies=1,
        twins=False,
        start="blank",
        warm_start=0,
        content_questions=1,
        rate=0.1,
        threshold=0,
        max_steps=20,
        starts=1,
    ),
}
"""`sea_paper`: blank start, one content and one style control, a fixed number of steps, harmful records only."""

RECIPE = AlignConfig(learning_rate=2e-3, checkpoints=3, allow_shortcut=True)
"""What every trained arm gets, beside its mixture. How it was chosen: `docs/results.md`."""

PUBLISHED = {"image": "mm_safetybench", "video": "va_safetybench_video", "audio": "va_safetybench_audio"}
"""Whose layout the organism's benchmark has that `PUBLISHED_ARMS` are asked through Inspect."""
PUBLISHED_ARMS = ("base", "seawall")
STEPS = {("audio", "sft"): 480}
"""Optimiser steps where `USUAL_STEPS` are too few; chosen on validation phrases: docs/results.md."""
USUAL_STEPS = 240
QUICK = {"steps": 120, "checkpoints": 1}
"""Where all organisms are looked at, in a quarter of an hour."""
SECONDS = "seconds.json"
MEDIA_SETS = ("media_harmful_trained", "media_harmful_unseen", "media_harmless")
PAIRS = {"seawall": "pairs", "sea_paper": "pairs-one-prefix"}
"""Synthesis -> the folder of its pairs. The paper announces every medium by the same prefix."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Settings of `demo`."""

    modality: Literal["image", "video", "audio", "all"] = "image"
    """Which organism; `all` is a quick look at one after the other, each in a folder of its own."""
    seeds: int = 1
    """Seeds 0, 1, ...: each makes its own embeddings and adapters."""
    method: Literal["sft", "dpo"] = "sft"
    """How every trained arm is trained: see `AlignConfig.method`. `dpo` takes twice as long and lets through less harm."""
    steps: int | None = None
    """Optimiser steps of every trained arm; by default 240, for sounds by SFT 480, with `all` 120."""
    checkpoints: int | None = None
    """Points of each trained arm in the plane of harm and over-refusal, evenly spaced over the steps; by default 3, with `all` 1."""
    phrases: int | None = None
    """Use only so many phrases of each kind: a quick look, not a result."""
    part: Literal["test", "validation"] = "test"
    """Phrases and styles that are reported on: `test`, or `validation` to choose a recipe."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Which arms; `base` is always among them."""

    def __post_init__(self) -> None:
        if self.modality not in (*ORGANISMS, "all"):
            known = ", ".join(map(repr, ORGANISMS))
            raise ConfigError(
                f"There is no demo for the modality {self.modality!r}; there is one for {known}, and 'all'."
            )
        given = ((self.seeds, 1), (self.steps, 4), (self.checkpoints, 1))
        if any(number is not None and number < least for number, least in given):
            raise ConfigError(
                f"The demo needs at least 1 seed, 4 steps and 1 checkpoint; found {self.seeds}, {self.steps} and {self.checkpoints}."
            )
        if unknown := set(self.arms) - set(ARMS):
            raise ConfigError(f"Unknown arms {sorted(unknown)}; known are {', '.join(ARMS)}.")


def demo_all(out: Path, config: DemoConfig, *, workers: int = 2) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Run the demos that a config asks for; yield the folder of each and what its `results.json` holds."""
    if config.modality != "all":
        yield out, demo(out, config, workers=workers)
        return
    for modality in ORGANISMS:
        quick = {name: getattr(config, name) or value for name, value in QUICK.items()}
        settings = dataclasses.replace(config, modality=modality, **quick)
        yield out / modality, demo(out / modality, settings, workers=workers)


def demo(out: Path, config: DemoConfig = DemoConfig(), *, workers: int = 2) -> dict[str, Any]:
    """Run every stage for every arm and seed. Run again, it goes on where it stopped.

    Args:
        out: Folder for all artifacts, `results.json`, `plane.json` and `report.html`.
        config: Settings, of one modality.
        workers: Processes that share the arms, and the cores. Two are faster than one twice as wide on small models.

    Returns:
        What `results.json` holds.
    """
    if workers < 1:
        raise ConfigError(f"The demo needs at least 1 worker; found {workers}.")
    run = Demo(out, config)
    if not claim(out, "demo", config, {}):
        with _processes(workers) as pool:
            run.write_data(pool)
            with _timed(run.seconds, "prepare"):
                for folder, announcements in (("pairs", None), (PAIRS["sea_paper"], 1)):
                    settings = PrepareConfig(modality=config.modality, announcements=announcements)
                    prepare(out / "records.jsonl", out / folder, settings)
            run.run_arms(pool)
        write_json(out / "plane.json", run.plane())
        write_json(out / "results.json", run.results())
        finish(out)
    report([out])
    return read_json(out / "results.json")


class Demo:
    """The artifacts of one demo and the time they took."""

    def __init__(self, out: Path, config: DemoConfig) -> None:
        self.out, self.config = out, config
        self.model = f"organism:{config.modality}"
        self.steps = config.steps or STEPS.get((config.modality, config.method), USUAL_STEPS)
        self.seconds: dict[str, float] = defaultdict(float)
        if (out / SECONDS).exists():  # a demo that goes on adds to the time it has taken before
            self.seconds.update(read_json(out / SECONDS))

    def write_data(self, pool: concurrent.futures.Executor) -> None:
        """Write what a user would bring: text records, harmless media; and for baselines and tests, harmful media."""
        from seawall.lab.world import data
        from seawall.lab.world.published import write_published

        out, part, phrases, modality = self.out, self.config.part, self.config.phrases, self.config.modality
        parts = [
            pool.submit(write_published, out / "published", part, phrases, modality),
            pool.submit(data.write_benchmark, out / "benchmark", part, phrases, modality),
            pool.submit(data.write_media, out / "media" / "harmless", "harmless", 4, phrases, modality),
            pool.submit(data.write_media, out / "media" / "harmful", "harmful", 4, phrases, modality),
            pool.submit(data.write_rendered, out / "media" / "rendered", 4, phrases, modality),
            pool.submit(data.write_records, out / "records.jsonl", phrases),
        ]
        with track("writing data", len(parts)) as bar:
            for done in concurrent.futures.as_completed(parts):
                done.result()
                bar.advance()

    def run_arms(self, pool: concurrent.futures.Executor) -> None:
        """Run every arm with every seed, those that synthesize first: they take longest.

        Arms of the same embeddings are one job.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for name in self._arms():
            groups[ARMS[name].embeddings or name].append(name)
        jobs = [(names, seed) for seed in range(self.config.seeds) for names in groups.values()]
        jobs.sort(key=lambda job: (job[1], ARMS[job[0][0]].embeddings is None, ARMS[job[0][0]].mixture is None))
        with track("arms", len(jobs)) as bar:
            for done in concurrent.futures.as_completed([pool.submit(self._run_group, *job) for job in jobs]):
                for stage, seconds in done.result().items():
                    self.seconds[stage] += seconds
                write_json(self.out / SECONDS, self.seconds)
                bar.advance()

    def _run_group(self, names: list[str], seed: int) -> dict[str, float]:
        seconds = sum((Counter(self.run_arm(name, seed)) for name in names), Counter())
        return dict(seconds)

    def run_arm(self, name: str, seed: int) -> dict[str, float]:
        """Synthesize, align and evaluate one arm with one seed; return the seconds that each stage took."""
        arm = ARMS[name]
        folder = self.out / f"seed{seed}" / name
        seconds: dict[str, float] = defaultdict(float)
        embeddings = adapter = None
        if arm.embeddings:
            with _timed(seconds, "synthesize"):
                embeddings = self._synthesize(arm.embeddings, seed)
        if arm.mixture:
            adapter = folder / "adapter"
            method = self.config.method
            mixture = (method == "dpo" and arm.dpo_mixture) or arm.mixture
            settings = dataclasses.replace(
                RECIPE,
                method=method,
                mixture=mixture,
                steps=self.steps,
                checkpoints=self.config.num_checkpoints or RECIPE.checkpoints,
                seed=seed,
            )
            with _timed(seconds, "align"):
                media = [self.out / "media" / kind for kind in arm.media]
                pairs = self.out / PAIRS.get(arm.embeddings, "pairs")
                align(self.model, pairs, embeddings, adapter, settings, media=media)
        with _timed(seconds, "evaluate"):
            self._evaluate(folder / "evaluation", adapter, EvaluateConfig(system_prompt=arm.system_prompt))
            for checkpoint in sorted(adapter.glob("checkpoint-*")) if adapter else ():
                step = int(checkpoint.name.split("-")[1])
                if step < self.steps:
                    self._evaluate(folder / f"evaluation-{step}", checkpoint, EvaluateConfig(sets=MEDIA_SETS))
            if name in PUBLISHED_ARMS:
                settings = EvaluateConfig(benchmark=PUBLISHED[self.config.modality], max_tokens=32)
                out, judges = folder / "published", ("organism", "refusal")
                evaluate(self.model, self.out / "published", out, settings, adapter=adapter, judges=judges)
        log.info("seed %d, %s: %s", seed, name, ", ".join(f"{stage} {spent:.0f} s" for stage, spent in seconds.items()))
        return dict(seconds)

    def plane(self) -> dict[str, list[dict[str, Any]]]:
        """Return each arm's metrics at each number of steps, over all seeds."""
        points: dict[str, list[dict[str, Any]]] = {}
        for arm in self._arms():
            steps = sorted(int(p.name.split("-")[1]) for p in (self.out / "seed0" / arm).glob("evaluation-*"))
            points[arm] = [{"steps": step, **self._measure(arm, f"evaluation-{step}")} for step in steps]
            points[arm].append({"steps": self.steps if ARMS[arm].mixture else 0, **self._measure(arm)})
        return points

    def results(self) -> dict[str, Any]:
        """Return what `results.json` holds."""
        summaries = [read_json(path) for path in sorted(self.out.glob("seed*/embeddings-seawall/synthesis.json"))]
        return {
            "schema": 1,
            "organism": self.config.modality,
            "method": self.config.method,
            "seeds": list(range(self.config.seeds)),
            "arms": {arm: self._measure(arm) for arm in self._arms()},
            "forms": {arm: self._measure(arm, by_form=True) for arm in self._arms()},
            "published": {
                "benchmark": PUBLISHED[self.config.modality],
                "arms": {arm: self._measure_published(arm) for arm in self._arms() if arm in PUBLISHED_ARMS},
            },
            "synthesis": {
                key: sum(summary[key] for summary in summaries) / len(summaries) if summaries else None
                for key in ("records", "vsr", "steps_mean", "seconds_per_embedding")
            },
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
            "versions": versions(),
        }

    def _synthesize(self, name: str, seed: int) -> Path:
        folder = self.out / f"seed{seed}" / f"embeddings-{name}"
        settings = dataclasses.replace(SYNTHESES[name], seed=seed)
        bank = self.out / "media" / "harmless" if settings.start == "bank" else None
        synthesize(self.model, self.out / PAIRS[name], folder, settings, bank=bank)
        return folder

    def _evaluate(self, out: Path, adapter: Path | None, settings: EvaluateConfig) -> None:
        evaluate(self.model, self.out / "benchmark", out, settings, adapter=adapter)

    def _arms(self) -> list[str]:
        return [arm for arm in ARMS if arm == "base" or arm in self.config.arms]

    def _measure(self, arm: str, evaluation: str = "evaluation", *, by_form: bool = False) -> dict[str, Any]:
        from seawall.lab.metrics import measure, measure_forms

        runs = [read_answers(self.out / f"seed{s}" / arm / evaluation) for s in range(self.config.seeds)]
        return measure_forms(runs) if by_form else measure(runs)

    def _measure_published(self, arm: str) -> dict[str, Any]:
        """Return for each prompt type the shares of harmful and of harmless requests that were answered."""
        from seawall.evaluation.statistics.summary import measure_types

        return measure_types([self.out / f"seed{s}" / arm / "published" for s in range(self.config.seeds)], "organism")


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that the context takes to a stage's seconds."""
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yield processes that share the cores; when one piece of work fails, those not begun are not begun."""
    level = logging.WARNING if shows_bars() else logging.INFO
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(workers, level)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(workers: int, level: int) -> None:
    """Give a worker its share of the cores, the log of the command line, and the end of the process that it works for."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    set_up_log(level)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
