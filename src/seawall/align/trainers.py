"""Training through TRL: the trainer stays as it is, the collator brings the embeddings, the injection takes them."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, ProcessorMixin, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from seawall.errors import TrainingError
from seawall.models.inject import attach
from seawall.models.load import Loaded
from seawall.progress import shows_bars


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


def train_sft(loaded: Loaded, collator: Any, out: Path, config: Any) -> list[dict[str, float]]:
    """Train a LoRA adapter by TRL's `SFTTrainer`; go on from the last checkpoint in `out`, if there is one.

    Args:
        loaded: The model; wrapped by PEFT in place.
        collator: Maps lines `{"row": index}` to batches, and knows its `rows`.
        out: Receives the adapter, and `checkpoint-<step>` folders on the way.
        config: An `AlignConfig`.

    Returns:
        The training log, one entry a logging step.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(out),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, config.steps // 20),
        weight_decay=config.weight_decay,
        train_sampling_strategy="sequential",
        save_steps=max(1, config.steps // config.checkpoints),
        logging_steps=max(1, config.steps // 40),
        logging_nan_inf_filter=False,
        seed=config.seed,
        bf16=loaded.model.dtype == torch.bfloat16,
        activation_checkpointing=config.activation_checkpointing,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        report_to="none",
        disable_tqdm=not shows_bars(),
    )
    trainer = SFTTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=Dataset.from_dict({"row": range(len(collator.rows))}),
        data_collator=collator,
        processing_class=loaded.processor if isinstance(loaded.processor, ProcessorMixin) else loaded.chat.tokenizer,
        peft_config=LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * config.lora_rank,
            lora_dropout=config.lora_dropout,
            target_modules=rf".*{loaded.family.language_model}\..*_proj",
            task_type="CAUSAL_LM",
        ),
        callbacks=[StopOnNaN()],
    )
    trainer.remove_callback(PrinterCallback)
    # the progress bar prints the log; standard output is for results
    with attach(trainer.model, loaded.family), contextlib.redirect_stdout(sys.stderr):
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out)))
    trainer.model.save_pretrained(out)
    return trainer.state.log_history
