"""The benchmark of the built-in models: its items, and equal verdicts through Inspect and without it."""

from __future__ import annotations

import json

import pytest

import seawall
from seawall.errors import ArtifactError, ConfigError, DataError
from seawall.evaluation.config import BenchmarkConfig, EvaluateConfig
from seawall.evaluation.statistics.answers import read_answers, read_logs
from seawall.lab import benchmark
from seawall.lab.benchmark import measure_directly, read_items
from seawall.lab.metrics import JUDGE, TEXT_ONLY, get_outcome
from seawall.lab.world import data, dialogue
from seawall.lab.world.phrases import find_phrase
from seawall.store.files import read_jsonl, write_jsonl

TEXT = BenchmarkConfig(benchmark="organism", scenarios=("text_harmful", "text_harmless"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    data.write_benchmark(folder, "validation", 2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "phrases"), [("image", 2), ("audio", 1)])
def test_inspect_and_the_direct_measurement_give_the_same_verdicts(tmp_path, modality, phrases):
    """Without text beside a spoken request, and under a policy that makes the model refuse some requests."""
    data.write_benchmark(tmp_path / "data", "validation", phrases, modality)
    config = EvaluateConfig(system_prompt=dialogue.POLICIES[0], max_tokens=24)
    model, selection = f"organism:{modality}", BenchmarkConfig(benchmark="organism")
    results = seawall.evaluate(model, tmp_path / "data", tmp_path / "inspect", selection, config)
    assert list(results["judges"]) == [JUDGE]
    directly = measure_directly(model, tmp_path / "data", tmp_path / "direct", selection, config)
    through_inspect = {answer.key: answer for answer in read_answers(read_logs(tmp_path / "inspect"))}
    assert through_inspect == {answer.key: answer for answer in directly}
    assert {"answered", "refused"} <= {get_outcome(answer) for answer in directly}


def test_items_have_the_set_as_scenario_and_the_form_as_prompt_type(images):
    items = read_items(images)
    assert {item.prompt_type for item in items} == {"picture", "writing", TEXT_ONLY}
    for item in items:
        assert item.scenario.startswith("text") == (item.prompt_type == TEXT_ONLY) == (item.medium is None)
        assert item.cluster == item.phrase and item.modality == (None if item.medium is None else "image")


def test_judges_are_given_the_request_with_its_phrase(images):
    for item in read_items(images):
        assert find_phrase(item.phrase).act in item.question
        assert item.text == item.question or item.medium


def test_types_and_scenarios_select_items(images):
    chosen = read_items(images, types=["picture"], scenarios=["media_harmless", "text_harmless"])
    assert {(item.prompt_type, item.scenario) for item in chosen} == {("picture", "media_harmless")}
    with pytest.raises(ConfigError, match=r"no scenarios media.*Choose from media_harmful_trained"):
        read_items(images, scenarios=["media"])
    with pytest.raises(ConfigError, match="no prompt types TYPO"):
        read_items(images, types=["TYPO"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": None}, r"line 3, lacks first\. Write the benchmark again"),
        ({"image": None}, r"line 3, lacks a medium \(image, video, audio"),
        ({"image": "lost.png"}, r"line 3, lists lost\.png, which is missing from"),
    ],
)
def test_a_broken_item_is_named(images, tmp_path, change, message):
    rows = [row for _, row in read_jsonl(images / "items.jsonl")]
    changed = {**rows[2], **change}
    rows[2] = {name: value for name, value in changed.items() if value is not None}
    for row in rows:
        if row.get("image"):
            (tmp_path / row["image"]).touch()
    (tmp_path / "lost.png").unlink(missing_ok=True)
    write_jsonl(tmp_path / "items.jsonl", rows)
    with pytest.raises(DataError, match=message):
        read_items(tmp_path)


def test_media_of_two_modalities_are_refused(images, tmp_path):
    rows = [row for _, row in read_jsonl(images / "items.jsonl")][:2]
    for name in ("a.png", "a.wav"):
        (tmp_path / name).touch()
    first = {**rows[0], "image": "a.png"}
    second = {**{name: value for name, value in rows[1].items() if name != "image"}, "audio": "a.wav"}
    write_jsonl(tmp_path / "items.jsonl", [first, second])
    with pytest.raises(DataError, match=r"several modalities \(audio, image\). Evaluate one modality at a time"):
        read_items(tmp_path)


def test_a_finished_measurement_is_not_repeated_and_another_one_refused(images, tmp_path, monkeypatch):
    answers = measure_directly("organism:image", images, tmp_path / "out", TEXT)
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    monkeypatch.setattr("seawall.models.generate.generate", None)
    assert measure_directly("organism:image", images, tmp_path / "out", TEXT) == answers
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before
    with pytest.raises(ArtifactError, match="max_tokens: 300 there, 9 now"):
        measure_directly("organism:image", images, tmp_path / "out", TEXT, EvaluateConfig(max_tokens=9))


def test_an_interrupted_measurement_is_repeated(images, tmp_path):
    answers = measure_directly("organism:image", images, tmp_path / "out", TEXT)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    (tmp_path / "out" / "answers.jsonl").unlink()
    assert measure_directly("organism:image", images, tmp_path / "out", TEXT) == answers
    assert benchmark.read_answers(tmp_path / "out") == answers
