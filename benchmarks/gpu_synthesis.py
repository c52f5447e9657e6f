"""Cost of a synthesis step at 7B on this GPU, with random weights in the shapes of real checkpoints, in bf16.

    python benchmarks/gpu_synthesis.py [--shapes LLaVA-1.5-7B ...] [--batches 1 4 16] [--compiled] [--json]
    python benchmarks/gpu_synthesis.py --tiny    # small and on a CPU: tests the script

For each shape it measures the reference (one record, two rows per step) and ours (shared prefix, two content
questions and a style question) at each batch size; with `--compiled` also with compiled layers. It prints
milliseconds per record-step, peak memory, and the share of the GPU's rate of matrix products, measured in the same
run. The FLOP count is 4 per parameter of the language model's layers and token: forward pass and gradient of the
activations. Attention and head are not counted, so the share is a lower bound.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from reference_synthesis import trace
from seawall import prompts
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.families import get_module
from seawall.models.load import LoadedModel
from seawall.models.memory import compiled, is_out_of_memory
from seawall.models.packing import find_packing_obstacle, pack_examples
from seawall.store.pair import Pair, QuestionAnswer
from seawall.synthesis.objective import compute_losses, draw_controls
from shapes import SHAPES, Shape, build, shrink

STEPS = 10
"""Assumed steps per embedding. One more forward pass finds that it is done."""
PHRASE, CATEGORY = "steal a car", "activity"
"""Phrase of the measured record, and its category."""


def make_pair(modality: str) -> Pair:
    """Return a pair like those of `prepare`."""
    sentences = prompts.get_sentences(modality)
    answer = prompts.format_content_answer(PHRASE, modality, CATEGORY)
    style, (style_answer, styles) = next(iter(sentences.styles.items()))

    def ask(template: str, reply: str = answer) -> QuestionAnswer:
        return QuestionAnswer(question=prompts.format_question(template, modality, CATEGORY), answer=reply)

    return Pair(
        id="0",
        kind="harmful",
        modality=modality,
        instruction=f"Explain how to {PHRASE}.",
        response="I can't help with that.",
        phrase=PHRASE,
        category=CATEGORY,
        detoxified="Explain how to do this activity.",
        content=tuple(ask(question) for question in sentences.content_questions),
        verification=tuple(ask(question) for question in sentences.verification_questions),
        style=ask(style, style_answer.format(style=styles[0])),
    )


def take_time(work: Callable[[], Any], device: str, repeats: int) -> float:
    """Return the median seconds of a call, after one call to warm up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def measure_rate(device: str, dtype: torch.dtype, side: int, repeats: int) -> float:
    """Return the FLOP per second of a large matrix product."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / take_time(lambda: left @ right, device, repeats)


def measure_shape(name: str, shape: Shape, arguments: argparse.Namespace, rate: float) -> list[dict[str, Any]]:
    """Return a row for the reference and one for each batch size of ours."""
    device, repeats = arguments.device, arguments.repeats
    loaded = build(shape, device, torch.float32 if arguments.tiny else torch.bfloat16)
    pair, blank = make_pair(loaded.family.modality), encode_media(loaded, [BLANK])
    steps = trace(loaded, pair, blank, rate=0.1, steps=10_000)
    rows = [
        measure_step(loaded, "reference", 1, lambda: next(steps), count_reference_tokens(loaded, pair), device, repeats)
    ]
    content, style = draw_controls(pair, 2, "0")
    examples = [*content, style]
    obstacle = find_packing_obstacle(loaded, examples, blank[0])
    tokens = count_tokens(loaded, examples) if obstacle else len(pack_examples(loaded.chat, examples).ids)
    language_model = get_module(loaded.model, loaded.family, loaded.family.language_model)
    for batch, faster in itertools.product(arguments.batches, (False, True) if arguments.compiled else (False,)):
        embeddings = blank.repeat(batch, 1, 1).requires_grad_()

        def step(batch: int = batch, embeddings: torch.Tensor = embeddings) -> None:
            losses = compute_losses(loaded, embeddings, [examples] * batch, not obstacle)
            torch.stack([each.mean() for each in losses]).sum().backward()

        how = ("rows" if obstacle else "packed") + (", compiled" if faster else "")
        try:
            with compiled(language_model, faster):
                rows.append(measure_step(loaded, how, batch, step, tokens, device, repeats))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
    return [{"shape": name, **row, "share": row["flop_per_second"] / rate} for row in rows]


def measure_step(
    loaded: LoadedModel, how: str, batch: int, step: Callable[[], Any], tokens: int, device: str, repeats: int
) -> dict[str, Any]:
    """Return time, memory and FLOP per second of a step over `batch` records of `tokens` tokens each."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = take_time(step, device, repeats)
    layers = get_module(loaded.model, loaded.family, loaded.family.language_model).layers
    flop = 4 * sum(parameter.numel() for parameter in layers.parameters()) * tokens * batch
    return {
        "how": how,
        "batch": batch,
        "tokens": tokens,
        "ms_per_record_step": 1e3 * seconds / batch,
        "seconds_per_embedding": (STEPS + 1) * seconds / batch,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
        "flop_per_second": flop / seconds,
    }


def count_tokens(loaded: LoadedModel, examples: Sequence[Example]) -> int:
    """Return the number of tokens of examples in rows of their own."""
    return sum(len(loaded.chat.encode(example).ids) for example in examples)


def count_reference_tokens(loaded: LoadedModel, pair: Pair) -> int:
    """Return the number of tokens of a step of the reference."""
    content, style = draw_controls(pair, 1, "0")
    return count_tokens(loaded, [*content, style])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="also measure `--compile` of `seawall synthesize`")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.device == "cpu" and not arguments.tiny:
        parser.error("no GPU was found; use --tiny to run the script on the CPU")
    dtype, side = (torch.float32, 256) if arguments.tiny else (torch.bfloat16, 8192)
    rate = measure_rate(arguments.device, dtype, side, arguments.repeats)
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    rows = []
    for name in arguments.shapes:
        rows += measure_shape(name, shrink(SHAPES[name]) if arguments.tiny else SHAPES[name], arguments, rate)
        if arguments.device == "cuda":
            torch.cuda.empty_cache()
    if arguments.json:
        print(json.dumps({"gpu": gpu, "matmul_flop_per_second": rate, "tiny": arguments.tiny, "rows": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{gpu}: matrix products at {rate / 1e12:.3g} TFLOP/s", box=None)
    for name in (
        "shape",
        "how",
        "batch",
        "tokens",
        "ms per record-step",
        f"s per embedding ({STEPS} steps)",
        "GiB",
        "share",
    ):
        table.add_column(name)
    for row in rows:
        peak = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        numbers = f"{row['ms_per_record_step']:.1f}", f"{row['seconds_per_embedding']:.2f}", peak, f"{row['share']:.0%}"
        table.add_row(row["shape"], row["how"], str(row["batch"]), str(row["tokens"]), *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()
