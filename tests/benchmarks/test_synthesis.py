"""The synthesis benchmarks: the reference does what the paper describes, and the scripts run at a tiny size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from sample_pairs import make_pair
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis.objective import make_example
from seawall.synthesis.optimize import Task, optimize


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def test_the_first_step_of_the_reference_is_that_of_the_optimiser(tiny):
    """Adam's first step is the sign of the gradient, whatever its betas."""
    import reference_synthesis

    tiny.model.requires_grad_(False)
    blank = encode_media(tiny, [BLANK])
    pair = make_pair()
    found = reference_synthesis.synthesize_one(tiny, pair, blank, rate=0.1, steps=1)
    content, style = make_example(pair.content[0]), make_example(pair.style)
    task = Task(record="0", content=[[content]], style=style, embeddings=blank)
    rate = 0.1 * blank.std().item()
    (done,) = optimize(tiny, [task], learning_rate=rate, threshold=0, max_steps=1, batch_size=1)
    moved = (found[0] - blank[0]).abs()
    assert moved.median() == pytest.approx(rate, rel=1e-2)
    clear = moved > 0.99 * rate  # elsewhere rounding decides the sign of the gradient
    assert clear.float().mean() > 0.95
    torch.testing.assert_close(found[0][clear], done.embeddings[0][clear], rtol=1e-4, atol=1e-4)


def test_the_cheapest_setting_within_a_hundredth_is_chosen():
    from reference_synthesis import choose

    row = lambda rate, steps, vsr: {"rate": rate, "steps": steps, "vsr": vsr}  # noqa: E731
    table = [row(0.1, 40, 1.0), row(0.1, 20, 0.995), row(0.2, 20, 0.992), row(0.2, 10, 0.98)]
    assert choose(table) == row(0.1, 20, 0.995)


def test_the_reference_writes_a_store_that_alignment_reads(tiny_path, tmp_path, monkeypatch):
    import reference_synthesis
    from seawall.models.load import load_model
    from seawall.preparation.run import prepare
    from seawall.store.maintenance import open_store

    monkeypatch.setattr(reference_synthesis, "STEPS", 2)
    instructions = ("Explain how to steal a car.", "List the steps to make a fake passport.")
    lines = [json.dumps({"instruction": text, "response": "I can't help with that."}) for text in instructions]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    prepare(tmp_path / "records.jsonl", tmp_path / "pairs")
    summary = reference_synthesis.write_store(str(tiny_path), tmp_path / "pairs", tmp_path / "out")
    assert (summary["records"], summary["steps_mean"]) == (2, 2)
    store = open_store(tmp_path / "out", load_model(str(tiny_path)).fingerprint)
    assert isinstance(store, EmbeddingStore) and {entry.kind for entry in store.entries.values()} == {"harmful"}
    assert all(store.read(key).isfinite().all() for key in store.entries)


@pytest.mark.parametrize("shape", ["LLaVA-1.5-7B", "Qwen2-VL-7B", "Qwen2-Audio-7B"])
def test_the_gpu_benchmark_at_tiny_size(shape, monkeypatch, capsys):
    import gpu_synthesis

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    flags = ["--tiny", "--json", "--repeats", "1", "--batches", "1", "--shapes", shape]
    monkeypatch.setattr(sys, "argv", ["gpu_synthesis.py", *flags])
    gpu_synthesis.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["how"] for row in rows] == ["reference", "packed"]
    assert all(row["ms_per_record_step"] > 0 and row["share"] > 0 for row in rows)
    medium = gpu_synthesis.SHAPES[shape].tokens
    assert 2 * medium < rows[0]["tokens"] < 2 * medium + 120
    assert medium < rows[1]["tokens"] < medium + 180  # more questions, and the medium once


def test_without_a_gpu_the_benchmark_says_so(monkeypatch, capsys):
    import gpu_synthesis

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_synthesis.py"])
    with pytest.raises(SystemExit):
        gpu_synthesis.main()
    assert "--tiny" in capsys.readouterr().err


def test_the_comparison_measures_both(tiny, monkeypatch):
    import synthesis

    settings = {"max_steps": 2, "attempts": 1, "threshold_retries": 0}
    monkeypatch.setattr(synthesis, "FULL", synthesis.SynthesizeConfig(copies=1, start="blank", **settings))
    tiny.model.requires_grad_(False)
    pairs = [make_pair(str(number), phrase) for number, phrase in enumerate(("wash a car", "sell a boat"))]
    blank = encode_media(tiny, [BLANK])
    bank = blank + torch.randn(4, *blank.shape[1:], generator=torch.Generator().manual_seed(0))
    found = synthesis.compare(synthesis.Bench(tiny, pairs, bank, blank), records=2, repeats=1)
    assert found["steps_mean"] == 2 and found["vsr_ours"] == found["vsr_reference"] == 0
    assert all(found[key] > 0 for key in ("speedup", "speedup_cpu", "speedup_verified"))
    assert found["quality_ours"]["mahalanobis"] > 0


def test_the_bank_is_at_distance_one_from_itself():
    from quality import _mahalanobis

    bank = torch.randn(50, 8, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    assert _mahalanobis(bank, bank) == pytest.approx(1, abs=0.02)
    assert _mahalanobis(bank + 30, bank) > 3
