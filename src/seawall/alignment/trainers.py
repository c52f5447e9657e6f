"""Training through TRL: the trainer stays as it is, the collator brings the embeddings, the injection takes them."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, ProcessorMixin, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from seawall.alignment.config import AlignConfig
from seawall.alignment.collate import Collator, PreferenceCollator
from seawall.alignment.mixture import Row
from seawall.errors import ConfigError, TrainingError
from seawall.models.chat import BLANK
from seawall.models.encode import Encoded, encode_examples
from seawall.models.families import get_module
from seawall.models.inject import attach
from seawall.compat import replaced
from seawall.models.load import LoadedModel, is_placed
from seawall.models.memory import is_out_of_memory
from seawall.progress import shows_bars
from seawall.store.embeddings import EmbeddingStore

REFERENCE = "reference"
"""Folder in `out` with the log-probabilities that the model gives before a preference training."""
MEDIA_ENCODED = 1_000
"""Real media that are encoded once, and kept: the first in a training. Those of a 7B model take 1 to 2 GB."""


def processes() -> PartialState:
    """Return the processes of this training; accelerate finds those of the CPU only where it is told that there is no card."""
    return PartialState(cpu=not torch.cuda.is_available())


class StopOnNaN(TrainerCallback):
    """Ends a training whose loss is no number; its checkpoints stay."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Raise TrainingError when the logged loss is NaN or infinite."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {state.global_step}. The checkpoints in {args.output_dir} are kept; "
                "lower the learning rate or train in fp32, with another --out."
            )


def train(
    loaded: LoadedModel, rows: Sequence[Row], store: EmbeddingStore | None, out: Path, config: AlignConfig
) -> list[dict[str, float]]:
    """Train by TRL's `SFTTrainer` or `DPOTrainer`; go on from the last checkpoint in `out`, if there is one.

    Args:
        loaded: The model; changed in place, by PEFT where the tuning is `lora`.
        rows: What is trained on, batch after batch.
        store: The embeddings of those rows that are synthetic.
        out: Receives the adapter (or the model), and `checkpoint-<step>` folders on the way.
        config: Settings.

    Returns:
        The training log, one entry a logging step.

    Raises:
        ConfigError: The batch does not divide into the processes and passes.
        TrainingError: The loss became NaN or infinite, or memory does not suffice.
    """
    if config.tuning == "full":
        loaded.model.requires_grad_(False)
        head = loaded.model.get_output_embeddings()
        for part in (get_module(loaded.model, loaded.family, loaded.family.language_model), head):
            part.requires_grad_(True)
    # the reference's log-probabilities are computed in the constructor of the DPO trainer
    with attach(loaded.model, loaded.family), _answers_alone_pass_the_head(), _advice_on_memory(config):
        encoded = _encode_real_media(loaded, rows, config)
        begin, collator = (_dpo, PreferenceCollator) if config.method == "dpo" else (_sft, Collator)
        collate = functools.partial(collator, loaded.chat, store, encoded)
        trainer = begin(loaded, rows, collate, out, config)
        trainer.remove_callback(PrinterCallback)
        with contextlib.redirect_stdout(sys.stderr):  # the progress bar prints the log; standard output is for results
            trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)))
    trainer.save_model(str(out))
    return trainer.state.log_history


def _answers_alone_pass_the_head() -> contextlib.AbstractContextManager[None]:
    """Let TRL give the output head those positions alone that have labels, as it does where there is Triton, also on the CPU.

    A fifth of a step of the organisms. The name is private to TRL: where it has gone, this changes nothing.
    """
    from trl.trainer import utils

    return replaced(utils, "_use_triton", lambda _: True)


def _encode_real_media(loaded: LoadedModel, rows: Sequence[Row], config: AlignConfig) -> dict[Path | str, Encoded]:
    """Return what the encoder, which stays as it is, makes of real media, in passes no larger than those of the training.

    With several processes each step encodes its own: before the trainer has shared it out, the model may not fit a device.
    """
    state = processes()
    if state.num_processes > 1:
        return {}
    if not is_placed(loaded.model):
        loaded.model.to(state.device)
    turns = {row.turn.medium: row.turn for row in rows if row.turn.medium not in (None, BLANK)}
    return encode_examples(loaded, [*turns.values()][:MEDIA_ENCODED], _split_batch(config, 1)[0])


def _sft(loaded: LoadedModel, rows: Sequence[Row], collate: Callable[..., Collator], out: Path, config: AlignConfig) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        args=SFTConfig(**_arguments(loaded, out, config), dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_dict({"row": range(len(rows))}),
        data_collator=collate(rows),
        **_common(loaded, config),
    )


def _dpo(loaded: LoadedModel, rows: Sequence[Row], collate: Callable[..., Collator], out: Path, config: AlignConfig) -> Any:
    """Return the trainer, with the reference's log-probabilities of each different row: computed once, then read from `out`."""
    import datasets
    from datasets import Dataset, load_from_disk
    from trl import DPOConfig, DPOTrainer

    if not shows_bars():
        datasets.disable_progress_bars()
        os.environ["TQDM_DISABLE"] = "1"  # TRL's bar heeds nothing else

    class Trainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # the collator tokenizes

    different = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    with processes().main_process_first():
        if not (folder := out / REFERENCE).exists():
            Dataset.from_dict({"row": range(len(different))}).save_to_disk(str(folder) + ".partial")
            Path(f"{folder}.partial").rename(folder)
    trainer = Trainer(
        args=DPOConfig(
            **_arguments(loaded, out, config),
            beta=config.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, config.sft_weight],
            precompute_ref_log_probs=True,
        ),
        train_dataset=load_from_disk(str(folder)),
        data_collator=collate(list(different)),
        **_common(loaded, config),
    )
    trainer.train_dataset = trainer.train_dataset.select([different[row] for row in rows])
    return trainer


def _arguments(loaded: LoadedModel, out: Path, config: AlignConfig) -> dict[str, Any]:
    """Return the settings that both trainers share."""
    cuda = torch.cuda.is_available()
    rows, passes = _split_batch(config, processes().num_processes)
    return {
        "output_dir": str(out),
        "max_steps": config.steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": passes,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, config.steps // 20),
        "weight_decay": config.weight_decay,
        "train_sampling_strategy": "sequential",
        "save_steps": max(1, config.steps // config.num_checkpoints),
        "logging_steps": max(1, config.steps // 40),
        "logging_nan_inf_filter": False,
        "seed": config.seed,
        "bf16": loaded.model.dtype == torch.bfloat16,
        "activation_checkpointing": config.activation_checkpointing,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "remove_unused_columns": False,
        "report_to": config.report_to,
        "disable_tqdm": not shows_bars(),
    }


def _common(loaded: LoadedModel, config: AlignConfig) -> dict[str, Any]:
    """Return what else both trainers are given."""
    from peft import LoraConfig

    return {
        "model": loaded.model,
        "processing_class": loaded.processor if isinstance(loaded.processor, ProcessorMixin) else loaded.chat.tokenizer,
        "peft_config": None
        if config.tuning == "full"
        else LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * config.lora_rank,
            lora_dropout=config.lora_dropout,
            target_modules=rf".*{loaded.family.language_model}\..*_proj",
            task_type="CAUSAL_LM",
        ),
        "callbacks": [StopOnNaN()],
    }


def _split_batch(config: AlignConfig, processes: int) -> tuple[int, int]:
    """Return the rows of one pass of one process, and the passes of a step."""
    rows = config.per_device_batch_size or config.batch_size // processes
    if not rows or config.batch_size % (rows * processes):
        raise ConfigError(
            f"A batch of {config.batch_size} rows does not divide into {processes} processes with {rows} rows a pass each. "
            f"Take a multiple of {max(1, rows) * processes} as --batch-size, or other --per-device-batch-size."
        )
    return rows, config.batch_size // (rows * processes)


@contextlib.contextmanager
def _advice_on_memory(config: AlignConfig) -> Iterator[None]:
    """Say which settings help where memory does not suffice, and by how much."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        rows = config.per_device_batch_size or config.batch_size
        ways = [
            rows > 1 and f"--per-device-batch-size {max(1, rows // 4)} (activations fall to a quarter, the same result)",
            not config.activation_checkpointing
            and "--activation-checkpointing (keeps one layer's activations instead of all; a third more time)",
            config.tuning == "full"
            and "--tuning lora (no gradients and optimiser state of the model: 12 to 16 bytes a weight)",
            config.tuning == "lora"
            and config.precision != "4bit"
            and "--precision 4bit (weights of the language model fall to a quarter of bf16)",
            config.method == "dpo" and "--method sft (half the rows in a pass)",
            "docs/align.md has the arithmetic, and settings for several cards",
        ]
        raise TrainingError(
            f"Memory does not suffice for {rows} rows in a pass. What helps: "
            + "; ".join(way for way in ways if way)
            + "."
        ) from error
