"""Public benchmarks through Inspect: answers and verdicts in its logs, figures in `results.json`; nothing is asked twice.

Every answer and verdict is kept in Inspect's cache, in the folder of the run, as soon as it is there. So a run that goes on asks
for what is missing, whatever ended it. What was no verdict (`Score.unscored`) is judged again by `rejudge`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import eval as run_tasks
from inspect_ai import score as score_log
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log, recompute_metrics, write_eval_log
from inspect_ai.model import Model, get_model

from seawall.alignment.card import add_results
from seawall.store.artifacts import claim, finish, read_manifest, reopen
from seawall.store.files import hash_file, hash_text, read_json, write_json
from seawall.errors import ArtifactError, EngineError, SeawallError
from seawall.evaluation.config import RESULTS, EvaluateConfig
from seawall.evaluation.benchmarks.registry import read_benchmark
from seawall.store.items import Item
from seawall.evaluation.benchmarks.tasks import make_task
from seawall.evaluation.judges.scorers import make_scorers
from seawall.evaluation.judges.asking import CACHED
from seawall.evaluation.statistics.summary import summarize
from seawall.progress import track

log = logging.getLogger(__name__)

CACHE = "cache"
JUDGES = "judges"
FREE = (
    JUDGES,
    "items",
    "types",
    "scenarios",
    "tiny",
    "understanding",
    "limit",
    "log_media",
    "batch_size",
    "device_map",
)
"""What may change in a folder that goes on: each answer and each verdict is kept by what was asked."""


def run(
    model: str, data: Path, out: Path, config: EvaluateConfig, adapter: Path | None, judges: Sequence[str]
) -> dict[str, Any]:
    """See `seawall.evaluation.config`."""
    items = read_benchmark(
        config.benchmark,
        data,
        types=config.types,
        scenarios=config.scenarios,
        understanding=config.understanding,
        tiny=config.tiny,
    )[: config.limit]
    scorers = make_scorers(judges)
    asked = _open_model(model, adapter, config)
    inputs = {"model": asked.api.loaded.fingerprint, "items": hash_items(items), "adapter": "none"}
    if adapter:
        inputs["adapter"] = hash_file(adapter / "adapter_model.safetensors")
    inputs[JUDGES] = ", ".join(judges)
    if claim(out, "evaluate", config, inputs, free=FREE):
        return read_json(out / RESULTS)
    reopen(out, config, inputs)
    with _cache_in(out), track("asking", len(items)) as bar:
        (answered,) = run_tasks(
            make_task(config.benchmark, items, scorers, cache=True, on_answer=bar.advance),
            model=asked,
            log_dir=str(out),
            log_format="eval",
            display="none",
            log_images=config.log_media,
            max_samples=4 * config.batch_size,
            max_connections=config.batch_size,
            max_tokens=config.max_tokens,
        )
    if answered.status == "cancelled":
        raise KeyboardInterrupt
    if answered.status == "error":
        raise EngineError(f"Inspect ended the evaluation: {answered.error.message if answered.error else 'no reason'}")
    for older in list_eval_logs(str(out)):
        if Path(older.name).name != Path(answered.location).name:
            Path(older.name.removeprefix("file://")).unlink()
    return _write_results(out, read_eval_log(answered.location), model, str(adapter) if adapter else None)


def rejudge(out: Path) -> dict[str, Any]:
    """See `seawall.rejudge`."""
    logs = list_eval_logs(str(out)) if out.is_dir() else []
    if len(logs) != 1 or not (out / RESULTS).is_file():
        raise ArtifactError(f"{out} holds no answers that judges have scored. Give the folder of `seawall evaluate`.")
    whole = read_eval_log(logs[0].name)
    names = read_manifest(out)["inputs"][JUDGES].split(", ")
    for scorer, name in zip(make_scorers(names), names, strict=True):
        judge = name.partition("=")[0]
        open_ = [sample for sample in whole.samples if is_open(sample, judge)]
        if not open_:
            continue
        part = whole.model_copy(update={"samples": open_})
        again = score_log(part, scorer, action="overwrite", display="none")
        for sample, judged in zip(open_, again.samples, strict=True):
            sample.scores[judge] = judged.scores[judge]
        log.info("judge %s: %d answers judged again", judge, len(open_))
    recompute_metrics(whole)
    write_eval_log(whole, logs[0].name)
    before = read_json(out / RESULTS)
    return _write_results(out, whole, before["model"], before["adapter"])


def is_open(sample: EvalSample, judge: str) -> bool:
    """Tell whether a judge was asked about an answer and has given no verdict."""
    score = (sample.scores or {}).get(judge)
    return score is not None and not sample.error and math.isnan(score.as_float())


def hash_items(items: Sequence[Item]) -> str:
    """Return a short hash of what is asked and of the sizes of the media."""
    facts = [
        [item.id, item.system, item.text, item.question, item.harmful, item.medium and item.medium.stat().st_size]
        for item in items
    ]
    return hash_text(json.dumps(facts))


def _write_results(out: Path, answered: EvalLog, model: str, adapter: str | None) -> dict[str, Any]:
    """Write what the log says; a run in which samples failed stays open, so that the same command tries them again."""
    results = {
        "schema": 1,
        "benchmark": answered.eval.task,
        **summarize([answered]),
        "model": model,
        "adapter": adapter,
    }
    write_json(out / RESULTS, results)
    failed = [sample for sample in answered.samples if sample.error]
    if failed:
        log.warning(
            "%d of %d samples failed and are not in the figures; the same command tries them again. The first: %s: %s",
            len(failed),
            len(answered.samples),
            failed[0].id,
            " ".join(failed[0].error.message.split())[:400],
        )
    if len(failed) == len(answered.samples):
        raise ArtifactError(f"Not one of {len(failed)} samples could be answered. The log in {out} says why.")
    if adapter:
        add_results(Path(adapter), answered.eval.task, list_shares(results))
    if not failed:
        finish(out)
    return results


def list_shares(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return each judge's main figures as the card of an adapter takes them; those without a verdict are left out."""
    kinds = {"micro": "attack success", "refused": "harmless items refused"}
    return {
        f"{what}, by {judge}": {"mean": share["share"], **{key: share[key] for key in ("low", "high", "n")}}
        for judge, found in results["judges"].items()
        for kind, what in kinds.items()
        if (share := found.get(kind)) and share["n"]
    }


def _open_model(model: str, adapter: Path | None, config: EvaluateConfig) -> Model:
    """Return the model behind the provider `seawall/`; its faults come as Seawall's own, not as Inspect's."""
    try:
        return get_model(
            f"seawall/{model}",
            memoize=False,
            adapter=str(adapter) if adapter else None,
            batch_size=config.batch_size,
            precision=config.precision,
            device_map=config.device_map,
        )
    except Exception as error:
        raise (error.__cause__ if isinstance(error.__cause__, SeawallError) else error) from None


@contextlib.contextmanager
def _cache_in(out: Path) -> Iterator[None]:
    """Let Inspect keep answers and verdicts in the folder of a run."""
    before, token = os.environ.get("INSPECT_CACHE_DIR"), CACHED.set(True)
    os.environ["INSPECT_CACHE_DIR"] = str((out / CACHE).resolve())
    try:
        yield
    finally:
        CACHED.reset(token)
        if before is None:
            del os.environ["INSPECT_CACHE_DIR"]
        else:
            os.environ["INSPECT_CACHE_DIR"] = before
