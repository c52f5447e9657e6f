"""Stage 3, `align`: collect and plan the training examples, train, write the card, then merge and upload on request."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.alignment.card import write_card
from seawall.alignment.config import AlignConfig
from seawall.alignment.mixture import (
    ComponentCount,
    TrainingExample,
    collect_examples,
    find_media_list,
    keep_preferences,
    leave_out_unusable,
    plan_training,
)
from seawall.errors import ConfigError
from seawall.store.artifacts import claim, finish, released_after_errors, require
from seawall.store.embeddings import BLANK_SIZE, EmbeddingStore
from seawall.store.files import hash_file, read_json, write_json
from seawall.store.maintenance import open_store
from seawall.store.pair import PAIRS, read_modality, read_pairs

if TYPE_CHECKING:
    from seawall.models.load import LoadedModel

SUMMARY = "training.json"
"""File below `out` with the `AlignResult`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignResult:
    """Result of `align`."""

    examples: Mapping[str, ComponentCount]
    """Component -> number of its examples."""
    loss: Sequence[tuple[int, float]]
    """Step and mean training loss since the previous entry, in nats per token, for each logging step."""
    trained: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Name of a module of the language model, such as `q_proj` -> number of these that were trained."""
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The same for weight matrices that were not trained. Embeddings, norms, filters and routers are not listed."""

    @property
    def final_loss(self) -> float | None:
        """Last logged loss; None if nothing was logged."""
        return self.loss[-1][1] if self.loss else None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AlignResult:
        """Return the result of a JSON object."""
        return cls(
            examples={name: ComponentCount(**count) for name, count in value["examples"].items()},
            loss=[(step, loss) for step, loss in value["loss"]],
            trained=value.get("trained", {}),
            left_out=value.get("left_out", {}),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return dataclasses.asdict(self)


def align(
    model: str,
    pairs: Path,
    embeddings: Path | None,
    out: Path,
    config: AlignConfig = AlignConfig(),
    *,
    media: Sequence[Path] = (),
    merge: bool = False,
    push_to_hub: str | None = None,
) -> AlignResult:
    """Train an adapter, or the whole language model. Call it again to resume from the last checkpoint.

    Under `accelerate launch` the processes share each batch, and the first one writes.

    Args:
        model: Folder in Hugging Face format, hub id or registered name.
        pairs: Folder that `prepare` wrote.
        embeddings: Folder that `synthesize` wrote. None if the mixture has no synthetic components.
        out: Folder for the adapter (with full tuning: the model), its card, `training.json`, manifest and checkpoints.
        config: Settings.
        media: Folders of real media, each with `media.jsonl` (`image`, `question`, `answer`, `kind`).
        merge: Also write the whole model with the adapter merged to `out`/merged.
        push_to_hub: Hub repository to upload the result to. The token comes from `hf auth login` or `HF_TOKEN`.

    Raises:
        ConfigError: The mixture needs examples that the data does not contain, or the upload failed.
        DataError: A `media.jsonl` is broken.
        ArtifactError: `out` belongs to another run, or the embeddings to another model or blank.
        TrainingError: The loss became NaN, or memory is insufficient. Checkpoints are kept.
    """
    from seawall.alignment import export
    from seawall.alignment.trainers import get_processes

    if merge and config.tuning == "full":
        raise ConfigError("Full tuning trains the whole model, so there is no adapter to merge. Remove --merge.")
    text, loaded = read_pairs(pairs), _load(model, read_modality(pairs), embeddings, config)
    store = open_store(embeddings, loaded.fingerprint, loaded.chat.blank_size) if embeddings else None
    examples = collect_examples(text, store, media, loaded.family.modality)
    if config.method == "dpo":
        examples = keep_preferences(examples, config.mixture)
    plan = functools.partial(_plan, config)
    plan(examples)  # fails early if the mixture cannot be made
    inputs = _hash_inputs(loaded, pairs, embeddings, media)
    state = get_processes()
    with state.main_process_first():
        finished = claim(out, "align", config, inputs)
    if not finished:
        with released_after_errors(out) if state.is_main_process else contextlib.nullcontext():
            usable, planned = leave_out_unusable(examples, loaded.chat, plan)
            _train(loaded, usable, planned, store, out, config, pairs)
    if state.is_main_process:
        if merge:
            export.merge_adapter(model, loaded, out, config)
        if push_to_hub:
            export.push_to_hub(out, push_to_hub)
    state.wait_for_everyone()
    return AlignResult.from_json(read_json(out / SUMMARY))


def _load(model: str, modality: str, embeddings: Path | None, config: AlignConfig) -> LoadedModel:
    """Load the model, with the blank of the settings or else that of the embeddings."""
    from seawall.models.load import load_model

    blank = config.blank
    if blank is None and embeddings:
        blank = require(embeddings, "synthesize").facts.get(BLANK_SIZE)
    loaded = load_model(model, modality=modality, blank=blank, precision=config.precision, device_map=config.device_map)
    loaded.chat.cut_long(config.long_sounds == "cut")
    return loaded


def _plan(config: AlignConfig, examples: Mapping[str, Sequence[TrainingExample]]) -> list[TrainingExample]:
    return plan_training(examples, config.mixture, config.steps, config.batch_size, config.seed)


def _hash_inputs(loaded: LoadedModel, pairs: Path, embeddings: Path | None, media: Sequence[Path]) -> dict[str, str]:
    """Return the hash of each input."""
    inputs = {"model": loaded.fingerprint, "pairs": hash_file(pairs / PAIRS)}
    if embeddings:
        inputs["embeddings"] = hash_file(embeddings / EmbeddingStore.INDEX)
    return inputs | {f"media {number}": hash_file(find_media_list(folder)) for number, folder in enumerate(media)}


def _train(
    loaded: LoadedModel,
    examples: Mapping[str, Sequence[TrainingExample]],
    planned: Sequence[TrainingExample],
    store: EmbeddingStore | None,
    out: Path,
    config: AlignConfig,
    pairs: Path,
) -> None:
    """Train, then let the first process write the summary and the card, and mark the run as complete."""
    from seawall.alignment.coverage import measure_coverage
    from seawall.alignment.trainers import get_processes, train

    counts = config.mixture.count_examples(config.batch_size)
    components = {name: ComponentCount(available=len(examples[name]), per_batch=n) for name, n in counts.items()}
    loss = train(loaded, planned, store, out, config)
    if get_processes().is_main_process:
        coverage = measure_coverage(loaded)
        result = AlignResult(examples=components, loss=loss, trained=coverage.trained, left_out=coverage.left_out)
        write_json(out / SUMMARY, result.to_json())
        write_card(out, loaded.name, config, components, require(pairs, "prepare"), coverage)
        finish(out, **({BLANK_SIZE: loaded.chat.blank_size} if store else {}))
