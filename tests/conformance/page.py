"""Writes the table of docs/reference/conformance.md from the table of families and the tiny models of the suite.

Run it with `PYTHONPATH=src:tests python -m conformance.page`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from conformance import stand_ins
from conformance.conftest import QUESTION, Row, make_row
from seawall.models.chat import BLANK, Example
from seawall.models.custom import qwen_video
from seawall.models.families import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
REAL = {
    ("llava", "image"): "336 px: 576x1024 -> 576",
    ("llava_next", "image"): "336 px, 3 tiles: 1728x1024 -> 1176",
    ("llava_onevision", "image"): "384 px, 2 tiles: 1458x1152 -> 1485",
    ("llava_onevision", "video"): "729x1152 a frame -> 196 a frame + 1",
    ("llava_next_video", "video"): "144x1024 a frame -> 144 a frame",
    ("video_llava", "video"): "257x1024 a frame -> 257 a frame",
    ("qwen2_vl", "image"): "448 px: 1024x1280 -> 256",
    ("qwen2_5_vl", "image"): "448 px: 1024x1280 -> 256",
    ("qwen3_vl", "image"): "512 px: 4x1024x1152 -> 256",
    ("qwen2_5_omni_thinker", "image"): "448 px: 1024x1280 -> 256",
    ("qwen2_5_omni_thinker", "audio"): "30 s: 750x1280 -> 750",
    ("internvl", "image"): "448 px: 256x4096 -> 256",
    ("gemma3", "image"): "896 px: 4096x1152 -> 256",
    ("paligemma", "image"): "224 px: 256x1152 -> 256",
    ("mistral3", "image"): "448 px: 1024x1024 -> 256",
    ("smolvlm", "image"): "729x1152 a tile -> 81 a tile",
    ("idefics3", "image"): "729x1152 a tile -> 81 a tile",
    ("qwen2_audio", "audio"): "30 s: 750x1280 -> 750",
    ("voxtral", "audio"): "30 s: 375x5120 -> 375",
    ("granite_speech", "audio"): "30 s: 1500x1024 -> 300",
    ("audioflamingo3", "audio"): "30 s: 750x1280 -> 750",
}
"""Blank of released checkpoints, computed from their configurations and processors. None was run."""


def make_line(row: Row) -> str:
    """Return the line of a family."""
    family, chat = row.family, row.loaded.chat
    example = Example(question=QUESTION, medium=BLANK)
    content = [{"type": family.modality}, {"type": "text", "text": QUESTION}]
    messages = [{"role": "user", "content": content}]
    prompt = chat.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    tokens = len(chat.encode(example).ids) - len(chat.tokenizer(prompt)["input_ids"]) + 1
    parts = [row.loaded.processor, getattr(row.loaded.processor, f"{family.modality}_processor", None)]
    origins = {type(part).__module__ for part in parts}
    processor = "stand-in" if stand_ins.__name__ in origins else "ours" if qwen_video.__name__ in origins else "real"
    cells = [
        family.model_type + (f" ({family.tower})" if family.tower else ""),
        family.modality,
        f"`{family.encoder_layers}`",
        f"`{family.projector}`" + (f", `{family.deep_projectors}.*`" if family.deep_projectors else ""),
        REAL.get((family.model_type, family.modality), "") if not family.tower else "",
        "x".join(map(str, row.own.shape[1:])) + f" -> {tokens}",
        processor,
        "all" if row.model.supports_gradient_checkpointing else "all but checkpointing (it has none)",
        family.checked_on,
        "no",
    ]
    return "| " + " | ".join(cells) + " |"


def make_table(folder: Path) -> str:
    """Return the whole table."""
    heads = ["model type", "modality", "layers of M", "P", "blank of a real checkpoint: E -> LM tokens"]
    heads += [
        "in the suite: E -> tokens",
        "processor in the suite",
        "properties checked",
        "transformers",
        "real checkpoint run",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join(lines + [make_line(make_row(family, folder)) for family in FAMILIES]) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(before + BEGIN + make_table(Path(folder)) + END + after, encoding="utf-8")
