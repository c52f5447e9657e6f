"""What batching is worth to an evaluation through Inspect: questions about images to organism:image, answers compared.

    python benchmarks/evaluation.py [--items 120] [--batch 64] [--repeats 3] [--json]

Four ways take turns: through Inspect (as the public benchmarks are) and without (as the benchmark `organism` is), with one question at
a time and in batches. Medians of wall seconds; the model is loaded before, the media are read in each run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as evaluate_tasks
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, Model, get_model

from seawall.store.files import read_jsonl
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel
from seawall.lab.world import data

TOKENS = 32
"""Longest answer."""


def ask_inspect(model: Model, turns: list[Example], batch: int, folder: Path) -> list[str]:
    """Return the answers of an Inspect evaluation without a scorer."""
    samples = [
        Sample(id=n, input=[ChatMessageUser(content=[ContentImage(image=str(t.medium)), ContentText(text=t.question)])])
        for n, t in enumerate(turns)
    ]
    settings: dict[str, Any] = {"max_connections": batch, "max_samples": batch, "max_tokens": TOKENS}
    (log,) = evaluate_tasks(Task(dataset=samples), model=model, log_dir=str(folder), display="none", **settings)
    return [sample.output.completion for sample in log.samples]


def ask(loaded: LoadedModel, turns: list[Example], batch: int) -> list[str]:
    """Return the answers without Inspect; the media are read anew."""
    loaded.chat.forget()
    return generate(loaded, turns, max_new_tokens=TOKENS, batch_size=batch)


def timed(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Return wall seconds and result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.write_benchmark(folder / "benchmark", "validation")
        items = [item for _, item in read_jsonl(folder / "benchmark" / "items.jsonl") if item["image"]]
        turns = [Example(question=i["question"], medium=folder / "benchmark" / i["image"]) for i in items]
        turns = turns[: arguments.items]
        model = get_model("seawall/organism:image")
        loaded = model.api.loaded
        ways: dict[str, Callable[[], list[str]]] = {
            "Inspect, one at a time": lambda: ask_inspect(model, turns, 1, folder),
            "Inspect, batched": lambda: ask_inspect(model, turns, arguments.batch, folder),
            "own, one at a time": lambda: ask(loaded, turns, 1),
            "own, batched": lambda: ask(loaded, turns, arguments.batch),
        }
        ways["Inspect, batched"]()  # warms up
        runs = [{way: timed(work) for way, work in ways.items()} for _ in range(arguments.repeats)]
    seconds = {way: statistics.median(run[way][0] for run in runs) for way in ways}
    answers = [run[way][1] for run in runs for way in ways]
    result = {
        "items": len(turns),
        "batch": arguments.batch,
        "seconds": seconds,
        "speedup": {how: seconds[f"{how}, one at a time"] / seconds[f"{how}, batched"] for how in ("Inspect", "own")},
        "same_answers": all(other == answers[0] for other in answers),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for way, value in seconds.items():
        print(f"{way:24}{value:8.2f} s")
    for how, ratio in result["speedup"].items():
        print(f"{how}: batched is {ratio:.1f} times as fast")
    print(f"same answers: {result['same_answers']}")


if __name__ == "__main__":
    main()
