"""Speed of an evaluation through Inspect, with and without batches, compared with direct calls. The answers are
compared too.

    python benchmarks/evaluation.py [--items 120] [--batch 64] [--repeats 3] [--json]

It asks `organism:image` about images in four ways, which alternate: through Inspect, as `seawall evaluate` does, and
directly, as the demo does; each with one question at a time and in batches. The times are medians of wall time. The
model is loaded before; the media are read in each run.
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

from seawall.lab.world import data
from seawall.models.chat import Example
from seawall.models.generate import generate
from seawall.models.load import LoadedModel
from seawall.store.files import read_jsonl

TOKENS = 32
"""Maximum tokens of an answer."""


def ask_inspect(model: Model, examples: list[Example], batch: int, folder: Path) -> list[str]:
    """Return the answers of an Inspect evaluation without a scorer."""
    samples = [
        Sample(id=n, input=[ChatMessageUser(content=[ContentImage(image=str(e.medium)), ContentText(text=e.question)])])
        for n, e in enumerate(examples)
    ]
    settings: dict[str, Any] = {"max_connections": batch, "max_samples": batch, "max_tokens": TOKENS}
    (log,) = evaluate_tasks(Task(dataset=samples), model=model, log_dir=str(folder), display="none", **settings)
    return [sample.output.completion for sample in log.samples]


def ask_directly(loaded: LoadedModel, examples: list[Example], batch: int) -> list[str]:
    """Return the answers without Inspect. The media are read again."""
    loaded.chat.forget()
    return generate(loaded, examples, max_new_tokens=TOKENS, batch_size=batch)


def time_call(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Return wall time in seconds, and the result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def read_examples(folder: Path, limit: int) -> list[Example]:
    """Write the built-in benchmark of images, and return its questions about media."""
    data.write_benchmark(folder, "validation")
    items = [item for _, item in read_jsonl(folder / "items.jsonl") if item["image"]]
    return [Example(question=item["question"], medium=folder / item["image"]) for item in items][:limit]


def measure(items: int, batch: int, repeats: int) -> dict[str, Any]:
    """Return the times of the four ways, and whether their answers are equal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = read_examples(folder / "benchmark", items)
        model = get_model("seawall/organism:image")
        loaded = model.api.loaded
        ways: dict[str, Callable[[], list[str]]] = {
            "Inspect, one at a time": lambda: ask_inspect(model, examples, 1, folder),
            "Inspect, batched": lambda: ask_inspect(model, examples, batch, folder),
            "direct, one at a time": lambda: ask_directly(loaded, examples, 1),
            "direct, batched": lambda: ask_directly(loaded, examples, batch),
        }
        ways["Inspect, batched"]()  # warms up
        runs = [{way: time_call(work) for way, work in ways.items()} for _ in range(repeats)]
    seconds = {way: statistics.median(run[way][0] for run in runs) for way in ways}
    answers = [run[way][1] for run in runs for way in ways]
    return {
        "items": len(examples),
        "batch": batch,
        "seconds": seconds,
        "speedup": {
            how: seconds[f"{how}, one at a time"] / seconds[f"{how}, batched"] for how in ("Inspect", "direct")
        },
        "same_answers": all(other == answers[0] for other in answers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.items, arguments.batch, arguments.repeats)
    if arguments.json:
        print(json.dumps(result))
        return
    for way, value in result["seconds"].items():
        print(f"{way:24}{value:8.2f} s")
    for how, ratio in result["speedup"].items():
        print(f"{how}: batched is {ratio:.1f} times as fast")
    print(f"same answers: {result['same_answers']}")


if __name__ == "__main__":
    main()
