"""Commands that list models and look after embeddings: `seawall models`, `seawall embeddings list|verify|show|merge|prune`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cyclopts import App

from seawall.media.modality import find_modality
from seawall.models.families import FAMILIES, MODELS
from seawall.reporting.terminal import print_json, print_rows
from seawall.store.maintenance import check_store, count_embeddings, merge_stores, prune_store


def add_commands(app: App) -> None:
    """Add the commands to the command line."""
    embeddings = App(name="embeddings", help="List, verify, show, merge and prune embeddings.")
    embeddings.command(list_embeddings, name="list")
    embeddings.command(verify_embeddings, name="verify")
    embeddings.command(show_embeddings, name="show")
    embeddings.command(merge_embeddings, name="merge")
    embeddings.command(prune_embeddings, name="prune")
    app.command(embeddings)
    app.command(list_models, name="models")


def list_families() -> list[dict[str, str]]:
    """Return one row for each supported model family: its names and the places of encoder (M), projector (P) and LM."""
    return [
        {
            "model type": family.model_type + (f" ({family.tower})" if family.tower else ""),
            "modality": family.modality,
            "M's layers": family.encoder_layers or "",
            "P": family.projector + (f", {family.deep_projectors}.*" if family.deep_projectors else ""),
            "LM": family.language_model,
            "blank": f"{family.blank} {find_modality(family.modality).unit}" if family.blank else "processor's",
            "auto class": family.auto_class,
            "placeholder": family.placeholder or f'{{"type": "{family.modality}"}}',
            "checked on": family.checked_on,
        }
        for family in FAMILIES
    ]


def list_models(*, json: bool = False) -> None:
    """List the supported model families, and where each has its encoder (M), projector (P) and language model (LM).

    Example: `seawall models | grep qwen`

    Args:
        json: Print JSON.
    """
    MODELS.names()  # loads the plugins, which may add families
    if json:
        print_json([dataclasses.asdict(family) for family in FAMILIES])
    else:
        print_rows(list_families())


def list_embeddings(store: Path, *, json: bool = False) -> None:
    """Count the embeddings of a store by shard, kind and outcome. The store need not be finished.

    Example: `seawall embeddings list runs/embeddings`

    Args:
        store: Folder that `seawall synthesize` wrote.
        json: Print JSON.
    """
    counts = count_embeddings(store)
    if json:
        print_json(counts)
    else:
        print_rows(counts["shards"])
        print(", ".join(f"{name} {value:.4g}" for name, value in counts["summary"].items()))


def verify_embeddings(store: Path) -> None:
    """Read every embedding of a store. Exit with code 2 if one is missing, truncated, not finite or of another shape.

    Example: `seawall embeddings verify runs/embeddings`

    Args:
        store: Folder that `seawall synthesize` wrote.
    """
    print_json(check_store(store))


def show_embeddings(
    store: Path,
    *,
    out: Path,
    model: str | None = None,
    pairs: Path | None = None,
    bank: Path | None = None,
    sample: int = 12,
) -> None:
    """Write a page that shows whether the synthesis worked: answers, loss curves, nearest media and a map.

    It prints the path of the page, which contains harmful phrases. The store need not be finished.

    Example: `seawall embeddings show runs/embeddings --out runs/embeddings.html`

    Args:
        store: Folder that `seawall synthesize` wrote.
        out: HTML file to write.
        model: The model that the embeddings were made for. Default: the one that the store names.
        pairs: Folder of the pairs. Default: the one that the store names.
        bank: Folder of harmless media. Default: the one that the store names.
        sample: Records to show in detail.
    """
    from seawall.reporting.embeddings.run import show_embeddings

    print(show_embeddings(store, out, model=model, pairs=pairs, bank=bank, sample=sample))


def merge_embeddings(*stores: Path, out: Path) -> None:
    """Write several stores, made with the same model and settings, into a new one.

    Example: `seawall embeddings merge runs/embeddings-a runs/embeddings-b --out runs/embeddings`

    Args:
        stores: Folders that `seawall synthesize` wrote. They are not changed.
        out: Folder of the new store. It must not exist.
    """
    print_json(merge_stores(stores, out))


def prune_embeddings(store: Path, *, out: Path) -> None:
    """Write a store without unverified, replaced and broken embeddings into a new folder.

    Example: `seawall embeddings prune runs/embeddings --out runs/embeddings-pruned`

    Args:
        store: Folder that `seawall synthesize` wrote. It is not changed.
        out: Folder of the new store. It must not exist.
    """
    print_json(prune_store(store, out))
