"""`seawall demo`: the whole method and its baselines on a built-in model, from text safety data to the report page."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import multiprocessing
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seawall.alignment.card import add_results
from seawall.alignment.run import align
from seawall.building.workers import exit_with_parent
from seawall.errors import ConfigError
from seawall.evaluation.config import RESULTS, BenchmarkConfig, EvaluateConfig
from seawall.evaluation.run import evaluate
from seawall.lab import benchmark
from seawall.lab.arms import ARMS, PAIRS, PLANE, PUBLISHED_ARMS, RECIPE, SCHEMA, SYNTHESES, DemoConfig
from seawall.lab.metrics import JUDGE, measure, measure_by_form
from seawall.lab.organisms.worlds import WORLDS
from seawall.preparation.config import PrepareConfig
from seawall.preparation.run import prepare
from seawall.progress import set_up_log, shows_bars, track
from seawall.reporting.card import add_to_card
from seawall.reporting.run import report
from seawall.steering.run import steer
from seawall.store.artifacts import claim, finish, versions
from seawall.store.files import read_json, write_json
from seawall.store.items import Answer, Figure
from seawall.store.maintenance import SUMMARY
from seawall.synthesis.run import synthesize

log = logging.getLogger(__name__)

SECONDS = "seconds.json"
"""File with the wall time of each stage, over all sessions and workers."""
CHECKPOINT_SETS = ("media_harmful_trained", "media_harmful_unseen", "media_harmless")
"""Sets on which checkpoints are measured."""


def run_demo(out: Path, config: DemoConfig = DemoConfig(), *, workers: int = 2) -> dict[str, Any]:
    """Run every stage for every arm and seed. Call it again to resume.

    Args:
        out: Folder for all artifacts, `results.json`, `plane.json` and `report.html`.
        config: Settings, of one modality.
        workers: Processes that share the arms and the cores. On small models, two are faster than one with twice
            the cores.

    Returns:
        The content of `results.json`.

    Raises:
        ConfigError: There are no workers.
        ArtifactError: `out` belongs to another run.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1.")
    demo = Demo(out, config)
    if not claim(out, "demo", config, {}):
        with _start_workers(workers) as pool:
            demo.write_data(pool)
            demo.prepare_pairs()
            demo.run_arms(pool)
        write_json(out / PLANE, demo.measure_plane())
        write_json(out / RESULTS, demo.make_results())
        finish(out)
    report([out])
    results: dict[str, Any] = read_json(out / RESULTS)
    return results


class Demo:
    """The artifacts of a demo, and the wall time that its stages took.

    Args:
        out: Folder of the demo.
        config: Settings, of one modality.
    """

    def __init__(self, out: Path, config: DemoConfig) -> None:
        self.out, self.config = out, config
        self.model, self.world = f"organism:{config.modality}", WORLDS[config.modality]
        self.seconds: dict[str, float] = defaultdict(float)
        if (out / SECONDS).exists():  # a resumed demo adds to the time of earlier sessions
            self.seconds.update(read_json(out / SECONDS))

    def write_data(self, pool: concurrent.futures.Executor) -> None:
        """Write text records and harmless media, as a user has, and harmful media for baselines and evaluation."""
        jobs = [pool.submit(job) for job in self.world.list_jobs(self.out, self.config.part, self.config.phrases)]
        with track("writing data", len(jobs)) as bar:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
                bar.advance()

    def prepare_pairs(self) -> None:
        """Convert the text records into pairs, once for each way to announce media."""
        with _timed(self.seconds, "prepare"):
            for folder, announcements in ((PAIRS["seawall"], None), (PAIRS["sea_paper"], 1)):
                settings = PrepareConfig(modality=self.world.modality, announcements=announcements)
                prepare(self.out / "records.jsonl", self.out / folder, settings)

    def run_arms(self, pool: concurrent.futures.Executor) -> None:
        """Run every arm with every seed. Those with a synthesis take longest and start first."""
        jobs = [(arm, seed) for seed in range(self.config.seeds) for arm in self.config.list_arms()]
        jobs.sort(key=lambda job: (job[1], ARMS[job[0]].embeddings is None, ARMS[job[0]].mixture is None))
        with track("arms", len(jobs)) as bar:
            for done in concurrent.futures.as_completed([pool.submit(self.run_arm, *job) for job in jobs]):
                for stage, seconds in done.result().items():
                    self.seconds[stage] += seconds
                write_json(self.out / SECONDS, self.seconds)
                bar.advance()

    def run_arm(self, name: str, seed: int) -> dict[str, float]:
        """Synthesize, align and evaluate one arm with one seed. Return the seconds that each stage took."""
        seconds: dict[str, float] = defaultdict(float)
        embeddings = adapter = steering = None
        if ARMS[name].embeddings:
            with _timed(seconds, "synthesize"):
                embeddings = self._synthesize(name, seed)
        if config := ARMS[name].steering:
            with _timed(seconds, "steer"):
                steering = self._get_folder(name, seed, "steering.safetensors")
                steer(self.model, self.out / PAIRS["seawall"], steering, dataclasses.replace(config, seed=seed))
        if ARMS[name].mixture:
            with _timed(seconds, "align"):
                adapter = self._align(name, seed, embeddings)
        with _timed(seconds, "evaluate"):
            self._measure_arm(name, seed, adapter, steering)
            if self.world.published and name in PUBLISHED_ARMS:
                self._evaluate_published(name, seed, adapter)
        log.info("seed %d, %s: %s", seed, name, ", ".join(f"{stage} {spent:.0f} s" for stage, spent in seconds.items()))
        return dict(seconds)

    def measure_plane(self) -> dict[str, list[dict[str, Any]]]:
        """Return the metrics of each arm after each number of steps, over all seeds."""
        points: dict[str, list[dict[str, Any]]] = {}
        for arm in self.config.list_arms():
            folders = (self.out / "seed0" / arm).glob("evaluation-*")
            steps = sorted(int(folder.name.split("-")[1]) for folder in folders)
            points[arm] = [
                {"steps": step, **_to_json(measure(self._read(arm, f"evaluation-{step}")))} for step in steps
            ]
            last = self.config.get_steps() if ARMS[arm].mixture else 0
            points[arm].append({"steps": last, **_to_json(measure(self._read(arm)))})
        return points

    def make_results(self) -> dict[str, Any]:
        """Return the content of `results.json`."""
        from seawall.evaluation.statistics.summary import measure_types

        arms = self.config.list_arms()
        published = {
            arm: [self._get_folder(arm, seed, "published") for seed in range(self.config.seeds)]
            for arm in arms
            if self.world.published and arm in PUBLISHED_ARMS
        }
        summaries = [read_json(path) for path in sorted(self.out.glob(f"seed*/embeddings-seawall/{SUMMARY}"))]
        return {
            "schema": SCHEMA,
            "organism": self.config.modality,
            "method": self.config.method,
            "seeds": list(range(self.config.seeds)),
            "arms": {arm: _to_json(measure(self._read(arm))) for arm in arms},
            "forms": {
                arm: {form: _to_json(figures) for form, figures in measure_by_form(self._read(arm)).items()}
                for arm in arms
            },
            "cut": {arm: sum(answer.cut for answers in self._read(arm) for answer in answers) for arm in arms},
            "published": {
                "benchmark": self.world.published,
                "arms": {arm: measure_types(folders, JUDGE) for arm, folders in published.items()},
            },
            "synthesis": {
                key: sum(summary[key] for summary in summaries) / len(summaries) if summaries else None
                for key in ("records", "vsr", "steps_mean", "seconds_per_embedding")
            },
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
            "versions": versions(),
        }

    def _synthesize(self, name: str, seed: int) -> Path:
        synthesis = ARMS[name].embeddings
        assert synthesis is not None
        folder = self.out / f"seed{seed}" / f"embeddings-{synthesis}"
        settings = dataclasses.replace(SYNTHESES[synthesis], seed=seed)
        bank = self.out / "media" / "harmless" if settings.start == "bank" else None
        synthesize(self.model, self.out / PAIRS[synthesis], folder, settings, bank=bank)
        return folder

    def _align(self, name: str, seed: int, embeddings: Path | None) -> Path:
        arm, adapter = ARMS[name], self._get_folder(name, seed, "adapter")
        mixture = arm.get_mixture(self.config.method)
        assert mixture is not None
        settings = dataclasses.replace(
            RECIPE,
            method=self.config.method,
            mixture=mixture,
            steps=self.config.get_steps(),
            num_checkpoints=self.config.num_checkpoints or RECIPE.num_checkpoints,
            seed=seed,
        )
        pairs = self.out / PAIRS[arm.embeddings or "seawall"]
        align(self.model, pairs, embeddings, adapter, settings, media=[self.out / "media" / kind for kind in arm.media])
        return adapter

    def _measure_arm(self, name: str, seed: int, adapter: Path | None, steering: Path | None) -> None:
        """Measure an arm after all steps and at each checkpoint, and add the metrics to the card of its adapter."""
        out, system = self._get_folder(name, seed, "evaluation"), ARMS[name].system_prompt
        answers = self._measure(out, system, None, adapter=adapter, steering=steering)
        if adapter is None:
            return
        add_results(adapter, benchmark.NAME, measure([answers]))
        for checkpoint in sorted(adapter.glob("checkpoint-*")):
            step = int(checkpoint.name.split("-")[1])
            if step < self.config.get_steps():
                out = self._get_folder(name, seed, f"evaluation-{step}")
                self._measure(out, None, CHECKPOINT_SETS, adapter=checkpoint)

    def _measure(
        self, out: Path, system: str | None, sets: tuple[str, ...] | None, **paths: Path | None
    ) -> list[Answer]:
        selection = BenchmarkConfig(benchmark=benchmark.NAME, scenarios=sets)
        config = EvaluateConfig(system_prompt=system, max_tokens=self.world.max_tokens)
        return benchmark.measure_directly(self.model, self.out / "benchmark", out, selection, config, **paths)

    def _evaluate_published(self, name: str, seed: int, adapter: Path | None) -> None:
        """Evaluate an arm through Inspect, on phrases in the layout of a published benchmark."""
        assert self.world.published
        results = evaluate(
            self.model,
            self.out / "published",
            self._get_folder(name, seed, "published"),
            BenchmarkConfig(benchmark=self.world.published),
            EvaluateConfig(max_tokens=self.world.max_tokens),
            adapter=adapter,
            judges=(JUDGE, "refusal"),
        )
        add_to_card(results)

    def _get_folder(self, name: str, seed: int, part: str) -> Path:
        return self.out / f"seed{seed}" / name / part

    def _read(self, arm: str, part: str = "evaluation") -> list[list[Answer]]:
        """Return the answers of each seed."""
        return [benchmark.read_answers(self._get_folder(arm, seed, part)) for seed in range(self.config.seeds)]


def _to_json(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: dataclasses.asdict(figure) for name, figure in figures.items()}


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the wall time of the context to the seconds of a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - started


@contextlib.contextmanager
def _start_workers(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yield a pool of processes that share the cores. After an error, jobs that have not started are cancelled."""
    level = logging.WARNING if shows_bars() else logging.INFO
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_set_up_worker, initargs=(workers, level)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_worker(workers: int, level: int) -> None:
    """Give a worker process its share of the cores and its log, and let it end with the main process."""
    import torch

    threading.Thread(target=exit_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    set_up_log(level)
