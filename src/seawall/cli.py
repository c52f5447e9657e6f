"""The command line: one command for each stage. Errors come without traceback, results on standard output."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

import seawall as stages
from seawall import (
    AlignConfig,
    BuildConfig,
    EvaluateConfig,
    Mixture,
    PrepareConfig,
    SeawallError,
    SynthesizeConfig,
    __version__,
)
from seawall.lab.demo import DemoConfig
from seawall.errors import ConfigError
from seawall.progress import set_up_log

FLAT = Parameter(name="*")

app = App(
    name="seawall",
    version=__version__,
    help="Make multimodal models refuse harm that arrives through an image, a video or a sound, with nothing but text safety data.",
    suppress_keyboard_interrupt=False,  # `main` says what an interruption means
)
organism = App(name="organism", help="The built-in models: list, train, export.")
app.command(organism)
embeddings = App(name="embeddings", help="Stores of embeddings: list, verify, merge, prune.")
app.command(embeddings)
build = App(name="build", help="Benchmarks, built from their questions.")
app.command(build)


@app.command
def demo(*, out: Path = Path("demo"), workers: int = 2, config: Annotated[DemoConfig, FLAT] = DemoConfig()) -> None:
    """Run the whole method and its baselines on a built-in organism; ends with the result table and a report page.

    Example: `seawall demo --seeds 5 --out runs/demo`. A quick look: `seawall demo --steps 40 --phrases 8 --out runs/quick`.
    Videos: `seawall demo --modality video --out runs/video`.

    Args:
        out: Folder for all artifacts, results.json and report.html. Run again, the demo goes on where it stopped.
        workers: Processes that share the arms, and the cores.
    """
    from seawall.lab.demo import demo_all
    from seawall.lab.table import print_table

    for folder, results in demo_all(out, config, workers=workers):
        print_table(results)
        print(f"\nReport: {folder / 'report.html'}")


@app.command
def prepare(*source: str, out: Path, config: Annotated[PrepareConfig, FLAT] = PrepareConfig()) -> None:
    """Example text safety data into alignment pairs.

    Example: `seawall prepare records.jsonl --out runs/pairs`. Each line of the source has `instruction` and `response`,
    and may have `id`, `rejected` and `kind` ("harmful", the default, or "harmless").

    Example: `seawall prepare PKU-Alignment/PKU-SafeRLHF tatsu-lab/alpaca --sample 2000 --language en --out runs/pairs`.

    Example: `seawall prepare runs/pairs --extractor openai/gpt-4o-mini --out runs/more-pairs` tries what the first run rejected.

    Args:
        source: Files (JSON Lines, JSON, CSV, Parquet), folders or ids of sets on the hub; or one folder that prepare wrote.
        out: Folder for pairs.jsonl, rejected.jsonl, dropped.jsonl and manifest.json.
    """
    _print(stages.prepare(source, out, config))


@app.command
def synthesize(
    *,
    model: str,
    pairs: Path,
    out: Path,
    bank: Path | None = None,
    engine: Literal["local", "ray"] = "local",
    config: Annotated[SynthesizeConfig, FLAT] = SynthesizeConfig(),
) -> None:
    """Optimise synthetic embeddings for alignment pairs. Resumable: run the same command again, also with more pairs.

    Example: `seawall synthesize --model organism:image --pairs runs/pairs --bank images --out runs/embeddings`

    Args:
        model: A folder in Hugging Face format, a hub id, or organism:image, organism:video, organism:audio.
        pairs: Folder made by `seawall prepare`.
        out: Folder for the embeddings.
        bank: Folder of real, harmless, unlabelled media to start from.
        engine: local takes every visible device of this machine; ray takes every device of a Ray cluster (docs/synthesis.md).
    """
    _print(stages.synthesize(model, pairs, out, config, bank=bank, engine=engine))


@app.command
def align(
    *,
    model: str,
    pairs: Path,
    out: Path,
    embeddings: Path | None = None,
    media: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    mixture_file: Path | None = None,
    merge: bool = False,
    push_to_hub: str | None = None,
    config: Annotated[AlignConfig, FLAT] = AlignConfig(),
) -> None:
    """Train an adapter, or the whole language model, on pairs, embeddings and media. Resumable: run the same command again.

    Example: `seawall align --model organism:image --pairs runs/pairs --embeddings runs/embeddings --media images --out runs/adapter`.
    Without media: add `--mixture.media-harmless 0`. On several processes: `accelerate launch --num_processes 2 -m seawall align ...`.

    Args:
        model: A folder in Hugging Face format, a hub id, or organism:image, organism:video, organism:audio.
        pairs: Folder made by `seawall prepare`.
        out: Folder for the adapter, its card and its checkpoints.
        embeddings: Folder made by `seawall synthesize`.
        media: Folders of real media, each with media.jsonl (image, question, answer, kind).
        mixture_file: TOML file of the shares of a batch, which must sum to 1; what it leaves out is 0.
        merge: Write the whole model too, with the adapter merged, to OUT/merged.
        push_to_hub: Repository of the hub to upload the result to (NAME/REPOSITORY).
    """
    if mixture_file:
        if config.mixture != Mixture():
            raise ConfigError("Shares are given by flags and by --mixture-file. Give them in one place.")
        config = dataclasses.replace(config, mixture=Mixture.read(mixture_file))
    summary = stages.align(model, pairs, embeddings, out, config, media=media, merge=merge, push_to_hub=push_to_hub)
    if int(os.environ.get("RANK", 0)):
        return
    _print({"rows": summary["rows"], "final_loss": summary["loss"][-1][1] if summary["loss"] else None})


@app.command
def evaluate(
    *,
    model: str,
    data: Path,
    out: Path,
    adapter: Path | None = None,
    judge: tuple[str, ...] = (),
    rejudge: bool = False,
    config: Annotated[EvaluateConfig, FLAT] = EvaluateConfig(),
) -> None:
    """Ask a model a benchmark of real media files, and score its answers. Resumable: run the same command again.

    Example: `seawall evaluate --model organism:image --adapter runs/adapter --benchmark organism --data demo/benchmark --out runs/evaluation`

    Example: `seawall evaluate --model runs/model --benchmark mm_safetybench --data MM-SafetyBench --judge refusal --judge
    strongreject=openai/gpt-4o-mini --out runs/mm`

    Args:
        model: A folder in Hugging Face format, a hub id, or organism:image, organism:video, organism:audio.
        data: Folder or zip file of the benchmark, as downloaded (docs/benchmarks.md).
        out: Folder for Inspect's log (of the benchmark organism: answers.jsonl) and results.json.
        adapter: Folder made by `seawall align`.
        judge: Who scores: refusal (the default), organism, or reference, strongreject, harmbench, llama-guard-3, llama-guard-4 with =MODEL
            as Inspect names it. Give two (docs/judges.md).
        rejudge: Ask the judges of the run in OUT again about the answers that have no verdict, and do nothing else.
    """
    if rejudge:
        _print(stages.rejudge(out))
        return
    _print(stages.evaluate(model, data, out, config, adapter=adapter, judges=judge))


@build.command(name="va-safetybench")
def build_va_safetybench(
    *, questions: Path, out: Path, workers: int | None = None, config: Annotated[BuildConfig, FLAT] = BuildConfig()
) -> None:
    """Build VA-SafetyBench, questions and media, from the questions of MM-SafetyBench. Resumable: run the same command again.

    Example: `seawall build va-safetybench --questions MM-SafetyBench/data/processed_questions --out VA-SafetyBench`.
    With clips: add `--stills MM-SafetyBench/data/imgs`. Without media: `--no-media`.

    Args:
        questions: MM-SafetyBench's folder data/processed_questions, as downloaded.
        out: Folder of the benchmark.
        workers: Processes that share the media; by default one for each core.
    """
    _print(stages.build(questions, out, config, workers=workers))


@app.command
def report(*runs: Path) -> None:
    """Write report.html in each folder of a finished demo; or set evaluations of one benchmark side by side.

    Example: `seawall report demo`. Before and after, with the paired difference: `seawall report runs/before runs/after`

    Args:
        runs: Folders that `seawall demo` wrote, or that `seawall evaluate` wrote (the page is in the last one).
    """
    for page in stages.report(runs):
        print(page)


@app.command
def models(*, json: bool = False) -> None:
    """List the supported model families: where each keeps encoder (M), projector (P) and language model (LM).

    Example: `seawall models | grep qwen`

    Args:
        json: Print JSON.
    """
    from seawall.models.families import FAMILIES
    from seawall.media.modality import find_modality

    if json:
        _print([dataclasses.asdict(family) for family in FAMILIES])
        return
    _show(
        [
            {
                "model type": family.model_type + (f" ({family.tower})" if family.tower else ""),
                "modality": family.modality,
                "M's layers": family.encoder_layers or "",
                "P": family.projector + (f", {family.deep_projectors}.*" if family.deep_projectors else ""),
                "LM": family.language_model,
                "blank": f"{family.blank} {find_modality(family.modality).unit}" if family.blank else "processor's",
                "auto class": family.auto_class,
                "announced by": family.placeholder or f'{{"type": "{family.modality}"}}',
                "checked on": family.checked_on,
            }
            for family in FAMILIES
        ],
        as_json=False,
    )


@embeddings.command(name="list")
def list_embeddings(store: Path, *, json: bool = False) -> None:
    """List what a store holds, by shard, kind and outcome; then its summary. The store need not be finished.

    Example: `seawall embeddings list runs/embeddings`

    Args:
        store: Folder made by `seawall synthesize`.
        json: Print JSON.
    """
    from seawall.store.maintenance import count_embeddings

    counts = count_embeddings(store)
    if json:
        _print(counts)
        return
    rows = [{name: str(value) for name, value in row.items()} for row in counts["shards"]]
    if rows:
        _show(rows, as_json=False)
    print(", ".join(f"{name} {value:.4g}" for name, value in counts["summary"].items()))


@embeddings.command
def check_store(store: Path) -> None:
    """Read every embedding of a store; what is missing, cut short, not finite or of another shape is named (exit 2).

    Example: `seawall embeddings verify runs/embeddings`

    Args:
        store: Folder made by `seawall synthesize`.
    """
    from seawall.store.maintenance import check_store

    _print(check_store(store))


@embeddings.command
def merge_stores(*stores: Path, out: Path) -> None:
    """Write several stores of one model and the same settings into a new one.

    Example: `seawall embeddings merge runs/embeddings-a runs/embeddings-b --out runs/embeddings`

    Args:
        stores: Folders made by `seawall synthesize`; they stay as they are.
        out: Folder of the new store; must not exist yet.
    """
    from seawall.store.maintenance import merge_stores

    _print(merge_stores(stores, out))


@embeddings.command
def prune_store(store: Path, *, out: Path) -> None:
    """Write a store without what is unverified, superseded or broken, and without orphaned shards, into a new folder.

    Example: `seawall embeddings prune runs/embeddings --out runs/embeddings-pruned`

    Args:
        store: Folder made by `seawall synthesize`; it stays as it is.
        out: Folder of the new store; must not exist yet.
    """
    from seawall.store.maintenance import prune_store

    _print(prune_store(store, out))


@organism.command(name="list")
def list_organisms(*, json: bool = False) -> None:
    """List the built-in models.

    Example: `seawall organism list --json`

    Args:
        json: Print JSON.
    """
    from seawall.lab.organisms import ORGANISMS

    _show([{"model": f"organism:{name}", "what": what} for name, what in ORGANISMS.items()], json)


@organism.command
def train(name: Literal["image", "video", "audio"], *, out: Path, seed: int = 0) -> None:
    """Train a built-in model from nothing: 15 to 25 minutes on 2 cores.

    Example: `seawall organism train video --out my-organism`

    Args:
        name: Which one.
        out: Folder for model, processor and card; must not exist yet.
        seed: Seed of everything.
    """
    from seawall.lab.organisms import create_folder, find_training

    find_training(name)(create_folder(out), seed=seed)
    print(out)


@organism.command
def export(name: str, folder: Path) -> None:
    """Copy a built-in model to a folder in Hugging Face format.

    Example: `seawall organism export image my-organism`

    Args:
        name: Which one.
        folder: Where to; must not exist yet.
    """
    import shutil

    from seawall.lab.organisms import create_folder, find_organism

    shutil.copytree(find_organism(name), create_folder(folder), dirs_exist_ok=True)
    print(folder)


def main() -> None:
    """Run the command line: exit 0 when done, 2 when the input is at fault, 1 on anything else."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads slow down tenfold beside another process
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    set_up_log()
    try:
        app(exit_on_error=False)
    except CycloptsError:  # cyclopts has printed it
        sys.exit(2)
    except SeawallError as error:
        print(f"seawall: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("seawall: interrupted. What was finished is kept; the same command goes on.", file=sys.stderr)
        sys.exit(1)


def _print(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def _show(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        _print(rows)
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in rows[0]), box=None)
    for row in rows:
        table.add_row(*row.values())
    # a file or a pipe gets one line a row, for grep
    Console(width=None if sys.stdout.isatty() else 1_000).print(table)
