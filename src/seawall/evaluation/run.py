"""`evaluate` and `judge`: benchmarks through Inspect, answers and verdicts in its logs, figures in `results.json`.

Inspect keeps every answer and every verdict in its cache, in the folder of the run, as soon as it has it. So a run that
was interrupted at any point asks only for the rest when it is continued. `judge` asks again for the verdicts that are
missing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.errors import ArtifactError, EngineError, SeawallError
from seawall.evaluation.benchmarks.read import read_benchmark, set_system_prompt
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.config import FREE, JUDGES, RESULTS, BenchmarkConfig, EvaluateConfig, RunSettings
from seawall.evaluation.judges.registry import check_judges, make_scorers
from seawall.evaluation.statistics.answers import read_logs, read_verdict
from seawall.evaluation.statistics.summary import summarize
from seawall.models.steering.vector import find_file
from seawall.progress import track
from seawall.store.artifacts import MANIFEST, claim, finish, read_manifest, reopen
from seawall.store.files import hash_file, hash_text, read_json, write_json
from seawall.store.items import Item

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import Model
    from inspect_ai.scorer import Scorer

log = logging.getLogger(__name__)

SCHEMA = 2
"""Version of the layout of `results.json`."""
CACHE = "cache"
"""Folder of a run for answers and verdicts, one file each."""
SAMPLES_PER_SLOT = 4
"""Samples that Inspect works on at once, for each question of a batch: some are asked while others are judged."""


def evaluate(
    model: str,
    data: Path,
    out: Path,
    benchmark: BenchmarkConfig,
    config: EvaluateConfig = EvaluateConfig(),
    *,
    adapter: Path | None = None,
    steering: Path | None = None,
    judges: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask a model every item of a benchmark, greedily, and score the answers. The same call resumes an interrupted run.

    Args:
        model: Registered name, folder in Hugging Face format, or hub id.
        data: Folder or zip file of the benchmark, as downloaded (docs/how_to/benchmarks.md).
        out: Folder for Inspect's log, `results.json` and `manifest.json`.
        benchmark: What is asked. A finished folder can be continued with more or fewer types and scenarios.
        config: How the model is asked.
        adapter: Folder of a PEFT adapter made by `align`.
        steering: File of a steering vector made by `steer` for this model.
        judges: Judges that score the answers, such as `strongreject=openai/gpt-4o-mini`. Default: those of the
            benchmark. A finished folder can be continued with other judges.

    Returns:
        The content of `results.json`: `schema`, `benchmark`, `model`, `adapter`, `steering`, and the figures that
        `statistics.summarize` describes.

    Raises:
        ConfigError: Unknown or unusable judges; prompt types or scenarios that the benchmark does not have.
        DataError: The benchmark's files are missing or broken.
        ModelError: The model cannot be loaded, its chat template has no place for the system prompt, or the steering vector is
            of another model.
        ArtifactError: `out` belongs to another run, or not one item could be answered.
    """
    judges = tuple(judges) or BENCHMARKS.find(benchmark.benchmark).judges
    items = set_system_prompt(read_benchmark(benchmark, data), config.system_prompt)
    check_judges(judges, items)
    scorers = make_scorers(judges)
    opened = _open_model(model, adapter, steering, config)
    if any(item.system for item in items):
        opened.api.loaded.chat.template.check_system()  # type: ignore[attr-defined]
    inputs = {
        "model": opened.api.loaded.fingerprint,  # type: ignore[attr-defined]
        "items": hash_items(items),
        "adapter": hash_file(adapter / "adapter_model.safetensors") if adapter else "none",
        JUDGES: ", ".join(judges),
        **({"steering": hash_file(find_file(steering))} if steering else {}),
    }
    settings = RunSettings.join(benchmark, config)
    if claim(out, "evaluate", settings, inputs, free=FREE):
        results: dict[str, Any] = read_json(out / RESULTS)
        return results
    reopen(out, settings, inputs)
    answered = _ask(opened, benchmark.benchmark, items, scorers, out, config)
    return _write_results(out, answered, model, adapter, steering)


def judge(run: Path) -> dict[str, Any]:
    """Let the judges of a run score the answers that have no verdict. Other answers are not judged again.

    It needs neither the model nor the data of the run.

    Args:
        run: Folder that `evaluate` wrote.

    Returns:
        The new content of `results.json`.

    Raises:
        ConfigError: A judge of the run cannot be used.
        ArtifactError: The folder holds no answers of `evaluate`.
    """
    from inspect_ai.log import recompute_metrics, write_eval_log

    whole = _read_run(run)
    names = read_manifest(run).inputs[JUDGES].split(", ")
    for scorer, name in zip(make_scorers(names), name_scores(names), strict=True):
        pending = [sample for sample in whole.samples or () if lacks_verdict(sample, name)]
        if pending:
            _judge_samples(whole, pending, scorer, name)
            log.info("judge %s: %d answers judged again", name, len(pending))
    recompute_metrics(whole)
    write_eval_log(whole, whole.location)
    before = read_json(run / RESULTS)
    return _write_results(run, whole, before["model"], before["adapter"], before.get("steering"))


def lacks_verdict(sample: EvalSample, judge: str) -> bool:
    """Return whether a judge was asked about an answer and gave no verdict."""
    score = (sample.scores or {}).get(judge)
    if score is None or sample.error or (score.metadata or {}).get("unanswered"):
        return False
    return read_verdict(judge, score).unsafe is None


def name_scores(judges: Sequence[str]) -> list[str]:
    """Return the names of the judges' scores in Inspect's log. A judge with a second model gets the number 1 there."""
    names: list[str] = []
    for judge in judges:
        name = judge.partition("=")[0]
        numbered = (f"{name}{number or ''}" for number in itertools.count())
        names.append(next(candidate for candidate in numbered if candidate not in names))
    return names


def hash_items(items: Sequence[Item]) -> str:
    """Return a short hash of the items and of the sizes of their media."""
    facts = [
        [item.id, item.system, item.text, item.question, item.harmful, item.medium and item.medium.stat().st_size]
        for item in items
    ]
    return hash_text(json.dumps(facts))


def _open_model(model: str, adapter: Path | None, steering: Path | None, config: EvaluateConfig) -> Model:
    """Return the model behind the provider `seawall/`. Seawall's own errors are raised as such, not as Inspect's."""
    from inspect_ai.model import get_model

    try:
        return get_model(
            f"seawall/{model}",
            memoize=False,
            adapter=str(adapter) if adapter else None,
            steering=str(steering) if steering else None,
            batch_size=config.batch_size,
            long_sounds=config.long_sounds,
            precision=config.precision,
            device_map=config.device_map,
        )
    except Exception as error:
        raise (error.__cause__ if isinstance(error.__cause__, SeawallError) else error) from None


def _ask(
    model: Model, name: str, items: Sequence[Item], scorers: Sequence[Scorer], out: Path, config: EvaluateConfig
) -> EvalLog:
    """Run the task of a benchmark in the folder of a run, and return its log."""
    from inspect_ai import eval as evaluate_tasks
    from inspect_ai.log import list_eval_logs, read_eval_log

    from seawall.evaluation.benchmarks.tasks import make_task

    with _use_cache(out / CACHE), track("asking", len(items)) as bar:
        (answered,) = evaluate_tasks(
            make_task(name, items, scorers, cache=True, on_answer=bar.advance),
            model=model,
            log_dir=str(out),
            log_format="eval",
            display="none",
            log_images=config.log_media,
            max_samples=SAMPLES_PER_SLOT * config.batch_size,
            max_connections=config.batch_size,
            max_tokens=config.max_tokens,
        )
    if answered.status == "cancelled":
        raise KeyboardInterrupt
    if answered.status == "error":
        reason = answered.error.message if answered.error else "it gave no reason"
        raise EngineError(f"Inspect stopped the evaluation: {reason} Rerun the command to resume.")
    for other in list_eval_logs(str(out)):
        if Path(other.name).name != Path(answered.location).name:
            Path(other.name.removeprefix("file://")).unlink()
    return read_eval_log(answered.location)


@contextlib.contextmanager
def _use_cache(folder: Path) -> Iterator[None]:
    """Let Inspect keep answers and verdicts in a folder."""
    from seawall.evaluation.judges.asking import CACHED

    before, token = os.environ.get("INSPECT_CACHE_DIR"), CACHED.set(True)
    os.environ["INSPECT_CACHE_DIR"] = str(folder.resolve())
    try:
        yield
    finally:
        CACHED.reset(token)
        if before is None:
            del os.environ["INSPECT_CACHE_DIR"]
        else:
            os.environ["INSPECT_CACHE_DIR"] = before


def _read_run(run: Path) -> EvalLog:
    """Return the log of a run.

    Raises:
        ArtifactError: The folder is not that of a run, or `evaluate` was interrupted before it wrote results.
    """
    logs = read_logs(run) if (run / RESULTS).is_file() and (run / MANIFEST).is_file() else []
    if len(logs) != 1 or JUDGES not in read_manifest(run).inputs:
        raise ArtifactError(
            f"{run} holds no answers that judges have scored. Give a folder that `seawall evaluate` has finished."
        )
    return logs[0]


def _judge_samples(whole: EvalLog, pending: Sequence[EvalSample], scorer: Scorer, name: str) -> None:
    """Score some samples of a log with one judge, and replace their scores of this name."""
    from inspect_ai import score as score_log

    part = whole.model_copy(update={"samples": list(pending)})
    judged = score_log(part, scorer, model="none/none", action="overwrite", display="none")  # the judges need no model
    for sample, scored in zip(pending, judged.samples or (), strict=True):
        assert sample.scores is not None and scored.scores is not None
        (sample.scores[name],) = scored.scores.values()


def _write_results(
    out: Path, answered: EvalLog, model: str, adapter: Path | str | None, steering: Path | str | None
) -> dict[str, Any]:
    """Write the figures of a log. A run with failed samples stays open, so that the same command asks them again."""
    figures = summarize([answered])
    results = {
        "schema": SCHEMA,
        "benchmark": answered.eval.task,
        **figures,
        "model": model,
        "adapter": str(adapter) if adapter else None,
        "steering": str(steering) if steering else None,
    }
    write_json(out / RESULTS, results)
    samples = answered.samples or []
    failures = [(sample.id, sample.error.message) for sample in samples if sample.error]
    if not failures:
        finish(out)
        return results
    id, message = failures[0]
    reason = " ".join(message.split())[:400]
    if len(failures) == len(samples):
        raise ArtifactError(
            f"None of the {len(failures)} samples could be answered. The first error, of sample {id}: {reason} "
            f"The log in {out} has the others."
        )
    log.warning(
        "%d of %d samples failed and are not in the figures. Correct the cause, then rerun the command to ask them again. The first: %s: %s",
        len(failures), len(samples), id, reason,
    )  # fmt: skip
    return results
