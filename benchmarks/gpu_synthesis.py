"""What a step of the synthesis takes at 7B on this card, with random weights in the shapes of real checkpoints, bf16.

    python benchmarks/gpu_synthesis.py [--shapes LLaVA-1.5-7B ...] [--batches 1 4 16] [--compiled] [--json]
    python benchmarks/gpu_synthesis.py --tiny        # the same at a width that runs on a CPU: tests the script, no figure

For each shape: the reference (one record, two rows a step) and ours (packed, two content questions and a style question)
at each batch, with `--compiled` also with its layers compiled: milliseconds a record-step, peak memory, and the share of
the card's own rate of matrix products, which is measured in the same run. Counted are 4 FLOP for each parameter of the language
model's layers and token: forward and gradient of the activations. Attention and head come on top, so the share is a lower bound.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from reference_synthesis import trace
from seawall import prompts
from seawall.models.chat import BLANK
from seawall.models.compiling import compiled
from seawall.models.encode import encode_media
from seawall.models.families import get_module
from seawall.models.load import LoadedModel
from seawall.models.memory import is_out_of_memory
from seawall.models.packing import _pack, why_not_packed
from seawall.synthesis.objective import controls, losses
from shapes import SHAPES, Shape, build, shrink

STEPS = 10
"""Steps an embedding, for seconds an embedding; one more forward pass finds it done."""


def make_pair(modality: str) -> dict[str, Any]:
    """Return a record like those of `prepare`."""
    question, (answer, styles) = next(iter(prompts.get_sentences(modality).styles.items()))
    return {
        "category": "activity",
        "phrase": "steal a car",
        "content": {
            "question": prompts.format_question(prompts.get_sentences(modality).content_questions[0], modality, "activity"),
            "answer": prompts.format_content_answer("steal a car", modality, "activity"),
        },
        "style": {
            "question": prompts.format_question(question, modality, "activity"),
            "answer": answer.format(style=styles[0]),
        },
    }


def take_time(work: Callable[[], Any], device: str, repeats: int) -> float:
    """Return the median seconds of a call; the first one warms up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def measure_rate(device: str, dtype: torch.dtype, side: int, repeats: int) -> float:
    """Return the FLOP a second of a large matrix product."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / take_time(lambda: left @ right, device, repeats)


def measure_shape(name: str, shape: Shape, arguments: argparse.Namespace, rate: float) -> list[dict[str, Any]]:
    """Return a row for the reference and one for each batch of ours."""
    device, repeats = arguments.device, arguments.repeats
    loaded = build(shape, device, torch.float32 if arguments.tiny else torch.bfloat16)
    pair, blank = make_pair(loaded.family.modality), encode_media(loaded, [BLANK])
    steps = trace(loaded, pair, blank, rate=0.1, steps=10_000)
    rows = [measure_step(loaded, "reference", 1, lambda: next(steps), _reference_tokens(loaded, pair), device, repeats)]
    content, style = controls(pair, 2, loaded.family.modality, "0")
    turns = [*content, style]
    reason = why_not_packed(loaded, turns, blank[0])
    tokens = sum(len(loaded.chat.encode(t)[0]) for t in turns) if reason else len(_pack(loaded.chat, turns)[0])
    for batch, faster in itertools.product(arguments.batches, (False, True) if arguments.compiled else (False,)):
        embeddings = blank.repeat(batch, 1, 1).requires_grad_()
        step = lambda n=batch, e=embeddings: losses(loaded, e, [turns] * n, not reason).mean(1).sum().backward()  # noqa: E731
        how = ("rows" if reason else "packed") + (", compiled" if faster else "")
        try:
            with compiled(loaded.model, loaded.family, faster):
                rows.append(measure_step(loaded, how, batch, step, tokens, device, repeats))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
    return [{"shape": name, **row, "share": row["flop_a_second"] / rate} for row in rows]


def measure_step(
    loaded: LoadedModel, how: str, batch: int, step: Callable[[], Any], tokens: int, device: str, repeats: int
) -> dict[str, Any]:
    """Return time, memory and rate of a step over `batch` records of `tokens` tokens each."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = take_time(step, device, repeats)
    layers = get_module(loaded.model, loaded.family, loaded.family.language_model).layers
    flop = 4 * sum(parameter.numel() for parameter in layers.parameters()) * tokens * batch
    return {
        "how": how,
        "batch": batch,
        "tokens": tokens,
        "ms_a_record_step": 1e3 * seconds / batch,
        "seconds_an_embedding": (STEPS + 1) * seconds / batch,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
        "flop_a_second": flop / seconds,
    }


def _reference_tokens(loaded: LoadedModel, pair: dict[str, Any]) -> int:
    content, style = controls(pair, 1, loaded.family.modality, "0")
    return sum(len(loaded.chat.encode(turn)[0]) for turn in (*content, style))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="measure `--compile` of `seawall synthesize` too")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.device == "cpu" and not arguments.tiny:
        parser.error("there is no GPU here; --tiny runs the script on the CPU")
    dtype, side = (torch.float32, 256) if arguments.tiny else (torch.bfloat16, 8192)
    rate = measure_rate(arguments.device, dtype, side, arguments.repeats)
    card = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    rows = []
    for name in arguments.shapes:
        rows += measure_shape(name, shrink(SHAPES[name]) if arguments.tiny else SHAPES[name], arguments, rate)
        if arguments.device == "cuda":
            torch.cuda.empty_cache()
    if arguments.json:
        print(json.dumps({"card": card, "matmul_flop_a_second": rate, "tiny": arguments.tiny, "rows": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{card}: matrix products at {rate / 1e12:.3g} TFLOP/s", box=None)
    for name in (
        "shape",
        "how",
        "batch",
        "tokens",
        "ms a record-step",
        f"s an embedding ({STEPS} steps)",
        "GiB",
        "share",
    ):
        table.add_column(name)
    for row in rows:
        peak = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        numbers = f"{row['ms_a_record_step']:.1f}", f"{row['seconds_an_embedding']:.2f}", peak, f"{row['share']:.0%}"
        table.add_row(row["shape"], row["how"], str(row["batch"]), str(row["tokens"]), *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()
