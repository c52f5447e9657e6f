"""The command line: one command for each stage. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

import seawall
from seawall import AlignConfig, BuildConfig, EvaluateConfig, Mixture, PrepareConfig, SteerConfig, SynthesizeConfig
from seawall.compat import warn_about_versions
from seawall.errors import ConfigError, SeawallError, make_printable
from seawall.evaluation.config import BenchmarkConfig
from seawall.lab import commands as lab
from seawall.progress import set_up_log
from seawall.recipes import commands as recipes
from seawall.reporting import listings
from seawall.reporting.card import add_to_card
from seawall.reporting.help import GroupedHelp
from seawall.reporting.terminal import print_json, set_up_streams
from seawall.store.caches import provide_caches

FLAT = Parameter(name="*")

app = App(
    name="seawall",
    version=seawall.__version__,
    help="Make multimodal models refuse harm that arrives through an image, a video or a sound, using only text safety data.",
    help_formatter=GroupedHelp(),
    default_parameter=Parameter(negative_iterable=(), consume_multiple=1),  # `--types A B`, as the help shows it
    suppress_keyboard_interrupt=False,  # `main` prints a message of its own
)
build = App(name="build", help="Build a benchmark from its questions.")


@app.command(sort_key=1)
def prepare(*source: str, out: Path, config: Annotated[PrepareConfig, FLAT] = PrepareConfig()) -> None:
    """Convert text safety data into alignment pairs.

    Example: `seawall prepare records.jsonl --out runs/pairs`. Each line of the file is a JSON object with `instruction`,
    `response` and `kind` ("harmful" or "harmless"), and optionally `id` and `rejected`.

    Example: `seawall prepare PKU-Alignment/PKU-SafeRLHF tatsu-lab/alpaca --sample 2000 --balance --language en --out runs/pairs`.

    Example: `seawall prepare requests.csv::kind=harmful,columns.instruction=goal chats.json::kind=harmless --out runs/pairs`
    has settings for each source.

    Example: `seawall prepare runs/pairs --extractor openai/gpt-4o-mini --out runs/more-pairs` retries rejected records.

    Args:
        source: Files (JSON Lines, JSON, CSV, TSV, text, Parquet), folders or ids of hub datasets, each with optional settings
            as PATH::KEY=VALUE,KEY=VALUE; or one folder that prepare wrote.
        out: Folder for pairs.jsonl, rejected.jsonl, dropped.jsonl and manifest.json.
    """
    warn_about_versions()
    print_json(seawall.prepare(source, out, config).to_json())


@app.command(sort_key=2)
def synthesize(
    *,
    model: str,
    pairs: Path,
    out: Path,
    bank: Path | None = None,
    engine: Literal["local", "ray"] = "local",
    config: Annotated[SynthesizeConfig, FLAT] = SynthesizeConfig(),
) -> None:
    """Optimise synthetic embeddings for alignment pairs.

    Rerun the same command to resume, also with more pairs.

    Example: `seawall synthesize --model organism:image --pairs runs/pairs --bank images --out runs/embeddings`

    Args:
        model: Folder in Hugging Face format, hub id or name of a built-in model (`seawall organism list`).
        pairs: Folder that `seawall prepare` wrote.
        out: Folder for the embeddings.
        bank: Folder of real, harmless, unlabelled media as starting points.
        engine: local uses every visible device of this machine; ray uses every device of a Ray cluster (docs/how_to/several_gpus.md).
    """
    warn_about_versions()
    print_json(seawall.synthesize(model, pairs, out, config, bank=bank, engine=engine))


@app.command(sort_key=3, help_formatter=GroupedHelp(batch_size="Method"))
def align(
    *,
    model: str,
    pairs: Path,
    out: Path,
    embeddings: Path | None = None,
    media: Annotated[tuple[Path, ...], Parameter(show_default=False)] = (),
    mixture_file: Path | None = None,
    merge: bool = False,
    push_to_hub: str | None = None,
    config: Annotated[AlignConfig, FLAT] = AlignConfig(),
) -> None:
    """Train an adapter, or the whole language model, on pairs, embeddings and real media.

    Rerun the same command to resume.

    Example: `seawall align --model organism:image --pairs runs/pairs --embeddings runs/embeddings --media images --out
    runs/adapter`. Without real media, add `--mixture.media-harmless 0`.

    Example on two processes: `accelerate launch --num_processes 2 -m seawall align ...`

    Args:
        model: Folder in Hugging Face format, hub id or name of a built-in model (`seawall organism list`).
        pairs: Folder that `seawall prepare` wrote.
        out: Folder for the adapter, its model card and its checkpoints.
        embeddings: Folder that `seawall synthesize` wrote.
        media: Folders of real media, each with media.jsonl (image, question, answer, kind).
        mixture_file: TOML file with the shares of a batch, instead of the --mixture flags. They must sum to 1; missing ones are 0.
        merge: Also write the whole model, with the adapter merged, to OUT/merged.
        push_to_hub: Hub repository to upload the result to, as NAME/REPOSITORY.
    """
    warn_about_versions()
    if mixture_file:
        if config.mixture != Mixture():
            raise ConfigError("Both --mixture-file and --mixture flags are given. Use only one of them.")
        config = dataclasses.replace(config, mixture=Mixture.read(mixture_file))
    result = seawall.align(model, pairs, embeddings, out, config, media=media, merge=merge, push_to_hub=push_to_hub)
    if not int(os.environ.get("RANK", 0)):  # only the first of several processes prints
        print_json({"examples": result.to_json()["examples"], "final_loss": result.final_loss})


@app.command(sort_key=3.5)
def steer(*, model: str, pairs: Path, out: Path, config: Annotated[SteerConfig, FLAT] = SteerConfig()) -> None:
    """Compute a steering vector from text, as a baseline without training.

    It is the mean difference of the language model's states between harmful and harmless text instructions, added at one layer.
    Layer and strength are chosen on instructions that it was not computed from. Media are not used.

    Example: `seawall steer --model organism:audio --pairs runs/pairs --out runs/steering.safetensors`, then `seawall evaluate
    --steering runs/steering.safetensors ...`

    Args:
        model: Folder in Hugging Face format, hub id or name of a built-in model (`seawall organism list`).
        pairs: Folder that `seawall prepare` wrote.
        out: File ending in .safetensors, or folder for steering.safetensors.
    """
    warn_about_versions()
    print_json(seawall.steer(model, pairs, out, config).to_json())


@app.command(sort_key=4)
def evaluate(
    *,
    model: str,
    data: Path,
    out: Path,
    benchmark: Annotated[BenchmarkConfig, FLAT],
    adapter: Path | None = None,
    steering: Path | None = None,
    judge: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    config: Annotated[EvaluateConfig, FLAT] = EvaluateConfig(),
) -> None:
    """Ask a model the questions of a benchmark and score its answers.

    With an adapter, the scores are also added to its model card. Rerun the same command to resume.

    Example: `seawall evaluate --model runs/model --adapter runs/adapter --benchmark mm_safetybench --data MM-SafetyBench --judge
    refusal strongreject=openai/gpt-4o-mini --out runs/mm`

    Args:
        model: Folder in Hugging Face format, hub id or name of a built-in model (`seawall organism list`).
        data: Folder or zip file of the benchmark, as downloaded (docs/how_to/benchmarks.md).
        out: Folder for the log of Inspect and results.json.
        adapter: Folder that `seawall align` wrote.
        steering: File that `seawall steer` wrote for this model. It can be used with an adapter.
        judge: NAME or NAME=MODEL of judges (docs/how_to/judges.md). Default: those of the benchmark.
    """
    warn_about_versions()
    results = seawall.evaluate(model, data, out, benchmark, config, adapter=adapter, steering=steering, judges=judge)
    add_to_card(results)
    print_json(results)


@app.command(sort_key=5)
def judge(run: Path) -> None:
    """Ask the judges of an evaluation again for the verdicts that are missing.

    Example: `seawall judge runs/mm`

    Args:
        run: Folder that `seawall evaluate` wrote.
    """
    warn_about_versions()
    results = seawall.judge(run)
    add_to_card(results)
    print_json(results)


@app.command(sort_key=6)
def report(*runs: Path) -> None:
    """Write the report page of finished runs, and print its path.

    Example: `seawall report demo` writes demo/report.html.

    Example: `seawall report runs/before runs/after` compares two evaluations of one benchmark, with the paired difference.

    Args:
        runs: Folders that `seawall demo` or `seawall evaluate` wrote. Evaluations share one page, in the last folder.
    """
    for page in seawall.report(runs):
        print(page)


@build.command(name="va-safetybench", help_formatter=GroupedHelp(media="Output"))
def build_va_safetybench(
    *, questions: Path, out: Path, workers: int | None = None, config: Annotated[BuildConfig, FLAT] = BuildConfig()
) -> None:
    """Build VA-SafetyBench, questions and media, from the questions of MM-SafetyBench.

    Rerun the same command to resume.

    Example: `seawall build va-safetybench --questions MM-SafetyBench/data/processed_questions --out VA-SafetyBench`. For clips,
    add `--stills MM-SafetyBench/data/imgs`. For the questions alone, add `--no-media`.

    Args:
        questions: MM-SafetyBench's folder data/processed_questions, as downloaded.
        out: Folder of the benchmark.
        workers: Processes that make the media. Default: one per core.
    """
    warn_about_versions()
    print_json(seawall.build(questions, out, config, workers=workers))


app.command(build)
listings.add_commands(app)
recipes.add_commands(app)
lab.add_commands(app)


def main() -> None:
    """Run the command line. Exit code 0: done; 2: the user's input is at fault; 1: anything else."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ten times slower on a loaded machine
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    set_up_log()
    set_up_streams()
    try:
        provide_caches()
        app(exit_on_error=False)
    except CycloptsError:  # cyclopts has printed it
        sys.exit(2)
    except SeawallError as error:
        print(f"seawall: {make_printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("seawall: interrupted. Finished work is kept; rerun the same command to resume.", file=sys.stderr)
        sys.exit(1)
