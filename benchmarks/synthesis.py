"""What the synthesis of Seawall costs and gives, against the paper's, in one run on this machine.

    python benchmarks/synthesis.py [--records 24] [--repeats 3] [--json]
    python benchmarks/synthesis.py --ablation [--json]
    python benchmarks/synthesis.py --growth [--json]

`speedup` is wall time an embedding that verifies, reference over ours: medians over repeats, in which the two take turns.
The reference makes `--records` records, each alone; ours all there are, as `seawall synthesize` does, with its first block.
Ours is timed with its verification, the reference without, which favours it; `speedup_verified` has it in both.
`speedup_cpu` is the same in CPU seconds of this process, for busy machines. Encoding the bank, once a run whatever the
number of records, is in none and stands beside as `bank_seconds`. The records are not those that the reference was tuned on.
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
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import controls, losses
from seawall.synthesis.optimize import Task
from seawall.synthesis.solve import MOST_AT_ONCE, Job, solve
from seawall.synthesis.verify import verify
from seawall.synthesis.amortize import find_media, fit_warm_start
from shapes import LLAVA_7B, build, shrink

FULL = SynthesizeConfig()
GROWTH = 2 * MOST_AT_ONCE
"""Records before they grow: fewer than fill the batch would take less memory, and longer each."""
ABLATION: dict[str, dict[str, Any]] = {
    "all levers": {},
    "no warm start": {"warm_start": 0},
    "one copy of a record": {"copies": 1},
    "a row for each turn": {"packing": False},
    "one record at a time": {"batch_size": 1},
    "always 20 steps": {"threshold": 0, "max_steps": 20},
    "no lower threshold before a new start": {"threshold_retries": 0},
    "one content question": {"content_questions": 1},
    "four content questions": {"content_questions": 4},
    "rate 0.4": {"rate": 0.4},
    "start from a blank": {"start": "blank"},
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    loaded: LoadedModel
    pairs: list[dict[str, Any]]
    bank: torch.Tensor
    blank: torch.Tensor

    def ours(self, records: int, times: int = 1, **settings: Any) -> dict[str, Any]:
        """Synthesize the first records, so many times; return time, counts and embeddings, and the record of each."""
        config = dataclasses.replace(FULL, **settings)
        todo = [(f"{pair['id']}/{time}", pair) for time in range(times) for pair in self.pairs[:records]]
        tasks, wall, cpu = timed(lambda: self._solve(todo, config))
        verified = sum(sum(task.verified) for task in tasks)
        steps = sum(task.steps + task.steps_before for task in tasks) / len(tasks)
        by_record = {task.record: task.embeddings for task in tasks}
        copies = len(tasks[0].turns)
        return {
            "wall": wall / max(1, verified),
            "cpu": cpu / max(1, verified),
            "vsr": verified / (copies * len(tasks)),
            "steps": steps,
            "embeddings": torch.cat([by_record[record] for record, _ in todo]),
            "pairs": [pair for _, pair in todo for _ in range(copies)],
        }

    def _solve(self, todo: list[Job], config: SynthesizeConfig) -> list[Task]:
        """Make embeddings as `seawall synthesize` does: a first block, and the rest from the warm start that it gives."""
        starts = self.blank if config.start == "blank" else self.bank
        block, rest = todo[: config.warm_start], todo[config.warm_start :]
        done = list(solve(self.loaded, block, starts, config))
        if not rest or not block:
            return done + list(solve(self.loaded, rest, starts, config))
        pair_of, sound = dict(block), [(task, e) for task in done for e in task.embeddings[task.verified]]
        phrases = [pair_of[task.record]["phrase"] for task, _ in sound]
        warm = fit_warm_start(self.loaded, phrases, torch.stack([e for _, e in sound]), starts)
        return done + list(solve(self.loaded, rest, starts, config, warm))

    def reference(self, records: int) -> dict[str, Any]:
        """Synthesize the first records as the paper does."""
        chosen = self.pairs[:records]
        made, wall, cpu = timed(lambda: [synthesize_one(self.loaded, pair, self.blank) for pair in chosen])
        check = lambda e, pair: verify(self.loaded, e, [pair], foresee=False)[0]  # noqa: E731
        verdicts, checking, _ = timed(lambda: [check(e, pair) for e, pair in zip(made, chosen, strict=True)])
        verified = max(1, sum(verdicts))
        times = {"wall": wall / verified, "wall_verified": (wall + checking) / verified, "cpu": cpu / verified}
        return {**times, "vsr": sum(verdicts) / records, "embeddings": torch.cat(made)}


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, its wall and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def set_up(folder: Path | None) -> tuple[Bench, float]:
    """Return the bench, and the seconds that encoding the bank took."""
    _, pairs, _, media = make_data(folder)
    loaded = load_model("organism:image")
    loaded.model.requires_grad_(False)
    bank, seconds, _ = timed(lambda: encode_media(loaded, find_media(media)))
    return Bench(loaded, pairs, bank, encode_media(loaded, [BLANK])), seconds


def compare(bench: Bench, records: int, repeats: int) -> dict[str, Any]:
    """Return speed and quality of ours against the reference, which take turns."""
    bench.ours(2), bench.reference(1)  # warms up
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


def measure_packing(repeats: int) -> float:
    """Return the time of a step in two rows over that in one packed row: a random LLaVA with 576 media tokens."""
    shape = shrink(LLAVA_7B)
    text = {**shape.text, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    loaded = build(dataclasses.replace(shape, text=text))
    content, style = controls(make_pair("image"), 1, "image", "0")
    start = encode_media(loaded, [BLANK])
    step = lambda packed: losses(loaded, start.clone().requires_grad_(), [[*content, style]], packed).sum().backward()  # noqa: E731
    step(True), step(False)
    times = [[timed(lambda packed=packed: step(packed))[2] for packed in (False, True)] for _ in range(repeats)]
    rows, packed = (statistics.median(column) for column in zip(*times, strict=True))
    return rows / packed


def measure_growth(folder: Path | None, records: int = GROWTH) -> dict[str, float]:
    """Return throughput and peak memory with 10 times the records over those with 1 time, in processes of their own."""
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
    """Return cost, steps and VSR with each lever changed alone; the variants take turns."""
    bench.ours(2)
    runs = [{name: bench.ours(records, **settings) for name, settings in ABLATION.items()} for _ in range(repeats)]
    median = lambda name: statistics.median(run[name]["cpu"] for run in runs)  # noqa: E731
    return [
        {
            "variant": name,
            "cpu_seconds": median(name),
            "ratio": median(name) / median("all levers"),
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
    parser.add_argument("--folder", type=Path, help="where the organism's data is, or goes")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--growth", action="store_true", help="only what changes when records grow 10 times")
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
        result |= {"packed_step_ratio": measure_packing(5)} | measure_growth(arguments.folder)
    print_result(result, arguments.json)


def print_result(result: Any, as_json: bool) -> None:
    """Print figures as JSON, or as a table."""
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
