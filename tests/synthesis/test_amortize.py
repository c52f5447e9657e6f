"""The warm start: identities of the regression. It saves steps and does not depend on where a run was interrupted."""

from __future__ import annotations

import pytest
import torch

from sample_pairs import make_pair
from seawall.errors import DataError
from seawall.lab.world import data
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.preparation.run import prepare
from seawall.store.embeddings import EmbeddingStore, Entry
from seawall.synthesis import amortize, run
from seawall.synthesis.amortize import SolvedEmbeddings, choose_starts, find_media, fit_warm_start
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.run import synthesize

PHRASES = ["steal a car", "wash a boat", "paper toy", "fake passport"]


@pytest.fixture
def start(tiny):
    return encode_media(tiny, [BLANK])


@pytest.fixture
def solved(start):
    embeddings = start + torch.randn(4, *start.shape[1:], generator=torch.Generator().manual_seed(0))
    return SolvedEmbeddings(phrases=PHRASES, embeddings=embeddings)


def test_without_a_penalty_it_returns_the_embeddings_it_was_fitted_on(tiny, start, solved, monkeypatch):
    monkeypatch.setattr(amortize, "RIDGE", 1e-6)
    warm_start = fit_warm_start(tiny, solved, start)
    for phrase, expected in zip(PHRASES, solved.embeddings, strict=True):
        torch.testing.assert_close(warm_start.shift(tiny, start[0], phrase), expected, rtol=1e-2, atol=1e-2)


def test_with_an_infinite_penalty_it_returns_their_mean(tiny, start, solved, monkeypatch):
    monkeypatch.setattr(amortize, "RIDGE", 1e9)
    shifted = fit_warm_start(tiny, solved, start).shift(tiny, start[0], "sell a lamp")
    torch.testing.assert_close(shifted, solved.embeddings.mean(0), rtol=1e-4, atol=1e-4)


def test_differences_between_starts_are_kept(tiny, start, solved):
    warm_start = fit_warm_start(tiny, solved, start)
    shifted = [warm_start.shift(tiny, start[0] + offset, "steal a car") for offset in (0.0, 1.0)]
    torch.testing.assert_close(shifted[1] - shifted[0], torch.ones_like(shifted[0]))


def test_starts_are_drawn_without_repetition_by_the_seed():
    starts = torch.arange(5.0).view(5, 1, 1)
    assert torch.equal(choose_starts(starts, 3, "a"), choose_starts(starts, 3, "a"))
    assert len(choose_starts(starts, 9, "a").unique()) == 5


def test_a_folder_without_media_is_an_error_that_names_the_endings(tmp_path):
    (tmp_path / "notes.txt").write_text("dear")
    with pytest.raises(
        DataError, match=r"contains no image files \(\.png, .*folder of harmless image files as the bank"
    ):
        find_media(tmp_path)


def test_it_saves_steps_and_does_not_depend_on_where_the_run_was_interrupted(tmp_path):
    data.write_records(tmp_path / "all.jsonl", phrases=5)
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    prepare(tmp_path / "all.jsonl", tmp_path / "pairs")
    (tmp_path / "part.jsonl").write_text("".join(f"{line}\n" for line in lines[:14]))
    prepare(tmp_path / "part.jsonl", tmp_path / "part")
    plain = SynthesizeConfig(copies=1, start="blank", warm_start=0)
    warm = SynthesizeConfig(copies=1, start="blank", warm_start=12)
    for name, config, pairs in (
        ("plain", plain, "pairs"),
        ("warm", warm, "pairs"),
        ("cut", warm, "part"),
        ("cut", warm, "pairs"),
    ):
        synthesize("organism:image", tmp_path / pairs, tmp_path / name, config)
    stores = {name: EmbeddingStore(tmp_path / name) for name in ("plain", "warm", "cut")}
    keys = [f"{record}#0" for record in range(len(stores["plain"].entries))]
    first, rest = keys[:12], keys[12:]
    steps = {name: [store.entries[key].steps for key in rest] for name, store in stores.items()}
    assert sum(steps["warm"]) < sum(steps["plain"])
    assert all(stores["warm"].entries[key].steps == stores["plain"].entries[key].steps for key in first)
    for key in keys:
        torch.testing.assert_close(stores["cut"].read(key), stores["warm"].read(key), rtol=1e-3, atol=1e-3)


def test_without_two_verified_embeddings_there_is_no_warm_start(tmp_path, caplog):
    store, pairs = EmbeddingStore(tmp_path), [make_pair("a"), make_pair("b")]
    entries = [Entry(key="a#0", verified=True), Entry(key="b#0")]
    store.append({"a#0": torch.zeros(2, 3), "b#0": torch.zeros(2, 3)}, entries)
    assert run._read_solved(store, pairs, copies=1) is None
    assert "no warm start: only 1 of the first 2 embeddings are verified" in caplog.text
