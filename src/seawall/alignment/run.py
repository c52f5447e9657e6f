"""The run of `align`: rows collected and planned, trained, written down with a card; merged and pushed where asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.alignment.config import AlignConfig
from seawall.alignment.card import write_card
from seawall.alignment.mixture import MEDIA_LIST, collect_rows, keep_preferences, plan
from seawall.alignment.trainers import REFERENCE, processes, train
from seawall.store.artifacts import claim, finish, require
from seawall.store.files import hash_file, read_json, write_json
from seawall.store.pair import read_modality, read_pairs
from seawall.errors import ConfigError
from seawall.models.load import LoadedModel, load_model
from seawall.store.embeddings import EmbeddingStore, open_store

log = logging.getLogger(__name__)

SUMMARY = "training.json"
MERGED = "merged"


def run(
    model: str,
    pairs: Path,
    embeddings: Path | None,
    out: Path,
    config: AlignConfig,
    media: Sequence[Path],
    merge: bool,
    push_to_hub: str | None,
) -> dict[str, Any]:
    """See `seawall.alignment.config`."""
    if merge and config.tuning == "full":
        raise ConfigError("There is nothing to merge: with full tuning the result is a whole model. Leave --merge out.")
    text = read_pairs(pairs)
    loaded = load_model(model, modality=read_modality(pairs), precision=config.precision, device_map=config.device_map)
    store = open_store(embeddings, loaded.fingerprint) if embeddings else None
    rows = collect_rows(text, store, media, loaded.family.modality)
    if config.method == "dpo":
        rows = keep_preferences(rows, config.mixture)
    planned = plan(rows, config.mixture, config.steps, config.batch_size, config.seed)
    inputs = {"model": loaded.fingerprint, "pairs": hash_file(pairs / "pairs.jsonl")}
    if embeddings:
        inputs["embeddings"] = hash_file(embeddings / EmbeddingStore.INDEX)
    inputs |= {f"media {n}": hash_file(folder / MEDIA_LIST) for n, folder in enumerate(media)}
    state = processes()
    with state.main_process_first():
        finished = claim(out, "align", config, inputs)
    if not finished:
        history = train(loaded, planned, store, out, config)
        counts = config.mixture.counts(config.batch_size)
        summary = {
            "rows": {name: {"available": len(rows[name]), "in_a_batch": number} for name, number in counts.items()},
            "loss": [[entry["step"], entry["loss"]] for entry in history if "loss" in entry],
        }
        if state.is_main_process:
            write_json(out / SUMMARY, summary)
            write_card(out, model, config, summary, require(pairs, "prepare"))
            finish(out)
    if state.is_main_process:
        if merge and not (out / MERGED).exists():
            _merge(model, loaded, out, config)
        if push_to_hub:
            _push(out, push_to_hub)
    state.wait_for_everyone()
    return read_json(out / SUMMARY)


def _merge(model: str, loaded: LoadedModel, out: Path, config: AlignConfig) -> None:
    """Write the model with the adapter merged into it, as transformers loads it: read anew, in main memory, one of 4 bits in bf16."""
    precision = "bf16" if config.precision == "4bit" else config.precision
    whole = load_model(model, out, modality=loaded.family.modality, precision=precision).model.merge_and_unload()
    partial = out / f"{MERGED}.partial"
    whole.save_pretrained(partial)
    loaded.processor.save_pretrained(partial)
    partial.rename(out / MERGED)


def _push(out: Path, repository: str) -> None:
    """Upload what was made, without checkpoints, to a repository of the hub, made if it is not there."""
    from huggingface_hub import HfApi

    api = HfApi()
    unwanted = ["checkpoint-*/*", f"{REFERENCE}/*", "training_args.bin"]
    try:
        api.create_repo(repository, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=out, ignore_patterns=unwanted, commit_message="Seawall"
        )
    except Exception as error:  # of whichever HTTP client the hub's library has
        raise ConfigError(
            f"{out} is finished and kept, but {repository} could not be pushed to: {error}. Look at the name, at the network, and at the "
            "token (`hf auth login`); the same command tries again."
        ) from error
    log.info("pushed to %s", done)
