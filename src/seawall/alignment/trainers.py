"""Training through TRL. The collator brings the embeddings and the injection uses them; the trainers are TRL's own."""

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

from seawall import compat
from seawall.alignment.checkpoints import MarkComplete, find_checkpoint, forget_incomplete
from seawall.alignment.collate import INDEX, Collator, PreferenceCollator
from seawall.alignment.config import AlignConfig
from seawall.alignment.coverage import measure_coverage, report_coverage
from seawall.alignment.mixture import TrainingExample
from seawall.errors import ConfigError, TrainingError
from seawall.models.chat import BLANK, Medium
from seawall.models.encode import EncodedMedium, encode_examples
from seawall.models.families import get_module
from seawall.models.inject import attach
from seawall.models.load import LoadedModel, is_placed
from seawall.models.memory import is_out_of_memory
from seawall.progress import shows_bars
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import explain_failed_write

REFERENCE = "reference"
"""Folder below `out` with the log-probabilities of the reference model, for DPO."""
MEDIA_ENCODED = 1_000
"""Number of real media that are encoded once and kept in memory. For a 7B model these take 1 to 2 GB."""


def get_processes() -> PartialState:
    """Return the processes of this training. accelerate must be told if there is no GPU."""
    return PartialState(cpu=not torch.cuda.is_available())


class StopOnNaN(TrainerCallback):
    """Stops a training whose loss is NaN or infinite. Its checkpoints are kept."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Raise TrainingError if the logged loss is NaN or infinite."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at step {state.global_step}. The checkpoints in {args.output_dir} are kept. "
                "Use a lower learning rate or --precision fp32, with another --out."
            )


def train(
    loaded: LoadedModel,
    examples: Sequence[TrainingExample],
    store: EmbeddingStore | None,
    out: Path,
    config: AlignConfig,
) -> list[tuple[int, float]]:
    """Train with TRL's `SFTTrainer` or `DPOTrainer`. Resume from the last complete checkpoint in `out`, if any.

    Args:
        loaded: The model. It is changed in place; with LoRA, PEFT adds its layers.
        examples: The examples of the whole training, batch after batch.
        store: Embeddings of the synthetic examples.
        out: Folder for the adapter (or the model) and for the checkpoints, `checkpoint-<step>`.
        config: Settings.

    Returns:
        Step and mean loss since the previous entry, for each logging step.

    Raises:
        ConfigError: The batch size is not divisible by processes and per-device batch size.
        TrainingError: The loss became NaN or infinite, or memory is insufficient.
    """
    if config.tuning == "full":
        loaded.model.requires_grad_(False)
        head = loaded.model.get_output_embeddings()
        for part in (get_module(loaded.model, loaded.family, loaded.family.language_model), head):
            part.requires_grad_(True)
    # attach first: the constructor of the DPO trainer computes the reference log-probabilities
    with (
        attach(loaded.model, loaded.family),
        compat.labels_only_head(),
        _explain_memory(config),
        explain_failed_write(out),
    ):
        encoded = _encode_real_media(loaded, examples, config)
        make, collator = (_make_dpo, PreferenceCollator) if config.method == "dpo" else (_make_sft, Collator)
        trainer = make(loaded, examples, functools.partial(collator, loaded.chat, store, encoded), out, config)
        trainer.remove_callback(PrinterCallback)
        if get_processes().is_main_process:
            report_coverage(measure_coverage(loaded))
        if get_processes().is_main_process:
            forget_incomplete(out)
        with contextlib.redirect_stdout(sys.stderr):  # the progress bar prints the log; standard output is for results
            trainer.train(resume_from_checkpoint=find_checkpoint(out))
        trainer.save_model(str(out))
    return [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


def _encode_real_media(
    loaded: LoadedModel, examples: Sequence[TrainingExample], config: AlignConfig
) -> dict[Medium, EncodedMedium]:
    """Return the encoder's output for real media, which training does not change. Batches are as large as in training.

    With several processes nothing is encoded here: before the trainer distributes the model, it may not fit one device.
    """
    state = get_processes()
    if state.num_processes > 1:
        return {}
    if not is_placed(loaded.model):
        loaded.model.to(state.device)
    real = {one.example.medium: one.example for one in examples if one.example.medium not in (None, BLANK)}
    return encode_examples(loaded, [*real.values()][:MEDIA_ENCODED], _divide_batch(config, 1)[0])


def _make_sft(
    loaded: LoadedModel,
    examples: Sequence[TrainingExample],
    make_collator: Callable[..., Collator],
    out: Path,
    config: AlignConfig,
) -> Any:
    """Return the trainer for SFT."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        args=SFTConfig(**_collect_arguments(loaded, out, config), dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_dict({INDEX: range(len(examples))}),
        data_collator=make_collator(examples),
        **_make_parts(loaded, config),
    )


def _make_dpo(
    loaded: LoadedModel,
    examples: Sequence[TrainingExample],
    make_collator: Callable[..., Collator],
    out: Path,
    config: AlignConfig,
) -> Any:
    """Return the trainer for DPO.

    The reference log-probabilities of each distinct example are computed once. A resumed run reads them from `out`.
    """
    import datasets
    from trl import DPOConfig

    if not shows_bars():
        datasets.disable_progress_bars()
        os.environ["TQDM_DISABLE"] = "1"  # the only setting that turns off TRL's own bar
    distinct = {example: number for number, example in enumerate(dict.fromkeys(examples))}
    folder = out / REFERENCE
    with get_processes().main_process_first():
        if not folder.exists():
            partial = out / f"{REFERENCE}.partial"
            datasets.Dataset.from_dict({INDEX: range(len(distinct))}).save_to_disk(str(partial))
            partial.rename(folder)
    return compat.make_dpo_trainer(
        datasets.load_from_disk(str(folder)),
        [distinct[example] for example in examples],
        args=DPOConfig(
            **_collect_arguments(loaded, out, config),
            beta=config.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, config.sft_weight],
            precompute_ref_log_probs=True,
        ),
        data_collator=make_collator(list(distinct)),
        **_make_parts(loaded, config),
    )


def _collect_arguments(loaded: LoadedModel, out: Path, config: AlignConfig) -> dict[str, Any]:
    """Return the training arguments that both methods share."""
    cuda = torch.cuda.is_available()
    per_device, accumulation = _divide_batch(config, get_processes().num_processes)
    return {
        "output_dir": str(out),
        "max_steps": config.steps,
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": accumulation,
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


def _make_parts(loaded: LoadedModel, config: AlignConfig) -> dict[str, Any]:
    """Return the other arguments of both trainers: model, processor, LoRA settings and callbacks."""
    from peft import LoraConfig

    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=config.lora_dropout,
        target_modules=rf".*{loaded.family.language_model}\..*_proj",
        task_type="CAUSAL_LM",
    )
    return {
        "model": loaded.model,
        "processing_class": loaded.processor if isinstance(loaded.processor, ProcessorMixin) else loaded.chat.tokenizer,
        "peft_config": lora if config.tuning == "lora" else None,
        "callbacks": [StopOnNaN(), MarkComplete()],
    }


def _divide_batch(config: AlignConfig, processes: int) -> tuple[int, int]:
    """Return the examples per forward pass of one process, and the passes per optimiser step."""
    per_device = config.per_device_batch_size or config.batch_size // processes
    if not per_device or config.batch_size % (per_device * processes):
        raise ConfigError(
            f"A batch size of {config.batch_size} is not divisible by {processes} processes with {per_device} examples "
            f"per forward pass each. Set --batch-size to a multiple of {max(1, per_device) * processes}, or change "
            "--per-device-batch-size."
        )
    return per_device, config.batch_size // (per_device * processes)


@contextlib.contextmanager
def _explain_memory(config: AlignConfig) -> Iterator[None]:
    """Turn an out-of-memory error into a list of the settings that help.

    Raises:
        TrainingError: Memory is insufficient.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        examples = config.per_device_batch_size or config.batch_size
        raise TrainingError(
            f"Memory is insufficient for {examples} examples per forward pass. What helps: "
            f"{'; '.join(_list_savings(config, examples))}."
        ) from error


def _list_savings(config: AlignConfig, examples: int) -> list[str]:
    """Return the settings that save memory beyond those of the config, each with its effect."""
    savings = []
    if examples > 1:
        savings.append(
            f"--per-device-batch-size {max(1, examples // 4)} (a quarter of the activations' memory, the same result)"
        )
    if not config.activation_checkpointing:
        savings.append("--activation-checkpointing (activations of one layer instead of all, a third more time)")
    if config.tuning == "full":
        savings.append("--tuning lora (no gradients and optimiser state of the model: 12 to 16 bytes per weight)")
    elif config.precision != "4bit":
        savings.append("--precision 4bit (a quarter of the memory that bf16 takes for the language model)")
    if config.method == "dpo":
        savings.append("--method sft (half the sequences per forward pass)")
    return [*savings, "settings for several GPUs, and the arithmetic, are in docs/how_to/memory.md"]
