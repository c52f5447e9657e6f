"""The model card of an adapter: what it was trained on and how, what was measured, and what it cannot promise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from seawall.alignment.config import AlignConfig

CARD = "README.md"
RESULTS = "\n## Results\n"
UNMEASURED = (
    "Its attack success and over-refusal are not in this card: measure both with `seawall evaluate` before any use.\n"
)
LIMITS = """
## Limits

Trained against harm that arrives through the one modality of its embeddings, in the categories and languages of its text data. A refusal of
what is harmful there promises nothing for other attacks (several turns, other modalities, adversarial perturbations). It may refuse what it
should answer: look at `answered_harmless_*` beside attack success.
"""


def write_card(out: Path, model: str, config: AlignConfig, summary: dict[str, Any], pairs: dict[str, Any]) -> None:
    """Write the card.

    Args:
        out: Folder of the adapter.
        model: What was trained, as `load_model` takes it.
        config: Settings.
        summary: Rows of each component, available and in a batch.
        pairs: Manifest of `prepare`.
    """
    components = "\n".join(f"| {n} | {c['available']} | {c['in_a_batch']} |" for n, c in summary["rows"].items())
    settings = {
        k: v for k, v in dataclasses.asdict(config).items() if k not in ("mixture", "report_to") and v is not None
    }
    how = f"LoRA (rank {config.lora_rank}) on" if config.tuning == "lora" else "All weights of"
    text = f"""---
base_model: {model}
library_name: {"peft" if config.tuning == "lora" else "transformers"}
tags: [safety, seawall, {config.method}]
---
# Safety {"adapter" if config.tuning == "lora" else "tuning"} of {model}, made with Seawall

{how} the language model of `{model}`, trained by {config.method.upper()} to refuse harmful requests that arrive through media, from text safety data and
embeddings that the model itself takes for media (SEA, Lu et al., ACL 2025).

## Data

{_count(pairs)}

| component | rows available | rows in a batch |
|---|---|---|
{components}

## Settings

{", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())}.
{LIMITS}{RESULTS}
{UNMEASURED}"""
    (out / CARD).write_text(text, encoding="utf-8")


def add_results(adapter: Path, benchmark: str, results: dict[str, dict[str, float]]) -> None:
    """Put what was measured on a benchmark into the card of an adapter; a later measurement takes the place of an earlier one."""
    path = adapter / CARD
    if not path.exists() or RESULTS not in (card := path.read_text(encoding="utf-8")):
        return
    head, _, found = card.partition(RESULTS)
    title = f"\n### {benchmark}\n"
    others = [part for part in found.split("\n### ")[1:] if not part.startswith(f"{benchmark}\n")]
    rows = "\n".join(
        f"| {name} | {m['mean']:.3f} | {m['low']:.3f} to {m['high']:.3f} | {m['n']} |" for name, m in results.items()
    )
    table = f"{title}\n| metric | mean | 95 % interval | n |\n|---|---|---|---|\n{rows}\n"
    path.write_text(head + RESULTS + "".join(f"\n### {part}" for part in others) + table, encoding="utf-8")


def _count(pairs: dict[str, Any]) -> str:
    found = {"records read": pairs.get("read"), **pairs.get("counts", {})}
    return f"From text: {', '.join(f'{number} {name}' for name, number in found.items() if isinstance(number, int))}."
