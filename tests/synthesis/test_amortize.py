"""The warm start: identities of the regression, and that it pays on the organism and does not depend on order."""

from __future__ import annotations

import pytest
import torch

from seawall import SynthesizeConfig, prepare
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.lab.world import data
from seawall.store.embeddings import EmbeddingStore
from seawall.synthesis.run import synthesize
from seawall.synthesis import amortize
from seawall.synthesis.amortize import fit_warm_start

PHRASES = ["steal a car", "wash a boat", "paper toy", "fake passport"]


@pytest.fixture
def solved(tiny):
    start = encode_media(tiny, [BLANK])
    return start, start + torch.randn(4, *start.shape[1:], generator=torch.Generator().manual_seed(0))


def test_without_a_penalty_it_gives_back_what_it_was_fitted_on(tiny, solved, monkeypatch):
    monkeypatch.setattr(warmstart, "RIDGE", 1e-6)
    start, embeddings = solved
    warm = fit_warm_start(tiny, PHRASES, embeddings, start)
    for phrase, expected in zip(PHRASES, embeddings, strict=True):
        torch.testing.assert_close(warm.move(tiny, start[0], phrase), expected, rtol=1e-2, atol=1e-2)


def test_with_an_infinite_penalty_it_gives_their_mean(tiny, solved, monkeypatch):
    monkeypatch.setattr(warmstart, "RIDGE", 1e9)
    start, embeddings = solved
    warm = fit_warm_start(tiny, PHRASES, embeddings, start)
    torch.testing.assert_close(warm.move(tiny, start[0], "sell a lamp"), embeddings.mean(0), rtol=1e-4, atol=1e-4)


def test_what_differs_between_starts_is_kept(tiny, solved):
    start, embeddings = solved
    warm = fit_warm_start(tiny, PHRASES, embeddings, start)
    moved = [warm.move(tiny, start[0] + offset, "steal a car") for offset in (0.0, 1.0)]
    torch.testing.assert_close(moved[1] - moved[0], torch.ones_like(moved[0]))


def test_it_saves_steps_and_does_not_depend_on_where_the_run_was_cut(tmp_path):
    data.write_records(tmp_path / "all.jsonl", phrases=12)
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    prepare(tmp_path / "all.jsonl", tmp_path / "pairs")
    (tmp_path / "part.jsonl").write_text("".join(f"{line}\n" for line in lines[:30]))
    prepare(tmp_path / "part.jsonl", tmp_path / "part")
    plain = SynthesizeConfig(copies=1, start="blank")
    warm = SynthesizeConfig(copies=1, start="blank", warm_start=24)
    run = lambda name, config, pairs="pairs": synthesize("organism:image", tmp_path / pairs, tmp_path / name, config)  # noqa: E731
    run("plain", plain)
    run("warm", warm)
    run("cut", warm, "part")
    run("cut", warm)
    stores = {name: EmbeddingStore(tmp_path / name) for name in ("plain", "warm", "cut")}
    keys = [f"{record}#0" for record in range(len(stores["plain"].entries))]
    block, rest = keys[:24], keys[24:]
    steps = {name: [store.entries[key].steps for key in rest] for name, store in stores.items()}
    assert sum(steps["warm"]) < sum(steps["plain"])
    assert all(stores["warm"].entries[key].steps == stores["plain"].entries[key].steps for key in block)
    for key in keys:
        torch.testing.assert_close(stores["cut"].read(key), stores["warm"].read(key), rtol=1e-3, atol=1e-3)
