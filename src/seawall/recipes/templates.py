"""`seawall init`: a commented recipe for a model and a data set."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.errors import ConfigError, DataError
from seawall.models.families import MODELS, Family, find_family
from seawall.preparation.sources.source import Source
from seawall.recipes.check import is_source, read_config
from seawall.store.files import write_durably

SMALL = 1024
"""Hidden size below which a language model takes the learning rate of small models."""
BENCHMARKS = {
    "image": ("mm_safetybench", "MM-SafetyBench"),
    "video": ("va_safetybench_video", "VA-SafetyBench"),
    "audio": ("va_safetybench_audio", "VA-SafetyBench"),
}
"""Modality -> benchmark that the recipe suggests, and its folder."""

TEMPLATE = """\
# Recipe for {model}: {family}.
#
#   seawall run {file} --dry-run    what it will make, and roughly how long and how much memory it takes
#   seawall run {file}              all stages; rerun to resume
#
# Every key is a setting of a stage: docs/reference/recipe.md. Paths are relative to this file.

[model]
name = {name}
{precision}

[data]
modality = {modality}
# Text safety data. Columns: instruction, response, and kind ("harmful" or "harmless"); many public data sets are known.
# It needs harmful and harmless requests.
sources = {sources}
# Number of pairs, from records drawn at random, half of them of each kind:
# sample = 2000
# balance = true
# An Inspect model that finds the phrases, for requests that the rules do not understand:
# extractor = "openai/gpt-4o-mini"
{bank}
# Real {modality_word} with questions and answers (media.jsonl), so that real media keep being answered:
# media = ["harmless-media"]

[synthesis]
start = {start}
# Embeddings per record, each from another starting medium. At most one with a blank start.
copies = 4
# Without a batch size, as many as fit into memory:
# batch_size = 16

[alignment]
# "sft" trains on the responses. "dpo" prefers them to rejected ones, and takes twice as long.
method = "sft"
steps = 400
batch_size = 32
# Examples per forward pass. Lower it if memory runs out; the result is the same:
per_device_batch_size = {per_device}
{checkpointing}
learning_rate = {learning_rate}

[alignment.mixture]  # shares of a batch
text_harmful = 0.2
text_harmless = 0.2
synthetic_harmful = 0.3
synthetic_harmless = 0.3  # twins; without them a model can learn "synthetic means refuse"
media_harmless = 0.0      # needs data.media; 0.2 is a good share

# Attack success and over-refusal before and after. Bring the benchmark (docs/how_to/benchmarks.md), then remove the "# ".
# [evaluation]
# benchmark = "{benchmark}"
# data = "{benchmark_data}"
# judges = ["refusal"]  # and a model, such as "strongreject=openai/gpt-4o-mini"
# batch_size = {answers}
"""


def write_recipe(
    out: Path, model: str, sources: Sequence[str], *, bank: Path | None = None, modality: str | None = None
) -> None:
    """Write a commented recipe.

    Args:
        out: File to write. It must not exist.
        model: Registered model, folder in Hugging Face format, or hub id.
        sources: Text safety data: files, folders or ids of hub data sets.
        bank: Folder of harmless media to start from. None starts from a blank medium.
        modality: Modality of the media. None takes the family's first one.

    Raises:
        ConfigError: The file exists, or its folder does not.
        DataError: A source or the bank is missing.
        ModelError: The model is missing, or its family or modality is not supported.
    """
    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten. Give another --out, or delete it.")
    if not out.parent.is_dir():
        raise ConfigError(f"The folder {out.parent} does not exist. Create it, or give another --out.")
    missing = [source for source in sources if not is_source(source)]
    missing += [str(bank)] if bank and not bank.is_dir() else []
    if missing:
        raise DataError(f"There is no {', and no '.join(missing)}. Give files, folders, or dataset ids of the hub.")
    config = read_config(model)
    tower = (config.get("vision_config") or {}).get("model_type")
    family = find_family(config["model_type"], modality, tower)
    text = TEMPLATE.format(**_choose_values(out, model, sources, bank, family, config))
    write_durably(out, text.encode())


def _choose_values(
    out: Path, model: str, sources: Sequence[str], bank: Path | None, family: Family, config: dict[str, Any]
) -> dict[str, Any]:
    """Return the values of the template."""
    text = config.get("text_config") or config
    small = (text.get("hidden_size") or SMALL) < SMALL
    kind = family.modality
    benchmark, folder = BENCHMARKS.get(kind, ("NAME", "FOLDER"))
    paths = {source: source if Path(source).exists() else Source.parse(source).path for source in sources}
    local = [
        _relate(path, out) + source[len(path) :] if Path(path).exists() else source for source, path in paths.items()
    ]
    precision = "Default: that of the checkpoint. 4bit needs a quarter of the memory (extra quantized):"
    checkpointing = "# Recompute activations: less memory, a third more time.\n"
    return {
        "model": model,
        "family": f"family {family.model_type}, media: {kind}",
        "file": out,
        "name": json.dumps(_relate(model, out) if model not in MODELS and Path(model).is_dir() else model),
        "precision": f'# {precision}\n# precision = "4bit"' if small else f'# {precision}\nprecision = "bf16"',
        "modality": json.dumps(kind),
        "modality_word": {"image": "images", "video": "videos", "audio": "sounds"}.get(kind, "media"),
        "sources": json.dumps(local, ensure_ascii=False),
        "bank": "# Real, harmless, unlabelled media, from which the synthesis starts"
        + (f":\nbank = {json.dumps(_relate(bank, out))}" if bank else ' (then set synthesis.start to "bank"):\n'
           '# bank = "harmless-media"'),
        "start": '"bank"' if bank else '"blank"  # "bank" is better, and needs data.bank',
        "per_device": 32 if small else 4,
        "checkpointing": checkpointing + ("# activation_checkpointing = true" if small else "activation_checkpointing = true"),
        "learning_rate": "1e-3  # for a small model; a 7B model needs about 1e-4" if small else "1e-4",
        "benchmark": benchmark,
        "benchmark_data": folder,
        "answers": 128 if small else 16,
    }  # fmt: skip


def _relate(path: str | Path, out: Path) -> str:
    """Return a path relative to the folder of the recipe."""
    return Path(os.path.relpath(path, out.parent)).as_posix()
