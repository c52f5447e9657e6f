"""Kill small runs at random moments, resume them, and compare every figure with an undisturbed run.

    python tests/campaign/kill.py [--rounds 100] [--seed 0] [--how group worker ...] [--folder DIR]

Each round starts from nothing. It is killed one to three times and then run to its end. Half of the kills come at a
random time, half when a random file of the run appears, so that short stages and checkpoints are hit as well.

| `--how` | what runs | what is killed |
|---|---|---|
| `group` | `seawall run`, all stages | its process group, by SIGKILL |
| `term` | the same | the main process, by SIGTERM |
| `demo` | `seawall demo` with two workers | its process group, by SIGKILL |
| `worker` | `seawall run` with two workers in the synthesis | one of them, by SIGKILL |
| `rank` | `seawall align` in two processes of accelerate | one of them, by SIGKILL |
| `actor` | `seawall synthesize --engine ray` | one actor of two, by SIGKILL |

A round is `failed` if it cannot be run to its end, and `different` if pairs, embeddings, adapter, losses, answers,
figures or model card differ in a single byte. The exit code is 1 if a round is either.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

MODEL = "organism:image"
PHRASES = 3
RECIPE = """
[model]
name = "{model}"
[data]
sources = ["data/records.jsonl"]
bank = "data/media"
media = ["data/media"]
[synthesis]
copies = 2
warm_start = 6
batch_size = 1
max_steps = 20
[alignment]
steps = 6
batch_size = 12
learning_rate = 2e-3
num_checkpoints = 6
lora_rank = 4
[evaluation]
benchmark = "mm_safetybench"
data = "data/benchmark"
judges = ["organism", "refusal"]
types = ["Text_only", "SD"]
batch_size = 4
max_tokens = 24
"""
ALIGN = ("--steps", "6", "--batch-size", "12", "--num-checkpoints", "6", "--lora-rank", "4", "--learning-rate", "2e-3")
DEMO = {"steps": 4, "phrases": 2, "arms": ("text_only", "seawall")}
PENDING = (
    "embeddings/shard-*.pending",
    "embeddings/manifest.json.partial",
    "adapter/checkpoint-*/complete.json.partial",
)
"""Files that the undisturbed run does not keep."""
PATIENCE = 600
"""Seconds for a run to end."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of run, and what of it is killed."""

    work: Callable[[Path, Path], None]
    """Runs it, given the folder of the data and that of the run."""
    kill: Callable[[int, random.Random], None]
    """Kills something of it, given the process."""


def run_recipe(folder: Path, out: Path) -> None:
    """Run all stages."""
    from seawall.recipes.pipeline import run

    run(folder / "recipe.toml", out)


def run_with_workers(folder: Path, out: Path) -> None:
    """Run all stages, the synthesis in two processes."""
    from seawall.synthesis import engines

    engines.find_devices = lambda: ["cpu", "cpu"]
    run_recipe(folder, out)


def run_demo(folder: Path, out: Path) -> None:
    """Run two arms of the demo in two workers."""
    from seawall.lab.arms import DemoConfig
    from seawall.lab.demo import run_demo

    run_demo(out, DemoConfig(**DEMO), workers=2)


def run_ray(folder: Path, out: Path) -> None:
    """Run the synthesis on two actors."""
    from seawall.synthesis.cluster import import_ray
    from seawall.synthesis.config import SynthesizeConfig
    from seawall.synthesis.run import synthesize

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    import_ray().init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    config = SynthesizeConfig(copies=2, warm_start=6, batch_size=1, max_steps=20)
    pairs = folder / "whole-group" / "pairs"
    synthesize(MODEL, pairs, out / "embeddings", config, bank=folder / "data" / "media", engine="ray")


def run_ranks(folder: Path, out: Path) -> None:
    """Train in two processes of accelerate."""
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options.split(), "--main_process_port", "0"]
    whole = folder / "whole-group"
    paths = ["--pairs", whole / "pairs", "--embeddings", whole / "embeddings", "--media", folder / "data" / "media"]
    command = [*launch, "-m", "seawall", "align", "--model", MODEL, *paths, "--out", out / "adapter", *ALIGN]
    subprocess.run([*map(str, command)], check=True)


def kill_group(process: int, rng: random.Random) -> None:
    """Kill a process and everything that it has started."""
    os.killpg(process, signal.SIGKILL)


def terminate(process: int, rng: random.Random) -> None:
    """Ask the main process to end, as a cluster does that needs its machine."""
    os.kill(process, signal.SIGTERM)


def kill_one(*names: str) -> Callable[[int, random.Random], None]:
    """Return a function that kills one descendant whose command has one of the names. It waits until there is one."""

    def kill(process: int, rng: random.Random) -> None:
        while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            found = [child for child in psutil.Process(process).children(recursive=True) if matches(child)]
            if found:
                time.sleep(rng.uniform(0, 8))
                rng.choice(found).kill()
                return
            time.sleep(0.01)

    def matches(child: psutil.Process) -> bool:
        try:
            command = " ".join(child.cmdline())
            return any(name in command for name in names) and "accelerate.commands" not in command
        except psutil.Error:
            return False

    return kill


KINDS = {
    "group": Kind(run_recipe, kill_group),
    "term": Kind(run_recipe, terminate),
    "demo": Kind(run_demo, kill_group),
    "worker": Kind(run_with_workers, kill_one("spawn_main")),
    "rank": Kind(run_ranks, kill_one("-m seawall align", "seawall align")),
    "actor": Kind(run_ray, kill_one("ray::Actor")),
}


def start(work: Callable[[Path, Path], Any], folder: Path, out: Path) -> int:
    """Fork a process that leads a group of its own. Libraries are imported already. Its output goes to a log."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        with open(folder / "log.txt", "a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        import torch

        torch.set_num_threads(1)
        work(folder, out)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(process: int, until: Callable[[], bool] = lambda: False) -> int | None:
    """Return the exit code of a process, or None as soon as a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if until():
            return None
        time.sleep(0.001)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -1


def describe(folder: Path, out: Path) -> None:
    """Write a hash of everything that a run must reproduce to `digest.json` of its folder."""
    from inspect_ai.log import read_eval_log

    from seawall.store.embeddings import EmbeddingStore

    def digest(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()[:12]

    found: dict[str, Any] = {}
    exact = ("pairs.jsonl", "adapter_model.safetensors", "training.json", "README.md", "answers.jsonl", "plane.json")
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name in exact:
            found[name] = digest(path.read_bytes())
        elif path.name == "results.json":
            kept = {
                key: value for key, value in json.loads(path.read_text()).items() if key not in ("seconds", "versions")
            }
            kept.get("synthesis", {}).pop("seconds_per_embedding", None)
            found[name] = digest(json.dumps(without_times(kept)).encode())
        elif path.name == EmbeddingStore.INDEX:
            store = EmbeddingStore(path.parent)
            for key, entry in store.entries.items():
                outcome = f"{entry.outcome} {entry.steps} {entry.curve}"
                found[f"{name}/{key}"] = digest(store.read(key).numpy().tobytes()) + outcome
        elif path.suffix == ".eval":
            for sample in read_eval_log(str(path)).samples or ():
                found[f"{path.parent.relative_to(out)}/{sample.id}"] = digest(sample.output.completion.encode())
    (folder / "digest.json").write_text(json.dumps(found))


def without_times(value: Any) -> Any:
    """Return JSON without what names or times the run."""
    if isinstance(value, dict):
        return {key: without_times(v) for key, v in value.items() if key not in ("seconds", "adapter", "log")}
    return value


def get_digest(folder: Path, out: Path) -> dict[str, Any]:
    """Return name -> hash of everything that a run must reproduce."""
    if wait(start(describe, folder, out)) != 0:
        raise RuntimeError((folder / "log.txt").read_text()[-2000:])
    found: dict[str, Any] = json.loads((folder / "digest.json").read_text())
    return found


def find_stage(out: Path) -> str:
    """Return the folders of the stages that have begun and are not complete. Workers may be in several."""
    found = []
    for manifest in sorted(out.rglob("manifest.json")):
        try:
            content = json.loads(manifest.read_text())
        except (OSError, ValueError):
            continue
        if not content["complete"] and content["stage"] != "demo":
            found.append(manifest.parent.name)
    return "+".join(found) or "between stages"


def list_targets(out: Path) -> dict[str, list[str]]:
    """Return folder -> patterns of the files that a run writes there. Names that contain a time are shortened."""
    targets: dict[str, list[str]] = {}
    files = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    for name in {re.sub(r"[^/]*\.eval$", "*.eval", file) for file in files} | set(PENDING):
        part = name.rpartition("/")[0] if "checkpoint-" not in name else "checkpoint"
        targets.setdefault(part, []).append(name)
    return {part: sorted(names) for part, names in sorted(targets.items())}


def disturb(
    kind: Kind, folder: Path, out: Path, seconds: float, targets: dict[str, list[str]], rng: random.Random
) -> str:
    """Start a run, kill something of it at a random moment, and return the stage that this was in ("" if it ended)."""
    process = start(kind.work, folder, out)
    if rng.random() < 0.5:
        moment = time.monotonic() + rng.uniform(0, seconds)
        ended = wait(process, lambda: time.monotonic() > moment)
    else:
        pattern, delay = rng.choice(targets[rng.choice(list(targets))]), rng.choice((0, rng.uniform(0, 0.05)))
        there = {*out.glob(pattern)}
        ended = wait(process, lambda: bool({*out.glob(pattern)} - there))
        time.sleep(delay)
    if ended is not None:
        return ""
    stage = find_stage(out)
    kind.kill(process, rng)
    if wait(process) == -1:
        print("a run did not end")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)  # what a worker or the main process has left
    return stage


def campaign(how: str, folder: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Return the counts of a campaign, after an undisturbed run."""
    kind, whole, out = KINDS[how], folder / f"whole-{how}", folder / f"run-{how}"
    shutil.rmtree(whole, ignore_errors=True)
    started = time.monotonic()
    if wait(start(kind.work, folder, whole)) != 0:
        raise SystemExit(f"the undisturbed run failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    seconds = time.monotonic() - started
    expected, targets = get_digest(folder, whole), list_targets(whole)
    stages, failed, different = Counter[str](), list[str](), list[str]()
    for number in range(rounds):
        rng = random.Random(f"{seed}/{how}/{number}")
        shutil.rmtree(out, ignore_errors=True)
        (folder / "log.txt").unlink(missing_ok=True)
        killed = [disturb(kind, folder, out, seconds, targets, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        stages.update(stage for stage in killed if stage)
        fault = ""
        if wait(start(kind.work, folder, out)) != 0:
            failed.append(f"{how} {number}: {(folder / 'log.txt').read_text()[-1500:]}")
            fault = "failed"
        elif lines := [name for name, value in get_digest(folder, out).items() if expected.get(name) != value]:
            different.append(f"{how} {number}: {', '.join(lines[:6])} ({len(lines)})")
            fault = "different"
        print(f"{how} {number}: killed in {', '.join(filter(None, killed)) or 'nothing'} {fault}", flush=True)
        if fault:
            shutil.rmtree(folder / f"{fault}-{how}-{number}", ignore_errors=True)
            shutil.copytree(out, folder / f"{fault}-{how}-{number}")
    return {"rounds": rounds, "seconds": seconds, "kills": dict(stages), "failed": failed, "different": different}


def prepare_data(folder: Path) -> None:
    """Write the data of the runs, in a forked process."""

    def write(folder: Path, _: Path) -> None:
        from seawall.lab.world.data import write_data

        write_data(folder / "data", "image", PHRASES)

    (folder / "recipe.toml").write_text(RECIPE.format(model=MODEL))
    if not (folder / "data").exists() and wait(start(write, folder, folder)) != 0:
        raise SystemExit((folder / "log.txt").read_text())


def preload() -> None:
    """Import what runs need, so that forked processes start at once. No tensor is computed here."""
    for name in (
        "datasets",
        "inspect_ai.log",
        "peft",
        "trl.trainer.dpo_trainer",
        "trl.trainer.sft_trainer",
        "seawall.lab.demo",
        "seawall.recipes.pipeline",
    ):
        importlib.import_module(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--how", nargs="+", choices=KINDS, default=["group"])
    parser.add_argument("--folder", type=Path, help="folder for the runs; those that failed are kept there")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="seawall-campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    preload()
    prepare_data(folder.resolve())
    kinds = list(dict.fromkeys(["group"] * bool({"rank", "actor"} & {*arguments.how}) + arguments.how))
    found = {
        how: campaign(how, folder.resolve(), arguments.rounds if how in arguments.how else 0, arguments.seed)
        for how in kinds
    }
    print(f"\n{'kind':8}{'rounds':>8}{'kills':>8}{'failed':>8}{'different':>11}  stages (an undisturbed run takes)")
    for how, result in found.items():
        stages = ", ".join(f"{stage} {count}" for stage, count in sorted(result["kills"].items()))
        counts = (result["rounds"], sum(result["kills"].values()), len(result["failed"]), len(result["different"]))
        print(f"{how:8}{counts[0]:8}{counts[1]:8}{counts[2]:8}{counts[3]:11}  {stages} ({result['seconds']:.0f} s)")
    faults = [fault for result in found.values() for fault in (*result["failed"], *result["different"])]
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
