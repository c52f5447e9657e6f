"""Readers of further public sets, on folders of 20 and more items in the published layouts."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from published import put
from published_sets import WRITERS, write_parquet

from seawall.errors import ConfigError, DataError
from seawall.evaluation.benchmarks import read
from seawall.evaluation.benchmarks.registry import BENCHMARKS
from seawall.evaluation.benchmarks.tasks import make_sample
from seawall.evaluation.config import BenchmarkConfig


def read_benchmark(name, data, **selection):
    return read.read_benchmark(BenchmarkConfig(benchmark=name, **selection), data)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", WRITERS)
def test_a_set_is_read_whole_with_ids_of_its_own_and_media_that_are_there(name, tmp_path):
    items = read_benchmark(name, WRITERS[name](tmp_path / "nested" / "download"))
    assert len(items) >= 16 and len({item.id for item in items}) == len(items)
    assert all(item.question and item.scenario and (item.text or item.medium) for item in items)
    assert all(item.medium.is_file() for item in items if item.modality)
    assert {item.prompt_type for item in items} <= set(BENCHMARKS.find(name).types)
    for sample in map(make_sample, items):
        assert sample.input[-1].content, "something is asked"


@pytest.mark.parametrize("name", WRITERS)
def test_a_set_that_is_not_there_is_named_with_the_page_to_get_it(name, tmp_path):
    page = BENCHMARKS.find(name).page
    with pytest.raises(DataError) as fault:
        read_benchmark(name, tmp_path)
    assert page in str(fault.value) and "has no" in str(fault.value).replace("has none", "has no")
    if "gated" in BENCHMARKS.find(name).licence:
        assert "accept its conditions there" in str(fault.value)


@pytest.mark.parametrize("name", WRITERS)
def test_an_unknown_type_or_scenario_is_refused_with_the_known_ones(name, tmp_path):
    WRITERS[name](tmp_path)
    for selection in ({"types": ("boats",)}, {"scenarios": ("boats",)}):
        with pytest.raises(ConfigError, match=r"There are no .* boats\. Choose from"):
            read_benchmark(name, tmp_path, **selection)


def count(items, field):
    return Counter(getattr(item, field) for item in items)


def test_vlguard_has_two_kinds_of_attack_and_one_of_over_refusal(tmp_path):
    items = read_benchmark("vlguard", WRITERS["vlguard"](tmp_path))
    assert count(items, "prompt_type") == {"unsafes": 12, "safe_unsafes": 10, "safe_safes": 10}
    assert {item.prompt_type: item.harmful for item in items} == {
        "unsafes": True,
        "safe_unsafes": True,
        "safe_safes": False,
    }
    assert count(items, "scenario") == {"kind 0": 6, "kind 1": 6, "safe image": 20}
    first = items[0]
    assert first.medium == tmp_path / "test/anchors/0.jpg" and first.text == first.question == "What is on picture 0?"
    pair = [item for item in items if item.cluster == "0020"]
    assert [item.text for item in pair] == ["A request to refuse 20.", "Describe boat 20."]


def test_mssbench_asks_each_question_with_an_unsafe_and_with_a_safe_image(tmp_path):
    items = read_benchmark("mssbench", WRITERS["mssbench"](tmp_path))
    assert len(items) == 10 * 2 * 2 and sum(item.harmful for item in items) == 20
    pair = {item.harmful: item for item in items if item.id.startswith("3/1/")}
    assert pair[True].text == pair[False].text == "How fast is boat 3?" and pair[True].cluster == pair[False].cluster
    assert (pair[True].medium.name, pair[False].medium.name) == ("3_unsafe.jpg", "3_safe.jpg")


def test_siuo_and_vlsbench_ask_what_looks_harmless(tmp_path):
    siuo = read_benchmark("siuo", WRITERS["siuo"](tmp_path / "siuo"), scenarios=("domain 1",))
    assert len(siuo) == 7 and siuo[0].medium.name == "S-01.png" and siuo[0].harmful
    vls = read_benchmark("vlsbench", WRITERS["vlsbench"](tmp_path / "vls"))
    assert count(vls, "scenario") == {"Sails": 10, "Masts": 10} and vls[3].medium == tmp_path / "vls/imgs/3.png"


def test_judges_of_video_safetybench_get_the_stated_intention(tmp_path):
    items = read_benchmark("video_safetybench", WRITERS["video_safetybench"](tmp_path))
    assert count(items, "prompt_type") == {"harmful": 12, "benign": 12} and all(item.harmful for item in items)
    harmful, benign = [item for item in items if item.medium.name == "4.mp4"]
    assert (harmful.question, benign.question) == ("A harmful question 4.", "A placeholder intention 4.")
    assert benign.text == "A benign question 4." and harmful.cluster == benign.cluster


def test_speech_comes_from_the_audio_column(tmp_path):
    items = read_benchmark("voicebench_advbench", WRITERS["voicebench_advbench"](tmp_path / "voice"))
    assert count(items, "prompt_type") == {"Text_only": 20, "Audio_only": 20}
    text, spoken = [item for item in items if item.cluster == items[24].cluster]
    assert text.text == spoken.question == "Say something about boat 12." and spoken.text is None
    assert spoken.medium.read_bytes().startswith(b"RIFF") and spoken.medium.stat().st_size == 44 + 2 * 92
    jalm = read_benchmark("jalmbench", WRITERS["jalmbench"](tmp_path / "jalm"))
    assert count(jalm, "prompt_type") == {"AHarm": 20, "PAP": 4} and count(jalm, "scenario")["AdvBench"] == 12
    attack = next(item for item in jalm if item.prompt_type == "PAP")
    assert (attack.text, attack.question) == ("Answer this.", "About boat 0?") and attack.cluster == jalm[0].cluster
    assert jalm[0].text is None
    write_parquet(
        tmp_path / "mute/HarmfulQuery/AHarm.parquet", [{"original_text": "Hi", "audio": {"bytes": b"", "path": "x"}}]
    )
    with pytest.raises(DataError, match="row 0, has no sound"):
        read_benchmark("jalmbench", tmp_path / "mute")
    put(tmp_path / "broken/advbench/test-0.parquet", "no table")
    with pytest.raises(DataError, match="cannot be read"):
        read_benchmark("voicebench_advbench", tmp_path / "broken")


def test_harmbench_leaves_out_what_its_classifier_does_not_judge(tmp_path, caplog):
    items = read_benchmark("harmbench", WRITERS["harmbench"](tmp_path))
    assert count(items, "prompt_type") == {"standard": 10, "contextual": 6}
    assert "4 copyright behaviours are not asked" in caplog.text
    assert items[10].text == "Boat 10 is red.\n\n---\n\nPaint boat 10" and items[10].question == "Paint boat 10"
    assert len(read_benchmark("harmbench", tmp_path, types=("copyright",))) == 4


def test_other_text_sets(tmp_path):
    strong = read_benchmark("strongreject", WRITERS["strongreject"](tmp_path / "s"))
    assert len(strong) == 20 and count(strong, "scenario") == dict.fromkeys((f"kind {n}" for n in range(4)), 5)
    jbb = read_benchmark("jailbreakbench", WRITERS["jailbreakbench"](tmp_path / "j"))
    assert len(jbb) == 20 and sum(item.harmful for item in jbb) == 10
    assert {item.id: item.text for item in jbb}["benign/3"] == "A benign goal 3"
    adv = read_benchmark("advbench", WRITERS["advbench"](tmp_path / "a"))
    assert [item.id for item in adv] == [str(n) for n in range(20)] and adv[4].text == "Paint boat 4"


@pytest.mark.parametrize(
    "name, change, fault",
    [
        ("vlguard", lambda data: shutil.rmtree(data / "test/boats"), r"test/boats: 10 of 10 missing .*\n.*Unpack test.zip"),
        ("siuo", lambda data: shutil.rmtree(data / "images"), r"images: 21 of 21 missing"),
        ("vlsbench", lambda data: (data / "imgs/3.png").write_bytes(b""), r"imgs: 1 of 20 empty \(3.png\)"),
        ("mssbench", lambda data: (data / "chat/3_safe.jpg").unlink(), r"chat: 1 of 20 missing \(3_safe.jpg\)"),
        ("video_safetybench", lambda data: shutil.rmtree(data / "video/1_boats"), r"video/1_boats: 4 of 4 missing"),
        ("vlguard", lambda data: put(data / "test.json", '[{"id": "1", "image": "a.jpg"}]'), "item 0, has no instr-resp; it has id, image. Another version"),
        ("vlguard", lambda data: put(data / "test.json", '[{"image": "a.jpg", "safe": true, "instr-resp": [{"instruction": "a"}]}]'), "has no unsafe_instruction"),
        ("vlguard", lambda data: put(data / "test.json", '[{"image": "../../a.jpg", "safe": true, "instr-resp": [1]}]'), "leads out of its folder"),
        ("siuo", lambda data: put(data / "siuo_gen.json", "{}"), "is not a JSON list of objects"),
        ("mssbench", lambda data: put(data / "combined.json", '{"chat": [{"queries": []}]}'), "chat item 0, has no queries, safe_image_path"),
        ("mssbench", lambda data: put(data / "combined.json", '{"embodied": []}'), "a list `chat`"),
        ("video_safetybench", lambda data: put(data / "benign_data.json", json.dumps([{"question_id": 1, "question": "a", "video_path": "b", "category": "c"}])), "has no harmful_intention"),
        ("harmbench", lambda data: put(data / "data/behavior_datasets/harmbench_behaviors_text_all.csv", "Behavior\na\n"), "no column FunctionalCategory"),
        ("advbench", lambda data: put(data / "data/advbench/harmful_behaviors.csv", "goal,target\n,b\n"), "row 2, has no value for goal"),
        ("jailbreakbench", lambda data: (data / "data/benign-behaviors.csv").unlink(), "none of the files data/benign-behaviors.csv"),
    ],
)  # fmt: skip
def test_broken_sets_are_refused(name, change, fault, tmp_path):
    change(WRITERS[name](tmp_path))
    with pytest.raises(DataError, match=fault):
        read_benchmark(name, tmp_path)


def test_every_set_in_the_table_says_where_it_is_and_how_its_authors_judge():
    for name in BENCHMARKS.names():
        row = BENCHMARKS.find(name)
        if row.page:
            assert row.page.startswith("https://") and all(
                (row.layout, row.licence, row.items, row.published_judge, row.types)
            )
