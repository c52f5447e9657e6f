"""Cost and quality of Seawall's synthesis, compared with the paper's, in one run on this machine.

    python benchmarks/synthesis.py [--records 24] [--repeats 3] [--json]
    python benchmarks/synthesis.py --ablation [--json]
    python benchmarks/synthesis.py --growth [--json]

`speedup` is wall time per verified embedding, reference over ours: medians over repeats, in which the two alternate.
The reference makes `--records` records, one at a time; ours makes all, as `seawall synthesize` does, with its warm
start. The time of ours includes verification and that of the reference does not, which favours the reference;
`speedup_verified` includes both. `speedup_cpu` is the same in CPU seconds of this process, for machines with other
work. Encoding the bank happens once per run whatever the number of records; it is not included, and stands beside as
`bank_seconds`. The records are not those on which the reference was tuned.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common import make_data
from gpu_synthesis import make_pair
from quality import measure_quality
from reference_synthesis import RATE, STEPS, synthesize_one
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.models.load import LoadedModel, load_model
from seawall.store.pair import Pair
from seawall.synthesis.amortize import SolvedEmbeddings, find_media, fit_warm_start
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import compute_losses, draw_controls
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import MAX_BATCH_SIZE, solve
from seawall.synthesis.verify import verify_embeddings
from shapes import LLAVA_7B, build, shrink

FULL = SynthesizeConfig()
"""Settings of ours."""
GROWTH = 2 * MAX_BATCH_SIZE
"""Records of the smaller run. Fewer would not fill the batch, so they would need less memory and more time each."""
ABLATION: dict[str, dict[str, Any]] = {
    "default": {},
    "no warm start": {"warm_start": 0},
    "one copy per record": {"copies": 1},
    "a row for each question": {"share_prefix": False},
    "one record at a time": {"batch_size": 1},
    "always 20 steps": {"threshold": 0, "max_steps": 20},
    "no threshold retries": {"threshold_retries": 0},
    "one content question": {"content_questions": 1},
    "four content questions": {"content_questions": 4},
    "learning rate 0.4": {"learning_rate": 0.4},
    "start from a blank": {"start": "blank"},
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """The model and data of all measurements."""

    loaded: LoadedModel
    """The model, frozen."""
    pairs: list[Pair]
    """The pairs to measure on."""
    bank: torch.Tensor
    """Starting points from the bank, shape = (media, rows, width)."""
    blank: torch.Tensor
    """The starting point of a blank, shape = (1, rows, width)."""

    def ours(self, records: int, times: int = 1, **settings: Any) -> dict[str, Any]:
        """Synthesize the first records, `times` times. Return time, counts, embeddings and the pair of each."""
        config = dataclasses.replace(FULL, **settings)
        first = self.pairs[:records]
        pairs = [dataclasses.replace(pair, id=f"{pair.id}/{number}") for number in range(times) for pair in first]
        tasks, wall, cpu = timed(lambda: self._solve(pairs, config))
        verified = sum(sum(task.verified) for task in tasks)
        steps = sum(task.steps + task.earlier_steps for task in tasks) / len(tasks)
        by_record = {task.record: task.embeddings for task in tasks}
        copies = len(tasks[0].content)
        return {
            "wall": wall / max(1, verified),
            "cpu": cpu / max(1, verified),
            "vsr": verified / (copies * len(tasks)),
            "steps": steps,
            "embeddings": torch.cat([by_record[pair.id] for pair in pairs]),
            "pairs": [pair for pair in pairs for _ in range(copies)],
        }

    def _solve(self, pairs: list[Pair], config: SynthesizeConfig) -> list[Task]:
        """Make embeddings as `seawall synthesize` does: the first records, then the rest with their warm start."""
        starts = self.blank if config.start == "blank" else self.bank
        first, rest = pairs[: config.warm_start], pairs[config.warm_start :]
        done = list(solve(self.loaded, first, starts, config))
        if not rest or not first:
            return done + list(solve(self.loaded, rest, starts, config))
        phrases = {pair.id: pair.phrase for pair in first}
        verified = [(task, embedding) for task in done for embedding in task.embeddings[task.verified]]
        solved = SolvedEmbeddings(
            phrases=[phrases[task.record] for task, _ in verified],
            embeddings=torch.stack([embedding for _, embedding in verified]),
        )
        warm_start = fit_warm_start(self.loaded, solved, starts)
        return done + list(solve(self.loaded, rest, starts, config, warm_start))

    def reference(self, records: int) -> dict[str, Any]:
        """Synthesize the first records as the paper does."""
        chosen = self.pairs[:records]
        made, wall, cpu = timed(lambda: [synthesize_one(self.loaded, pair, self.blank) for pair in chosen])

        def check(embedding: torch.Tensor, pair: Pair) -> bool:
            return verify_embeddings(self.loaded, embedding, [pair], speculative=False)[0]

        verdicts, checking, _ = timed(lambda: [check(e, pair) for e, pair in zip(made, chosen, strict=True)])
        verified = max(1, sum(verdicts))
        times = {"wall": wall / verified, "wall_verified": (wall + checking) / verified, "cpu": cpu / verified}
        return {**times, "vsr": sum(verdicts) / records, "embeddings": torch.cat(made)}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of some work, its wall time and its CPU time in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def set_up(folder: Path | None) -> tuple[Bench, float]:
    """Return the bench and the time to encode the bank in seconds."""
    _, pairs, _, media = make_data(folder)
    loaded = load_model("organism:image")
    loaded.model.requires_grad_(False)
    bank, seconds, _ = timed(lambda: encode_media(loaded, find_media(media)))
    return Bench(loaded, pairs, bank, encode_media(loaded, [BLANK])), seconds


def compare(bench: Bench, records: int, repeats: int) -> dict[str, Any]:
    """Return speed and quality of ours and of the reference. Their runs alternate."""
    bench.ours(2), bench.reference(1)  # warm up
    whole = len(bench.pairs)
    theirs, ours = zip(*((bench.reference(records), bench.ours(whole)) for _ in range(repeats)), strict=True)
    median = lambda runs, key: statistics.median(run[key] for run in runs)  # noqa: E731
    chosen = bench.pairs[:records]
    return {
        "records_reference": records,
        "records_ours": whole,
        "repeats": repeats,
        "reference_rate": RATE,
        "reference_steps": STEPS,
        "speedup": median(theirs, "wall") / median(ours, "wall"),
        "speedup_verified": median(theirs, "wall_verified") / median(ours, "wall"),
        "speedup_cpu": median(theirs, "cpu") / median(ours, "cpu"),
        "seconds_reference": median(theirs, "wall"),
        "seconds_ours": median(ours, "wall"),
        "vsr_reference": theirs[0]["vsr"],
        "vsr_ours": ours[0]["vsr"],
        "steps_mean": ours[0]["steps"],
        "quality_reference": measure_quality(bench.loaded, theirs[0]["embeddings"], chosen, bench.bank),
        "quality_ours": measure_quality(bench.loaded, ours[0]["embeddings"], ours[0]["pairs"], bench.bank),
    }


def measure_shared_prefix(repeats: int) -> float:
    """Return the time of a step in two rows over that in one row, on a random LLaVA with 576 media tokens."""
    shape = shrink(LLAVA_7B)
    text = {**shape.text, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    loaded = build(dataclasses.replace(shape, text=text))
    content, style = draw_controls(make_pair("image"), 1, "0")
    start = encode_media(loaded, [BLANK])

    def step(share_prefix: bool) -> None:
        (losses,) = compute_losses(loaded, start.clone().requires_grad_(), [[*content, style]], share_prefix)
        losses.sum().backward()

    step(True), step(False)
    times = [[timed(lambda shared=shared: step(shared))[2] for shared in (False, True)] for _ in range(repeats)]
    rows, shared = (statistics.median(column) for column in zip(*times, strict=True))
    return rows / shared


def measure_growth(folder: Path | None, records: int = GROWTH) -> dict[str, float]:
    """Return throughput and peak memory with 10 times the records, relative to 1 time. Each runs in its own process."""
    runs = []
    for times in (1, 10):
        command = [sys.executable, __file__, "--child", str(times), "--records", str(records)]
        command += ["--folder", str(folder)] if folder else []
        runs.append(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    small, large = runs
    return {
        "throughput_ratio_10x": small["cpu"] / large["cpu"],
        "memory_ratio_10x": large["peak"] / small["peak"],
    }


def ablate(bench: Bench, records: int, repeats: int) -> list[dict[str, Any]]:
    """Return cost, steps and VSR with one setting changed at a time. The variants alternate."""
    bench.ours(2)
    runs = [{name: bench.ours(records, **settings) for name, settings in ABLATION.items()} for _ in range(repeats)]
    median = lambda name: statistics.median(run[name]["cpu"] for run in runs)  # noqa: E731
    return [
        {
            "variant": name,
            "cpu_seconds": median(name),
            "ratio": median(name) / median("default"),
            "steps": runs[0][name]["steps"],
            "vsr": runs[0][name]["vsr"],
            **measure_quality(bench.loaded, runs[0][name]["embeddings"], runs[0][name]["pairs"], bench.bank),
        }
        for name in ABLATION
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder for the data; reused if it exists")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--growth", action="store_true", help="only the effect of 10 times the records")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bench, bank_seconds = set_up(arguments.folder)
    if arguments.child:
        run = bench.ours(arguments.records, times=arguments.child, warm_start=0)
        print(json.dumps({"cpu": run["cpu"], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
        return
    if arguments.growth:
        result: Any = measure_growth(arguments.folder)
    elif arguments.ablation:
        result = ablate(bench, arguments.records, arguments.repeats)
    else:
        result = compare(bench, arguments.records, arguments.repeats) | {"bank_seconds": bank_seconds}
        result |= {"shared_prefix_ratio": measure_shared_prefix(5)} | measure_growth(arguments.folder)
    print_result(result, arguments.json)


def print_result(result: Any, as_json: bool) -> None:
    """Print the results as JSON or as a table."""
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    rows = result if isinstance(result, list) else [{"figure": name, "value": value} for name, value in result.items()]
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
