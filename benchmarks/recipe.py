"""Choose the training recipe: on the arm `real_media` (the ceiling) and validation phrases, never on the test phrases.

    python benchmarks/recipe.py --out runs/recipe [--seeds 2] [--json]

For each learning rate and number of steps the table shows, over seeds, the ASR on harmful media and the share of
harmless media that is answered. All arms of `seawall demo` use the recipe that was chosen from this table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seawall.alignment.config import AlignConfig
from seawall.alignment.run import align
from seawall.evaluation.config import EvaluateConfig
from seawall.lab.arms import ARMS, PAIRS, DemoConfig
from seawall.lab.benchmark import measure_directly
from seawall.lab.demo import MAX_TOKENS, Demo
from seawall.lab.metrics import measure

ARM = "real_media"
LEARNING_RATES = (1e-3, 2e-3)
STEPS = (120, 240)
METRICS = ("asr_media_trained", "asr_media_unseen", "answered_harmless_media", "asr_text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=LEARNING_RATES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("seawall").setLevel(logging.ERROR)

    out, arm = arguments.out, ARMS[ARM]
    out.mkdir(parents=True, exist_ok=True)
    demo = Demo(out, DemoConfig(part="validation"))
    with ThreadPoolExecutor(1) as pool:
        demo.write_data(pool)
    demo.prepare_pairs()
    table = []
    for learning_rate, steps in itertools.product(arguments.learning_rates, arguments.steps):
        figures = []
        for seed in range(arguments.seeds):
            folder = out / f"{learning_rate:g}-{steps}-{seed}"
            config = AlignConfig(
                mixture=arm.mixture, steps=steps, learning_rate=learning_rate, seed=seed, num_checkpoints=1
            )
            media = [out / "media" / kind for kind in arm.media]
            align(demo.model, out / PAIRS["seawall"], None, folder / "adapter", config, media=media)
            how = EvaluateConfig(max_tokens=MAX_TOKENS)
            answers = measure_directly(
                demo.model, out / "benchmark", folder / "evaluation", config=how, adapter=folder / "adapter"
            )
            figures.append(measure([answers]))
        row = {"learning_rate": learning_rate, "steps": steps}
        row |= {name: [round(each[name].mean, 3) for each in figures] for name in METRICS}
        table.append(row)
        if not arguments.json:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps({"part": "validation", "arm": ARM, "table": table}))


if __name__ == "__main__":
    main()
