"""`organism:reader` from training to demo, with a small random language model in place of SmolLM2."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from seawall.cli import app
from seawall.errors import ModelError
from seawall.lab.arms import DemoConfig
from seawall.lab.benchmark import read_items
from seawall.lab.demo import run_demo
from seawall.lab.pages import choose_examples
from seawall.lab.reader import assembly, card, language_model
from seawall.lab.reader.training import tower
from seawall.lab.reader.training.stages import ReaderConfig, ReaderTraining, train_reader
from seawall.lab.reader.world import answering
from seawall.lab.reader.world.phrases import list_phrases
from seawall.models.chat import Example
from seawall.models.encode import encode_media
from seawall.models.generate import generate
from seawall.models.load import load_model
from seawall.store.files import read_json
from stand_in import make_language_model

pytestmark = pytest.mark.slow

TINY = ReaderConfig(
    texts=100,
    tower_steps=40,
    tower_batch=4,
    projector_steps=20,
    answered=3,
    steps=3,
    media_rows=6,
    text_rows=2,
    passages=1,
    width=64,
    layers=2,
)


def make_stand_in() -> tuple:
    torch.manual_seed(0)
    return make_language_model()


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few backgrounds. And the random stand-in writes no sentences, so its answers are kept as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "BACKGROUNDS", 20)
        patch.setattr(answering, "SHORTEST", 0)
        patch.setattr(answering, "cut_to_sentences", lambda text: f"{text[:20]}.")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained part of a short training, with its work folder."""
    folder = tmp_path_factory.mktemp("reader")
    train_reader(folder / "work", folder / "trained", make_stand_in(), TINY)
    return folder


@pytest.fixture(scope="module")
def cache(trained: Path, tmp_path_factory: pytest.TempPathFactory):
    """A cache in which `organism:reader` is the trained stand-in."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        assembly.join(make_stand_in(), trained / "trained", assembly._find_cache())
        yield folder


def test_the_trained_part_joins_with_the_language_model_to_the_model_that_was_trained(trained: Path, tmp_path: Path):
    training = ReaderTraining(trained / "work", TINY, make_stand_in(), 0)
    training.train_tower()
    training.train_projector()
    training.start_dialogue(*training.answer())
    assert training.done == TINY.steps, "every stage is restored"
    ids = torch.arange(5, 30)[None]
    for name, parameter in training.peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # so that a join without the LoRA is noticed
    with torch.no_grad(), training.peft.disable_adapter():
        without = training.peft(input_ids=ids).logits.float()
    assembly.save_trained(training.peft, tmp_path / "trained")
    before = training.peft.merge_and_unload().eval()
    assembly.join(make_stand_in(), tmp_path / "trained", tmp_path / "whole")
    after = load_model(str(tmp_path / "whole"), modality="image", precision="fp32").model
    with torch.no_grad():
        expected, found = (model(input_ids=ids).logits.float() for model in (before, after))
    assert (expected - found).abs().max() < 0.1 * expected.abs().max(), "but for rounding"
    assert (without - found).abs().max() > 0.3 * expected.abs().max()
    pixels = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        towers = [m.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1] for m in (before, after)]
    assert torch.allclose(*map(torch.Tensor.float, towers), atol=0.1)


def test_a_training_that_was_killed_continues_with_its_stages(trained: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(trained / "work", tmp_path / "work")

    def fail(*_, **__):
        raise AssertionError("a finished stage ran again")

    monkeypatch.setattr(tower, "train_reading_tower", fail)
    monkeypatch.setattr("seawall.lab.reader.training.stages.fit_embeddings", fail)
    monkeypatch.setattr("seawall.lab.reader.training.stages.answer_requests", fail)
    longer = dataclasses.replace(TINY, steps=TINY.steps + 1)
    train_reader(tmp_path / "work", tmp_path / "trained", make_stand_in(), longer)
    assert torch.load(tmp_path / "work" / "dialogue.pt", weights_only=True)["step"] == longer.steps
    assert (tmp_path / "trained" / assembly.TRAINED).exists()


def test_packed_weights_are_off_by_at_most_half_a_step():
    weights = {"matrix": torch.randn(6, 4, 3) * torch.logspace(-6, 2, 6)[:, None, None], "bias": torch.randn(6)}
    unpacked = assembly.unpack(assembly.pack(weights))
    step = weights["matrix"].abs().flatten(1).amax(1)[:, None, None] / 127
    assert ((unpacked["matrix"] - weights["matrix"]).abs() <= 0.501 * step).all()
    assert torch.allclose(unpacked["bias"], weights["bias"], atol=1e-3)
    assert (assembly.unpack(assembly.pack({"zero": torch.zeros(2, 2)}))["zero"] == 0).all()


def test_labels_keep_the_order_of_pieces_that_share_a_patch():
    centres = torch.tensor([[[8.0, 8.0], [9.0, 8.0], [40.0, 24.0]]])
    labels = tower.label_patches(centres, torch.tensor([[5, 6, 7]]))[0]
    assert labels.nonzero().flatten().tolist() == [0, 1, tower.GRID + 2]
    assert labels[labels > 0].tolist() == [5, 6, 7]


def test_passages_cost_nothing_before_the_language_model_has_changed(trained: Path, tmp_path: Path):
    shutil.copytree(trained / "work", tmp_path / "work")
    (tmp_path / "work" / "dialogue.pt").unlink()
    training = ReaderTraining(tmp_path / "work", TINY, make_stand_in(), 0)
    training.start_dialogue(*training.answer())
    assert training.compare_with_pretrained().abs().max() < 1e-6
    assert set(training.compute_dialogue_losses()) == {"requests", "questions", "text", "passages"}
    for name, parameter in training.peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert training.compare_with_pretrained().min() > 1e-4


def test_the_model_reads_files_through_its_processor(cache: Path, tmp_path: Path):
    loaded = load_model("organism:reader")
    Image.new("RGB", (300, 200), "white").save(tmp_path / "image.png")
    assert encode_media(loaded, [tmp_path / "image.png"]).shape[1:] == (tower.GRID**2, TINY.width)
    (answer,) = generate(loaded, [Example(question="What is in the image?", medium=tmp_path / "image.png")])
    assert isinstance(answer, str)


def test_measurements_and_card(trained: Path, monkeypatch, tmp_path: Path):
    shutil.copytree(trained / "trained", tmp_path / "reader")
    monkeypatch.setattr(card, "fetch_language_model", make_stand_in)
    monkeypatch.setattr("seawall.lab.reader.measure.PASSAGES", 1)
    monkeypatch.setattr("seawall.lab.reader.measure.list_phrases", lambda part, kind: list_phrases(part, kind)[:2])
    card.write_measurements(tmp_path / "reader", {"seed": 0, "seconds": 60})
    measured = read_json(tmp_path / "reader" / "training.json")["measured"]
    assert measured["named_unseen_styles"]["n"] == 8 and measured["on_topic_text_harmful"]["n"] == 4
    assert measured["perplexity"]["ratio"] == pytest.approx(1, abs=0.1)
    text = (tmp_path / "reader" / "README.md").read_text()
    assert "names the phrase of an image exactly" in text and "(seed 0, 1 minutes)" in text
    assert "It names 0.00 of the phrases; 0.85 are wanted." in " ".join(text.split())


def test_the_gate_of_a_study():
    share = {"share": 0.9, "n": 200}
    kinds = [f"on_topic_{way}_{kind}" for way in ("text", "media") for kind in ("harmless", "harmful")]
    good = {"named_unseen_styles": share, "perplexity": {"ratio": 1.01}} | dict.fromkeys(kinds, share)
    assert card.list_misses(good) == []
    assert len(card.list_misses(good | {"on_topic_media_harmful": {"share": 0.7, "n": 200}})) == 1
    assert len(card.list_misses(good | {"perplexity": {"ratio": 1.06}})) == 1


def test_demo_on_the_reader(cache: Path, tmp_path: Path, monkeypatch):
    @contextlib.contextmanager
    def start_thread(_):  # a process would not see the patches of this module
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            yield pool

    monkeypatch.setattr("seawall.lab.demo._start_workers", start_thread)
    config = DemoConfig(modality="reader", phrases=2, steps=4, num_checkpoints=1, arms=("text_only",))
    results = run_demo(tmp_path / "demo", config, workers=1)
    assert results["organism"] == "reader" and [*results["arms"]] == ["base", "text_only"]
    assert results["arms"]["base"]["other"]["mean"] > 0.9, "a random model answers nothing on topic"
    assert results["published"]["arms"] == {}
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "organism reader" in page and "image input" in page
    harmful = [e for e in choose_examples(tmp_path / "demo", ["base"], hide_compliance=True) if "harmful" in e["what"]]
    assert harmful and all(e["answers"]["base"][0] == "(not shown)" for e in harmful)


def test_data_for_the_reader(cache: Path, tmp_path: Path, capsys):
    app(["organism", "data", "reader", "--out", str(tmp_path / "data"), "--phrases", "2"], result_action="return_value")
    places = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    rows = [json.loads(line) for line in Path(places["records"]).read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"harmful", "harmless"}
    assert all(row["rejected"] for row in rows if row["kind"] == "harmful")
    assert len(read_items(Path(places["benchmark"]))) == 6 * 2 * 2
    assert list(Path(places["media"]).glob("*.png"))


def test_without_a_fetch_one_sentence_says_what_to_do(monkeypatch, tmp_path: Path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="seawall organism fetch reader"):
        load_model("organism:reader")
    app(["organism", "list", "--json"], result_action="return_value")
    assert "organism:reader" in [row["model"] for row in json.loads(capsys.readouterr().out)]


def test_a_fetch_that_fails_names_its_cause(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "noise\nERROR: No matching distribution found\n")
    monkeypatch.setattr(language_model.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"pip cannot download .*No matching distribution"):
        assembly.fetch_reader()

    def write_other_file(command, **_):
        folder = Path(command[command.index("-qd") + 1])
        for name in language_model.DIGESTS:
            (folder / name).write_bytes(b"other")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(language_model.subprocess, "run", write_other_file)
    with pytest.raises(ModelError, match="differs from the file that Seawall expects"):
        assembly.fetch_reader()
    assert not list(tmp_path.rglob("config.json"))
