"""Short measurements on a few records, from which `estimate` foresees a run: answers, a synthesis, training steps."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from seawall.alignment.mixture import TrainingExample, collect_examples, keep_preferences, plan_training
from seawall.alignment.trainers import train
from seawall.models.chat import BLANK, Blank, Example
from seawall.models.encode import encode_examples, encode_media
from seawall.models.families import get_module
from seawall.models.generate import generate_batch
from seawall.models.load import LoadedModel
from seawall.models.memory import count_kept_bytes, halve_on_out_of_memory
from seawall.recipes.tables import Recipe
from seawall.recipes.usage import Cost, measure, measure_folder, read_memory, scale_memory
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.store.items import Item
from seawall.store.pair import Pair
from seawall.synthesis.objective import compute_losses
from seawall.synthesis.optimize import Task, optimize
from seawall.synthesis.solve import can_share_prefix, estimate_batch_size, new_task, solve

ANSWER_SECONDS, SYNTHESIS_SECONDS = 2.0, 4.0
"""Time to spend on answers and on a synthesis, in seconds. A single batch may take longer."""
STEPS_TO_SOLVE = 12
"""Optimiser steps per record for which a synthesis is planned, before any is measured."""
PROBED_RECORDS, PROBED_MEDIA, PROBED_STEPS = 32, 8, 4
BACKWARD = 3
"""Time of a step of the synthesis, as a multiple of its forward pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesisCost:
    """What a synthesis takes."""

    seconds_per_record: float
    """Wall time of all copies of a record, on one device."""
    seconds_per_medium: float
    """Wall time to encode a starting medium."""
    bytes_per_embedding: int
    """Size of `E`."""
    batch: Cost
    """Peaks of a whole batch."""
    assumed_steps: int | None
    """Steps per record that were assumed, because the model is too slow to solve records here. None if measured."""
    tasks: Sequence[Task]
    """The records' tasks with their embeddings, for the probe of the alignment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What an alignment takes."""

    setup_seconds: float
    """Wall time before the first step and after the last."""
    seconds_per_step: float
    """Wall time of an optimiser step."""
    seconds_per_medium: float
    """Wall time to encode a real medium."""
    run: Cost
    """Peaks."""
    adapter_bytes: int
    """Size of the adapter."""
    checkpoint_bytes: int
    """Size of a checkpoint."""


def probe_answers(loaded: LoadedModel, items: Sequence[Item], max_tokens: int, batch_size: int) -> Cost:
    """Return the time of one answer, and the memory of a whole batch.

    Args:
        loaded: The model.
        items: Items of the benchmark. Those with media of another modality are left out.
        max_tokens: Maximum tokens of an answer.
        batch_size: Questions in one forward pass.
    """
    usable = [item for item in items if item.modality in (None, loaded.family.modality)]
    sample = random.Random(0).sample(usable, min(len(usable), batch_size))
    examples = [Example(question=item.text or "", medium=item.medium, system=item.system) for item in sample]
    size, left = 4, ANSWER_SECONDS
    while True:
        before, costs, batch = read_memory(), list[Cost](), examples[:size]
        with measure(costs):
            halve_on_out_of_memory(
                lambda part, batch=batch: [  # type: ignore[misc]
                    generate_batch(loaded, batch[first : first + part], max_new_tokens=max_tokens)
                    for first in range(0, len(batch), part)
                ],
                len(batch),
            )
        left -= costs[0].seconds
        if len(batch) == len(examples) or left < 4 * costs[0].seconds:
            whole = scale_memory(costs[0], before, min(batch_size, len(items)) / len(batch))
            return dataclasses.replace(whole, seconds=costs[0].seconds / len(batch))
        size *= 4


def probe_synthesis(
    loaded: LoadedModel, pairs: Sequence[Pair], media: Sequence[Path | Blank], recipe: Recipe
) -> SynthesisCost:
    """Return what the synthesis takes: solve a few records, or take a few steps if the model is slow.

    Args:
        loaded: The model, on its device.
        pairs: Some of the pairs.
        media: All starting media.
        recipe: Its settings of the synthesis are used.
    """
    config = dataclasses.replace(recipe.synthesize, copies=min(recipe.synthesize.copies, len(media)))
    chosen = media[: max(config.copies, PROBED_MEDIA)]
    costs: list[Cost] = []
    with measure(costs):
        starts = encode_media(loaded, chosen)
    task = new_task(pairs[0], loaded, starts, config, attempt=1)
    share = config.share_prefix and can_share_prefix(loaded, task)
    batch_size = config.batch_size or estimate_batch_size(loaded, task, share)
    before = read_memory()
    embedding = task.embeddings[:1].to(loaded.model.device).requires_grad_()
    for _ in range(2):  # the first pass is slower
        with measure(costs):
            count_kept_bytes(lambda: compute_losses(loaded, embedding, task.controls[:1], share), loaded.model)
    steps = config.max_steps if config.threshold == 0 else min(STEPS_TO_SOLVE, config.max_steps)
    affordable = int(SYNTHESIS_SECONDS / max(1e-6, BACKWARD * steps * costs[2].seconds))
    number = min(PROBED_RECORDS, len(pairs), batch_size)
    solved = affordable >= min(2, number)
    if solved:
        number = min(number, affordable)
        settings = dataclasses.replace(config, batch_size=number, compile=False)
        with measure(costs):
            tasks = [*solve(loaded, pairs[:number], starts, settings)]
        seconds = costs[3].seconds / number
    else:
        with measure(costs):
            tasks = _take_steps(loaded, pairs[:number], starts, recipe, share)
        steps = max(1, config.max_steps if config.threshold == 0 else config.max_steps // 2)
        step = costs[3].seconds / (3 * number)
        seconds = step * (steps + config.copies)  # a verification costs about a step
    size = starts[0].numel() * starts.element_size()
    kept = (2 * config.copies + 4) * size * batch_size + len(
        media
    ) * size  # tasks with their optimisers, and all starts
    batch = scale_memory(costs[3], before, batch_size / number)
    on_gpu = loaded.model.device.type == "cuda"
    return SynthesisCost(
        seconds_per_record=seconds,
        seconds_per_medium=costs[0].seconds / len(chosen),
        bytes_per_embedding=size,
        batch=dataclasses.replace(
            batch, memory=batch.memory + kept * (not on_gpu), gpu_memory=batch.gpu_memory + kept * on_gpu
        ),
        assumed_steps=None if solved else steps,
        tasks=tasks,
    )


def _take_steps(
    loaded: LoadedModel, pairs: Sequence[Pair], starts: torch.Tensor, recipe: Recipe, share_prefix: bool
) -> list[Task]:
    """Return the tasks of pairs after two steps, that is, three forward and backward passes."""
    config = recipe.synthesize
    return [
        *optimize(
            loaded,
            [new_task(pair, loaded, starts, config, attempt=1) for pair in pairs],
            learning_rate=config.learning_rate * starts.std().item(),
            threshold=0,
            max_steps=2,
            batch_size=len(pairs),
            share_prefix=share_prefix,
            activation_checkpointing=config.activation_checkpointing,
        )
    ]


def probe_training(
    loaded: LoadedModel, pairs: Sequence[Pair], tasks: Sequence[Task], recipe: Recipe, folder: Path
) -> TrainingCost:
    """Return what the alignment takes: train a few steps with LoRA. The model keeps the adapter.

    Args:
        loaded: The model.
        pairs: The pairs of the tasks.
        tasks: Tasks with embeddings, as if they were verified.
        recipe: Its settings of the alignment are used.
        folder: Folder to write to.

    Raises:
        ConfigError: The mixture needs examples that the data does not contain.
    """
    config = dataclasses.replace(
        recipe.align, steps=PROBED_STEPS, num_checkpoints=1, report_to="none", tuning="lora", precision=None
    )
    store = _write_store(folder / "embeddings", pairs, tasks) if tasks else None
    examples = collect_examples(pairs, store, recipe.data.media, loaded.family.modality)
    if config.method == "dpo":
        examples = keep_preferences(examples, config.mixture)
    planned = plan_training(examples, config.mixture, config.steps, config.batch_size, config.seed)
    media = list({one.example.medium: one.example for one in planned if _is_real(one)}.values())[:PROBED_MEDIA]
    encoding: list[Cost] = []
    with measure(encoding):
        encode_examples(loaded, media, len(media) or 1)
    times: list[float] = []
    costs: list[Cost] = []
    with measure(costs), _time_passes(loaded, times):
        train(loaded, planned, store, folder / "adapter", config)
    passes = len(times) // PROBED_STEPS  # the first step, which allocates memory, is left out
    step = (times[-1] - times[passes]) / (len(times) - 1 - passes) * passes
    checkpoints = [*(folder / "adapter").glob("checkpoint-*")]
    checkpoint = sum(measure_folder(each) for each in checkpoints)
    return TrainingCost(
        setup_seconds=max(0.0, costs[0].seconds - PROBED_STEPS * step),
        seconds_per_step=step,
        seconds_per_medium=encoding[0].seconds / len(media) if media else 0.0,
        run=costs[0],
        adapter_bytes=measure_folder(folder / "adapter") - checkpoint,
        checkpoint_bytes=checkpoint,
    )


def _is_real(one: TrainingExample) -> bool:
    return one.example.medium not in (None, BLANK)


def _write_store(folder: Path, pairs: Sequence[Pair], tasks: Sequence[Task]) -> EmbeddingStore:
    """Return a store of the tasks' embeddings, all marked as verified."""
    folder.mkdir(parents=True)
    store, by_id = EmbeddingStore(folder), {pair.id: pair for pair in pairs}
    embeddings: dict[str, Any] = {}
    entries = []
    for task in tasks:
        pair = by_id[task.record]
        for copy, embedding in enumerate(task.embeddings):
            key = f"{pair.id}#{copy}"
            embeddings[key] = embedding
            content = store.hash_content(pair)
            entries.append(Entry(key=key, record=pair.id, content=content, kind=pair.kind, verified=True))
    store.append(embeddings, entries)
    return store


@contextlib.contextmanager
def _time_passes(loaded: LoadedModel, times: list[float]) -> Iterator[None]:
    """Append the time at which each forward pass with gradients begins."""

    def note(*_: Any) -> None:
        if torch.is_grad_enabled():
            if loaded.model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    hook = loaded.model.register_forward_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()


def count_trained(loaded: LoadedModel) -> int:
    """Return the number of weights that full tuning trains."""
    language_model = get_module(loaded.model, loaded.family, loaded.family.language_model)
    head = loaded.model.get_output_embeddings()
    parts = itertools.chain(language_model.parameters(), head.parameters())
    return sum({id(weight): weight.numel() for weight in parts}.values())
