"""Export of a finished training: a merged model, and an upload to the Hugging Face Hub."""

from __future__ import annotations

import logging
from pathlib import Path

from seawall.alignment.config import AlignConfig
from seawall.alignment.trainers import REFERENCE
from seawall.errors import ConfigError, describe_error
from seawall.models.load import LoadedModel, load_model

log = logging.getLogger(__name__)

MERGED = "merged"
"""Folder below `out` for the merged model."""
NOT_UPLOADED = ["checkpoint-*/*", f"{REFERENCE}/*", "training_args.bin"]


def merge_adapter(model: str, loaded: LoadedModel, out: Path, config: AlignConfig) -> None:
    """Write the model with its adapter merged to `out`/merged, unless it is there. transformers loads it without PEFT.

    The model is loaded again, on the CPU: the trained one may be distributed. A 4-bit model is merged in bf16.

    Args:
        model: Name of the model.
        loaded: The same model; its processor is saved too.
        out: Folder with the adapter.
        config: Settings of the training.
    """
    if (out / MERGED).exists():
        return
    precision = "bf16" if config.precision == "4bit" else config.precision
    whole = load_model(model, out, modality=loaded.family.modality, precision=precision).model.merge_and_unload()
    partial = out / f"{MERGED}.partial"
    whole.save_pretrained(partial)
    loaded.processor.save_pretrained(partial)
    partial.rename(out / MERGED)


def push_to_hub(out: Path, repository: str) -> None:
    """Upload the result, without checkpoints, to the Hugging Face Hub. A missing repository is created.

    Args:
        out: Folder of a finished training.
        repository: Name of the repository, such as `user/name`.

    Raises:
        ConfigError: The upload failed. The result on disk is kept.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=out,
            ignore_patterns=NOT_UPLOADED,
            commit_message="Upload an adapter made with Seawall",
        )
    except Exception as error:  # its type depends on the HTTP client that huggingface_hub uses
        raise ConfigError(
            f"{out} is finished and kept, but the upload to {repository} failed: {describe_error(error)} Check the repository's name, "
            "the network and the token (`hf auth login`), then rerun the command to try again."
        ) from error
    log.info("uploaded to %s", commit)
