"""The model card of an adapter: its training data and settings, its results, and its limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from seawall.alignment.config import AlignConfig
from seawall.alignment.coverage import Coverage
from seawall.alignment.mixture import ComponentCount
from seawall.store.artifacts import Manifest
from seawall.store.files import write_durably
from seawall.store.items import Figure

CARD = "README.md"
RESULTS = "\n## Results\n"
"""Heading of the last section of the card."""
UNMEASURED = """
Attack success and over-refusal have not been measured. Measure both with `seawall evaluate` before any use.
"""
LIMITS = """
## Limits

The training covers harmful requests that arrive through the modality of the embeddings, in the categories and languages
of its text data. It promises nothing about other attacks, such as several turns, other modalities or adversarial
perturbations. The model may also refuse harmless requests: read the over-refusal beside the attack success.
"""


def write_card(
    out: Path,
    model: str,
    config: AlignConfig,
    components: Mapping[str, ComponentCount],
    pairs: Manifest,
    coverage: Coverage,
) -> None:
    """Write the card.

    Args:
        out: Folder of the adapter.
        model: Name of the model that was trained.
        config: Settings of the training.
        components: Name -> number of examples of each component.
        pairs: Manifest of the alignment pairs.
        coverage: Which weights were trained.
    """
    from huggingface_hub import ModelCard, ModelCardData

    lora = config.tuning == "lora"
    data = ModelCardData(
        base_model=model if is_hub_id(model) else None,
        library_name="peft" if lora else "transformers",
        tags=["safety", "seawall", config.method],
    )
    name = model if is_hub_id(model) or not Path(model).exists() else Path(model).resolve().name
    how = f"LoRA (rank {config.lora_rank}) on" if lora else "All weights of"
    rows = "\n".join(f"| {name} | {one.available} | {one.per_batch} |" for name, one in components.items())
    card = f"""---
{data.to_yaml()}
---
# Safety {"adapter" if lora else "tuning"} of {name}, made with Seawall

{how} the language model of `{name}`, trained by {config.method.upper()} to refuse harmful requests that arrive through
media. The training data is text and synthetic embeddings that the model itself takes for media (SEA, Lu et al., ACL
2025).

## Data

{_describe_data(pairs)}

| component | available examples | examples per batch |
|---|---|---|
{rows}

## Trained weights

Weight matrices of the language model, by name and number. {coverage.describe()}

## Settings

{_describe_settings(config)}
{LIMITS}{RESULTS}{UNMEASURED}"""
    write_durably(out / CARD, str(ModelCard(card)).encode())


def is_hub_id(model: str) -> bool:
    """Return whether a model's name can be the `base_model` of a card: the Hub refuses anything but one of its own ids."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return model.count("/") == 1 and not Path(model).exists()


def add_results(adapter: Path, benchmark: str, figures: Mapping[str, Figure]) -> None:
    """Add the results of a benchmark to the card of an adapter.

    They replace the results that the card already has for the same benchmark. An adapter without a card of Seawall is
    left unchanged.

    Args:
        adapter: Folder that `align` wrote.
        benchmark: Name of the benchmark.
        figures: Metric -> measured value.
    """
    from huggingface_hub import ModelCard

    path = adapter / CARD
    if not path.is_file():
        return
    card = ModelCard.load(path)
    if RESULTS not in card.text:
        return
    head, _, found = card.text.partition(RESULTS)
    sections = {part.split("\n", 1)[0]: part for part in found.split("\n### ")[1:]}
    sections.pop(benchmark, None)
    rows = "\n".join(
        f"| {name} | {figure.mean:.3f} | {figure.low:.3f} to {figure.high:.3f} | {figure.n} |"
        for name, figure in figures.items()
    )
    sections[benchmark] = f"{benchmark}\n\n| metric | mean | 95 % interval | n |\n|---|---|---|---|\n{rows}\n"
    card.text = head + RESULTS + "".join(f"\n### {section}" for section in sections.values())
    write_durably(path, str(card).encode())


def _describe_data(pairs: Manifest) -> str:
    counts = {"records read": pairs.facts.get("read"), **pairs.facts.get("counts", {})}
    kinds = pairs.facts.get("kinds", {})
    listed = []
    for name, number in counts.items():
        parts = [f"{found[name]} {kind}" for kind, found in kinds.items() if found.get(name)]
        if isinstance(number, int):
            listed.append(f"{number} {name}" + (f" ({', '.join(parts)})" if parts else ""))
    return f"From text: {', '.join(listed)}."


def _describe_settings(config: AlignConfig) -> str:
    settings = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
    shown = [name for name in settings if name not in ("mixture", "report_to")]
    return ", ".join(f"{name.replace('_', ' ')} {settings[name]}" for name in shown) + "."
