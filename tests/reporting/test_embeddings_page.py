"""The page of an embedding store, on real stores of the built-in models."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from seawall import cli
from seawall.errors import ArtifactError, ConfigError
from seawall.lab.world import data
from seawall.preparation.config import PrepareConfig
from seawall.preparation.run import prepare
from seawall.reporting.embeddings.drawing import draw_curve, place_points
from seawall.reporting.embeddings.media import view_medium
from seawall.reporting.embeddings.places import project
from seawall.reporting.embeddings.run import show_embeddings
from seawall.reporting.embeddings.sample import choose_entries
from seawall.store.artifacts import read_manifest, write_manifest
from seawall.store.embeddings import MADE_FROM, EmbeddingStore, Entry
from seawall.store.pair import PAIRS, read_pairs
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.run import synthesize

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


@pytest.fixture(scope="module")
def page(small_run, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("page") / "new folder" / "page.html"
    assert show_embeddings(small_run.embeddings, out, sample=5) == out
    return out.read_text("utf-8")


@pytest.fixture
def store(small_run, tmp_path) -> Path:
    """A copy of the small store, which a test may change."""
    return shutil.copytree(small_run.embeddings, tmp_path / "store")


def sections(page: str) -> list[str]:
    return re.findall(r'<section class="item".*?</section>', page, re.DOTALL)


def texts(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_command_needs_only_the_store_and_prints_no_phrase(small_run, tmp_path, monkeypatch, capsys, caplog):
    out = tmp_path / "page.html"
    monkeypatch.setattr(sys, "argv", ["seawall", "embeddings", "show", str(small_run.embeddings), "--out", str(out)])
    with caplog.at_level(logging.DEBUG, "seawall"), pytest.raises(SystemExit, match="0"):
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    html = out.read_text("utf-8")
    for pair in read_pairs(small_run.pairs):
        assert pair.phrase in html
        assert pair.phrase not in printed.out + printed.err + caplog.text
    assert "This page contains harmful phrases" in html


def test_the_page_loads_nothing_from_the_network(page):
    assert "http:" not in page and "https:" not in page and "<script" not in page and "@import" not in page
    targets = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert targets and all(target.startswith(("data:", "#")) for target in targets)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


def test_each_question_stands_beside_its_answer(small_run, page):
    pairs = {pair.id: pair for pair in read_pairs(small_run.pairs)}
    assert len(sections(page)) == 5
    for section in sections(page):
        pair = pairs[re.search(r"<code>(.*?)#0</code>", section)[1]]
        rows = [texts(row) for row in re.findall(r"<div><dt>.*?</div>", section, re.DOTALL)]
        for question in pair.verification:
            (row,) = [row for row in rows if row.startswith(f"held-out {question.question}")]
            assert "✓" in row and pair.phrase in row
        assert sum(row.startswith("optimised") for row in rows) == len(pair.content[:4])
        assert sum(row.startswith("style") for row in rows) == 1
        assert "All 3 held-out answers name the phrase." in section


def test_the_nearest_media_are_sorted_and_the_map_has_every_point(small_run, page):
    files = {path.name for path in small_run.bank.glob("*.png")}
    for section in sections(page):
        nearest = re.findall(r">([^<>]+)<br>\s*distance ([\d.]+)", section.partition("Nearest media")[2])
        assert {name for name, _ in nearest} == files
        assert [distance for _, distance in nearest] == sorted(distance for _, distance in nearest)
    drawing = page.partition('aria-label="Map')[2].partition("</svg>")[0]
    assert drawing.count("<title>") == len(small_run.keys) + len(files) + 1
    assert drawing.count("<a ") == 5
    assert texts(page).count("12 of 12 synthetic embeddings and 3 of 3 media") == 1


def append(store: Path, key: str, *, embedding_of: str | None = None, **changes) -> None:
    """Replace the index entry of a key, and its embedding by that of another key."""
    opened = EmbeddingStore(store)
    entry = dataclasses.replace(opened.entries[key], **changes)
    opened.append({key: opened.read(embedding_of)} if embedding_of else {}, [entry])


def test_an_unverified_embedding_names_the_questions_that_failed(small_run, store, tmp_path):
    first, *_, last = small_run.keys
    append(store, first, embedding_of=last, verified=False, curve=(2.0, 0.5), steps=1, attempts=2)
    html = show_embeddings(store, tmp_path / "page.html").read_text("utf-8")
    (section,) = [section for section in sections(html) if f"<code>{first}</code>" in section]
    pair = next(pair for pair in read_pairs(small_run.pairs) if f"{pair.id}#0" == first)
    assert "3 of 3 held-out answers do not name the phrase" in section
    assert all(question.question in section.partition("<div")[0] for question in pair.verification)
    assert "The loss stopped at 0.5, above the threshold of 0.01, after at most 60 steps per attempt" in section
    assert "No answer to an optimised question names the phrase." in section and "attempt 2" in section
    assert '<td><a href="#harmful-unverified">1</a>' in html


def test_a_verdict_that_has_changed_is_told(small_run, store, tmp_path):
    first, second, *_, last = small_run.keys
    append(store, first, embedding_of=last)
    append(store, second, embedding_of=second, verified=False)
    html = show_embeddings(store, tmp_path / "page.html").read_text("utf-8")
    assert html.count("It was verified by the synthesis, but now 3 of 3 held-out answers do not name the phrase.") == 1
    assert html.count("The synthesis did not verify it, but now all held-out answers name the phrase.") == 1


def test_a_failed_embedding_tells_why(small_run, store, tmp_path):
    append(store, small_run.keys[0], verified=False, failed="its loss became nan after 3 steps", curve=(), shard="")
    html = show_embeddings(store, tmp_path / "page.html").read_text("utf-8")
    assert "There is no embedding: its loss became nan after 3 steps." in html
    assert "<li>its loss became nan after 3 steps: 1</li>" in html
    assert "11 of 11 synthetic embeddings" in texts(html)


def test_a_store_without_one_embedding_has_a_page(small_run, store, tmp_path):
    for key in small_run.keys:
        append(store, key, verified=False, failed="a <b>fault</b>", curve=())
    html = show_embeddings(store, tmp_path / "page.html", sample=2).read_text("utf-8")
    assert 'id="map"' not in html and html.count("There is no embedding: a &lt;b&gt;fault&lt;/b&gt;.") == 2


def make_unsolved_store(folder: Path, modality: str) -> Path:
    """A store without one optimiser step: each embedding is its starting point. The synthesis gives up on it."""
    data.write_records(folder / "records.jsonl", 1)
    data.write_media(folder / "bank", "harmless", each=1, phrases=4, modality=modality)
    next(folder.glob("bank/0000.*")).unlink()  # shows the phrase of a record
    prepare([folder / "records.jsonl"], folder / "pairs", PrepareConfig(modality=modality))
    config = SynthesizeConfig(copies=2, max_steps=0, warm_start=0, seed=1)
    with pytest.raises(ArtifactError, match="None of 8 embeddings could be verified"):
        synthesize(f"organism:{modality}", folder / "pairs", folder / "store", config, bank=folder / "bank")
    return folder / "store"


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "video", "audio"])
def test_an_embedding_without_a_step_lies_at_the_medium_that_it_started_from(tmp_path, modality):
    html = show_embeddings(make_unsolved_store(tmp_path, modality), tmp_path / "page.html").read_text("utf-8")
    assert "The synthesis has not finished this store." in html
    assert len(sections(html)) == 4
    for section in sections(html):
        start = re.search(r"Started from (\S+?),<br>distance now ([\d.]+)", section).groups()
        nearest = re.search(r">([^<>]+)<br>distance ([\d.]+)", section.partition("Nearest media")[2]).groups()
        assert start == nearest and start[1] == "0.000"
        assert section.count('<img src="data:image/jpeg') == 4
        assert section.count('<audio src="data:audio/mpeg') == (4 if modality == "audio" else 0)
        assert "no step was needed" in section and "attempt 2" in section


def test_a_changed_bank_hides_the_starting_media_only(small_run, tmp_path):
    bank = shutil.copytree(small_run.bank, tmp_path / "bank")
    next(bank.glob("*.png")).unlink()
    html = show_embeddings(small_run.embeddings, tmp_path / "page.html", bank=bank, sample=2).read_text("utf-8")
    assert "has changed, so starting media are not shown" in html and "Started from 0" not in html
    assert "2 of 2 media of the bank" in texts(html)


def test_a_blank_start_needs_no_bank(store, tmp_path):
    manifest = read_manifest(store)
    facts = {MADE_FROM: {**manifest.facts[MADE_FROM], "bank": ""}}
    write_manifest(store, dataclasses.replace(manifest, config={**manifest.config, "start": "blank"}, facts=facts))
    html = show_embeddings(store, tmp_path / "page.html", sample=2).read_text("utf-8")
    assert html.count("Started from blank") == 2
    assert "Nearest media" not in html and "not at hand" not in html


def test_changed_and_missing_records_are_counted(small_run, store, tmp_path):
    pairs = shutil.copytree(small_run.pairs, tmp_path / "pairs")
    lines = [json.loads(line) for line in (pairs / PAIRS).read_text("utf-8").splitlines()]
    lines[1]["phrase"] = "<i>wash</i> a car"
    (pairs / PAIRS).write_text("".join(json.dumps(line) + "\n" for line in lines[1:]), "utf-8")
    html = show_embeddings(store, tmp_path / "page.html", pairs=pairs).read_text("utf-8")
    assert "1 embeddings belong to no record of the given pairs." in html
    assert "1 embeddings were made from other questions" in html
    assert "&lt;i&gt;wash&lt;/i&gt; a car" in html and "<i>wash" not in html


def test_faults_are_told(small_run, store, tiny_path, tmp_path):
    out = tmp_path / "page.html"
    with pytest.raises(ConfigError, match=r"is a folder. Give the name of an HTML file"):
        show_embeddings(store, tmp_path)
    with pytest.raises(ConfigError, match="sample is 0; it must be at least 1"):
        show_embeddings(store, out, sample=0)
    with pytest.raises(ArtifactError, match=r"holds no embeddings. Give a folder"):
        show_embeddings(small_run.pairs, out)
    with pytest.raises(ArtifactError, match="were made for another model"):
        show_embeddings(store, out, model=str(tiny_path))
    (store / "index.jsonl").write_text("")
    with pytest.raises(ArtifactError, match=r"holds 0 embeddings, but none of a record of these pairs"):
        show_embeddings(store, out)
    manifest = read_manifest(store)
    facts = {name: fact for name, fact in manifest.facts.items() if name != MADE_FROM}
    write_manifest(store, dataclasses.replace(manifest, facts=facts))
    with pytest.raises(ConfigError, match=r"does not name its model and pairs. Give --model and --pairs"):
        show_embeddings(store, out)
    assert not out.exists()


def make_entries(number: int, **settings) -> list[Entry]:
    name = "-".join(map(str, settings.values()))
    return [Entry(key=f"{name}{i}#{copy}", record=f"{name}{i}", **settings) for i in range(number) for copy in (0, 1)]


def test_the_sample_has_each_kind_and_outcome_and_no_record_twice():
    many = make_entries(50, kind="harmful", verified=True)
    few = [*make_entries(2, kind="harmful", failed="nan"), *make_entries(30, kind="harmless", verified=False)]
    chosen = choose_entries([*many, *few], 10)
    assert [(entry.kind, entry.outcome) for entry in chosen] == (
        [("harmful", "verified")] * 4 + [("harmful", "failed")] * 2 + [("harmless", "unverified")] * 4
    )
    assert len({entry.record for entry in chosen}) == 10
    assert len(choose_entries([*many, *few], 1000)) == 82
    assert choose_entries([], 5) == []


def test_a_projection_keeps_distances_within_a_plane():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 2)).Q
    points = torch.randn(9, 2) @ basis.T + 7
    coordinates, shares = project(points)
    torch.testing.assert_close(torch.pdist(torch.tensor(coordinates).float()), torch.pdist(points))
    assert sum(shares) == pytest.approx(1) and shares[0] >= shares[1]
    assert project(points)[0].tolist() == coordinates.tolist()
    for few in (1, 2):
        assert project(points[:few])[0].shape == (few, 2)
    assert place_points(project(points[:1])[0]) == [(14.0, 406.0)]


def test_a_loss_curve_is_within_its_drawing():
    for losses in ([3.0], [0.0, 0.0], [2.0, 0.5, 0.0001], [1e9, 1e-9]):
        curve = draw_curve(losses, threshold=0.01)
        assert curve.steps == len(losses) - 1
        assert all(0 <= x <= 240 and 0 <= y <= 84 for x, y in [*curve.points, (0, curve.threshold)])
    assert draw_curve([2.0, 0.1, 0.01], 0.01).points[2][1] == draw_curve([2.0, 0.1, 0.01], 0.01).threshold
    assert draw_curve([1.0], 0).points and draw_curve([], 0.01) is None


def test_a_medium_of_another_form_is_shown_by_its_name(organism, tmp_path, monkeypatch):
    (tmp_path / "scan.dat").write_bytes(b"1")
    modality = dataclasses.replace(organism.chat.modality, read=lambda path: [1], fit=lambda medium, _: medium)
    monkeypatch.setattr(organism.chat, "modality", modality)
    view = view_medium(organism.chat, tmp_path / "scan.dat")
    assert (view.name, view.picture, view.sound) == ("scan.dat", "", "")
