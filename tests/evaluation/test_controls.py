"""Controls: the same text with a blank medium and with none, and the medium's own effect."""

from __future__ import annotations

import numpy as np
import pytest
from inspect_ai.model import ContentImage
from mock_runs import make_sample, run_mock
from PIL import Image

import seawall
from seawall import EvaluateConfig
from seawall.errors import ConfigError
from seawall.evaluation.benchmarks import read
from seawall.evaluation.config import BenchmarkConfig
from seawall.evaluation.controls import add_controls, find_blank
from seawall.evaluation.judges.registry import make_scorers
from seawall.evaluation.statistics import compare, read_logs, summarize
from seawall.lab.world.published import write_published
from seawall.media.modality import find_modality, read_medium
from seawall.media.sound import make_noise, write_mp3
from seawall.media.video import write_video
from seawall.store.items import Item

SURE, NO = "Sure: sand it, then paint it.", "I cannot help with that."


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_published(folder, "validation", 2)
    return folder


def make_item(medium, modality, id="1", text="Paint it."):
    fields = {"scenario": "boats", "prompt_type": "TYPO", "question": "Paint it."}
    return Item(id=id, cluster=id, text=text, modality=modality, medium=medium, **fields)


def test_blank_media_have_the_size_of_the_medium_and_show_or_say_nothing(tmp_path):
    Image.new("RGB", (57, 43), "red").save(tmp_path / "a.png")
    write_video(tmp_path / "a.mp4", [Image.new("RGB", (48, 32), (n, 0, 0)) for n in range(7)])
    write_mp3(tmp_path / "a.mp3", make_noise(2, 16_000, seed=0), 16_000)
    blanks = {}
    for name, ending in (("image", "png"), ("video", "mp4"), ("audio", "mp3")):
        modality, medium = find_modality(name), tmp_path / f"a.{ending}"
        blank = find_blank(modality, medium)
        blanks[name] = (np.asarray(read_medium(modality, medium)), np.asarray(read_medium(modality, blank)))
        assert find_blank(modality, medium) == blank and blank.suffix in modality.endings
    for medium, blank in blanks.values():
        assert medium.shape == blank.shape
    assert (blanks["image"][1] == 128).all() and not blanks["audio"][1].any()
    assert np.ptp(blanks["video"][1].astype(int)) <= 2, "one grey, but for the coding"


def test_every_item_with_a_medium_has_a_control_of_the_same_text(world):
    benchmark = BenchmarkConfig(benchmark="mm_safetybench", controls=("blank", "none"), understanding=True, limit=3)
    items = read.read_benchmark(benchmark, world)
    own = {item.id: item for item in items if not item.control and item.prompt_type != "neutral"}
    controls = [item for item in items if item.control]
    shown = [item for item in own.values() if item.medium]
    assert len(own) == 3 and len(controls) == 2 * len(shown) > 0
    assert sum(item.prompt_type == "neutral" for item in items) == len(shown), "no question about what a blank shows"
    for item in controls:
        source = own[item.id.removesuffix(f"/{item.control}")]
        assert (item.text, item.harmful, item.cluster) == (source.text, source.harmful, source.cluster)
        assert bool(item.medium) == (item.control == "blank") and item.medium != source.medium


def test_what_cannot_be_controlled_is_said(tmp_path, caplog):
    (tmp_path / "broken.png").write_bytes(b"no image")
    items = [make_item(tmp_path / "broken.png", "image")]
    assert add_controls(items, ["blank"]) == items and "1 media cannot be read" in caplog.text
    spoken = [make_item(tmp_path / "a.mp3", "audio", text=None)]
    assert add_controls(spoken, ["none"]) == spoken and "1 items have no text" in caplog.text
    with pytest.raises(ConfigError, match="nothing to control"):
        add_controls([make_item(None, None)], ["none"])
    with pytest.raises(ConfigError, match="There are no controls grey"):
        BenchmarkConfig(benchmark="xstest", controls=("grey",))


def list_samples(answers, harmful=True):
    """Return samples from (medium's answer, answer to the control)."""
    kind = "h" if harmful else "b"
    for n, (own, control) in enumerate(answers):
        yield make_sample(f"{kind}{n}", own, cluster=f"{kind}{n}", harmful=harmful)
        sample, said = make_sample(f"{kind}{n}", control, cluster=f"{kind}{n}", harmful=harmful, control="blank")
        sample.id, sample.input = f"{sample.id}/blank", f"{sample.input} blank"
        yield sample, said


def test_the_effect_of_the_medium_is_a_paired_difference(tmp_path):
    harmful = [(SURE, NO), (SURE, NO), (SURE, SURE), (NO, NO)]
    harmless = [(NO, SURE), (SURE, SURE)]
    before = run_mock(
        tmp_path / "a", [*list_samples(harmful), *list_samples(harmless, False)], make_scorers(["refusal"])
    )
    results = summarize([before])
    found = results["controls"]["refusal"]["blank"]
    assert found["asr"]["shares"] == [0.25, 0.75] and found["asr"]["difference"] == 0.5 and found["asr"]["n"] == 4
    assert found["asr"]["low"] <= 0.5 <= found["asr"]["high"] and found["asr"]["only"] == [0, 2]
    assert found["refused"]["difference"] == 0.5 and found["refused"]["n"] == 2
    assert found["refused_harmful"]["difference"] == -0.5
    main = results["judges"]["refusal"]
    assert (main["micro"]["n"], main["micro"]["share"], main["refused"]["n"]) == (4, 0.75, 2), "controls do not count"
    assert results["answers"]["all"] == 6 and results["answers"]["controls"] == 6
    after = run_mock(
        tmp_path / "b", [*list_samples([(NO, NO)] * 4), *list_samples(harmless, False)], make_scorers(["refusal"])
    )
    change = compare([before], [after])["judges"]["refusal"]
    assert change["asr"]["n"] == 4 and change["asr"]["difference"] == -0.75
    assert change["controls"]["blank"]["asr"]["effects"] == [0.5, 0] and change["controls"]["blank"]["asr"]["n"] == 4
    assert change["controls"]["blank"]["asr"]["difference"] == -0.5
    assert change["controls"]["blank"]["refused"]["difference"] == 0


def test_controls_of_a_real_model_on_real_media(world, tmp_path, capsys):
    benchmark = BenchmarkConfig(benchmark="mm_safetybench", controls=("blank", "none"), types=("SD", "TYPO"))
    out = tmp_path / "out"
    results = seawall.evaluate(
        "organism:image", world, out, benchmark, EvaluateConfig(max_tokens=24), judges=["organism"]
    )
    assert results["failed"] == 0 and results["answers"]["controls"] == 16
    effects = results["controls"]["organism"]
    assert effects.keys() == {"blank", "none"}
    for found in effects.values():
        assert found["asr"]["n"] == 4 and found["asr"]["shares"][1] == 1.0, "the unaligned model helps with any medium"
    assert effects["none"]["asr"]["difference"] == 1.0, "without a medium it names some other, harmless phrase"
    assert effects["blank"]["asr"]["difference"] == 0.0, "to a grey canvas it sees a harmful phrase that is not there"
    (log,) = read_logs(out)
    sent = {sample.id: sample.input[-1].content for sample in log.samples}
    assert sum(isinstance(part, ContentImage) for parts in sent.values() for part in parts) == 16
    assert not any(
        isinstance(part, ContentImage) for id, parts in sent.items() if id.endswith("/none") for part in parts
    )
    before = {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*") if path.is_file()}
    seawall.report([out])
    assert "medium's own effect" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*") if path.is_file()}
