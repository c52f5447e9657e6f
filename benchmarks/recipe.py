"""Choose the training recipe: on the arm `real_media` (the ceiling) and the validation phrases, never on the test.

    python benchmarks/recipe.py --out runs/recipe [--seeds 2] [--json]

Prints, for each learning rate and number of steps, ASR on unseen harmful media and the share of harmless media
answered, over seeds. The recipe that `seawall demo` gives to every arm is chosen from this table.
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
from seawall.lab.demo import ARMS, Demo, DemoConfig
from seawall.evaluation.run import evaluate
from seawall.evaluation.config import read_answers
from seawall.lab.metrics import measure
from seawall.preparation.run import prepare

RATES = (1e-3, 2e-3)
STEPS = (120, 240)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("seawall").setLevel(logging.ERROR)

    out, arm = arguments.out, ARMS["real_media"]
    out.mkdir(parents=True, exist_ok=True)
    data = Demo(out, DemoConfig(part="validation"))
    with ThreadPoolExecutor(1) as pool:
        data.write_data(pool)
    prepare(out / "records.jsonl", out / "pairs")
    table = []
    for rate, steps in itertools.product(arguments.rates, arguments.steps):
        runs = []
        for seed in range(arguments.seeds):
            folder = out / f"{rate:g}-{steps}-{seed}"
            config = AlignConfig(mixture=arm.mixture, steps=steps, learning_rate=rate, seed=seed, checkpoints=1)
            media = [out / "media" / kind for kind in arm.media]
            align(data.model, out / "pairs", None, folder / "adapter", config, media=media)
            evaluate(data.model, out / "benchmark", folder / "evaluation", adapter=folder / "adapter")
            runs.append(read_answers(folder / "evaluation"))
        each = [measure([run]) for run in runs]
        row = {"learning_rate": rate, "steps": steps}
        for metric in ("asr_media_trained", "asr_media_unseen", "answered_harmless_media", "asr_text"):
            row[metric] = [round(m[metric]["mean"], 3) for m in each]
        table.append(row)
        if not arguments.json:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps({"part": "validation", "arm": "real_media", "table": table}))


if __name__ == "__main__":
    main()
