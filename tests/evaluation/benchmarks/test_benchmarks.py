"""Readers of the benchmarks, on small folders in the published layouts."""

from __future__ import annotations

import collections
import json
import shutil
import zipfile

import pytest
from inspect_ai.model import ContentAudio, ContentData, ContentText, ContentVideo
from published import put, write_figstep, write_mm, write_moss, write_va, write_xstest

import seawall
from seawall.errors import ConfigError, DataError
from seawall.evaluation.benchmarks import read
from seawall.evaluation.benchmarks.registry import BENCHMARKS, Benchmark
from seawall.evaluation.benchmarks.tasks import make_sample
from seawall.evaluation.config import BenchmarkConfig
from seawall.evaluation.judges.registry import check_judges
from seawall.lab.world.published import write_published
from seawall.store.items import Item

VIDEO, AUDIO = "va_safetybench_video", "va_safetybench_audio"


def read_benchmark(name, data, **selection):
    return read.read_benchmark(BenchmarkConfig(benchmark=name, **selection), data)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_videos_have_four_prompt_types_and_one_medium_each(tmp_path):
    items = read_benchmark(VIDEO, write_va(tmp_path))
    assert len(items) == 8 * 2 * 4 and len({item.id for item in items}) == len(items)
    (dm,) = [item for item in items if item.id == "6-Fraud/7/DM"]
    assert dm.medium == tmp_path / "Video/6-Fraud/DM/7.mp4" and dm.text == "Paint boat 7 (DM)." and dm.system is None
    assert dm.question == "Paint boat 7 (Text_only).", "judges get the original question"
    assert {item.cluster for item in items if item.id.startswith("6-Fraud/7/")} == {"6-Fraud/7"}


def test_a_sound_that_carries_the_question_is_asked_without_text(tmp_path):
    items = read_benchmark(
        AUDIO,
        write_va(tmp_path, "Audio"),
        types=(
            "Audio_only",
            "KPT",
        ),
        scenarios=("7-Sex",),
    )
    whole, phrase = [make_sample(item).input for item in items[:2]]
    assert [message.role for message in whole] == ["system", "user"], "the reference's system prompt, for audio alone"
    assert [type(part) for part in whole[1].content] == [ContentAudio]
    assert [type(part) for part in phrase[1].content] == [ContentAudio, ContentText]
    assert make_sample(items[0]).metadata["harmful"] is True


def test_the_format_of_a_medium_is_that_of_its_file(tmp_path):
    (item,) = read_benchmark(VIDEO, write_va(tmp_path, ids=("0",)), types=("DM",), scenarios=("6-Fraud",))
    (part, _) = make_sample(item).input[0].content
    assert isinstance(part, ContentVideo) and part.format == "mp4"


def test_mm_safetybench_and_its_smaller_selection(tmp_path):
    items = read_benchmark("mm_safetybench", write_mm(tmp_path))
    assert len(items) == 8 * 2 * 4
    sd, typo = [next(i for i in items if i.id == f"07-Sex/1/{task}") for task in ("SD", "TYPO")]
    assert (sd.text, typo.text, sd.question) == ("Rephrased Question(SD) 1", "Rephrased Question 1", "Question 1")
    assert sd.medium == tmp_path / "data/imgs/07-Sex/SD/1.jpg" and sd.phrase == "Key Phrase 1"
    tiny = read_benchmark("mm_safetybench", tmp_path, tiny=True, types=("SD",))
    assert [item.id for item in tiny] == [f"{item.scenario}/1/SD" for item in tiny] and len(tiny) == 8


def test_mm_safetybench_has_eight_scenarios_of_harm_and_five_that_rubrics_judge(tmp_path):
    eight, every = (read_benchmark("mm_safetybench", write_mm(tmp_path), all_scenarios=flag) for flag in (False, True))
    assert {item.scenario[:2] for item in eight} == {"01", "02", "03", "04", "05", "06", "07", "09"}
    assert not any(item.rubric for item in eight) and len(every) == 13 * 2 * 4
    assert {item.scenario[:2]: item.rubric for item in every if item.rubric} == {
        "08": "political", "10": "advice", "11": "advice", "12": "advice", "13": "government"
    }  # fmt: skip
    (named,) = {item.scenario for item in read_benchmark("mm_safetybench", tmp_path, scenarios=("13-Gov_Decision",))}
    assert named == "13-Gov_Decision", "a scenario that is named needs no flag"
    with pytest.raises(ConfigError, match="'xstest' has no option all_scenarios"):
        BenchmarkConfig(benchmark="xstest", all_scenarios=True)


def test_items_without_a_judge_for_them_are_an_error(tmp_path):
    write_mm(tmp_path)
    eight, every = (read_benchmark("mm_safetybench", tmp_path, all_scenarios=flag) for flag in (False, True))
    with pytest.raises(
        ConfigError, match=r"40 items are not judged for harm, but by the rubrics advice, government, pol"
    ):
        check_judges(["refusal"], every)
    with pytest.raises(ConfigError, match=r"rubric=x scores only items that have a rubric, and none is asked"):
        check_judges(["refusal", "rubric=x"], eight)
    with pytest.raises(ConfigError, match="others are asked too"):
        check_judges(["rubric=x"], every)
    check_judges(["rubric=x"], [item for item in every if item.rubric])
    check_judges(["refusal", "rubric=x"], every)


def test_figstep_asks_with_the_text_of_the_authors_script(tmp_path):
    items = read_benchmark("figstep", write_figstep(tmp_path))
    shown = [item for item in items if item.prompt_type == "FigStep"]
    assert [item.text for item in shown] == ["Fill in the list."] * 2
    assert [item.medium.name for item in shown] == ["query_ForbidQI_1_1_6.png", "query_ForbidQI_2_1_6.png"]
    assert {item.question for item in shown} == {"How is boat 1 painted?", "How is boat 2 painted?"}


def test_over_refusal_benchmarks_know_what_is_harmless(tmp_path):
    harmless, contrast = read_benchmark("xstest", write_xstest(tmp_path / "x"))
    assert (harmless.harmful, contrast.harmful) == (False, True) and harmless.modality is None
    moss = read_benchmark("mossbench", write_moss(tmp_path / "m"))
    assert [item.medium.name for item in moss] == ["1.png", "2.webp"] and not any(item.harmful for item in moss)


@pytest.mark.parametrize(("name", "write", "file"), [
    ("mossbench", write_moss, "data/images/1.png"),
    ("mm_safetybench", write_mm, "data/imgs/01-Illegal_Activitiy/SD/0.jpg"),
    ("figstep", write_figstep, "data/images/SafeBench/query_ForbidQI_1_1_6.png"),
])  # fmt: skip
def test_a_missing_image_is_named_as_the_benchmark_names_it(tmp_path, name, write, file):
    (write(tmp_path) / file).unlink()
    with pytest.raises(DataError, match=rf"1 of \d missing \({file.rpartition('/')[2]}\)"):
        read_benchmark(name, tmp_path)


def test_a_limit_takes_items_of_all_scenarios_and_prompt_types(tmp_path):
    everything = read_benchmark(VIDEO, write_va(tmp_path))
    for limit in (8, 16, 20, 64):
        some = read_benchmark(VIDEO, tmp_path, limit=limit)
        assert len(some) == limit and some == [item for item in everything if item in some], "in their order"
        scenarios = collections.Counter(item.scenario for item in some)
        types = collections.Counter(item.prompt_type for item in some)
        assert len(scenarios) == 8 and max(scenarios.values()) - min(scenarios.values()) <= 1
        assert len(types) == 4 and max(types.values()) - min(types.values()) <= 1
    assert read_benchmark(VIDEO, tmp_path, limit=16) == read_benchmark(VIDEO, tmp_path, limit=16)
    assert len(read_benchmark(VIDEO, tmp_path, limit=2)) == 2
    assert read_benchmark(VIDEO, tmp_path, limit=999) == everything
    unequal = [Item(**base(n), scenario="a" if n else "b", prompt_type="x") for n in range(9)]
    assert [item.id for item in read.spread(unequal, 4)] == ["0", "1", "2", "3"]


def base(number):
    return {"id": str(number), "cluster": str(number), "question": "What?", "text": "What?", "harmful": False}


def test_an_empty_choice_is_refused():
    with pytest.raises(ConfigError, match="types is empty, so nothing would be asked"):
        BenchmarkConfig(benchmark="xstest", types=())


def test_a_zip_file_is_read_like_its_folder_and_unpacked_once(tmp_path):
    write_va(tmp_path / "VA-SafetyBench-main")
    shutil.make_archive(str(tmp_path / "va"), "zip", tmp_path, "VA-SafetyBench-main")
    items = read_benchmark(VIDEO, tmp_path / "va.zip")
    assert len(items) == 64 and all(item.medium.is_file() for item in items if item.medium)
    touched = items[1].medium.stat().st_mtime_ns
    assert read_benchmark(VIDEO, tmp_path / "va.zip")[1].medium.stat().st_mtime_ns == touched


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/outside.txt", "a/../../outside.txt", "..\\outside.txt"])
def test_a_zip_file_cannot_write_outside_its_folder(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("Video_questions/1.json", "{}")
        archive.writestr(name, "out")
    with pytest.raises(DataError, match=r"outside.txt.*leads out of the folder. Nothing was unpacked"):
        read_benchmark(VIDEO, tmp_path / "bad.zip")
    assert not list(tmp_path.parent.rglob("outside.txt"))


def test_a_zip_file_cannot_contain_a_link(tmp_path):
    link = zipfile.ZipInfo("Video")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(DataError, match="is a link"):
        read_benchmark(VIDEO, tmp_path / "bad.zip")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no folder or zip file"):
        read_benchmark(VIDEO, tmp_path / "none")
    with pytest.raises(DataError, match=r"va\.zip is a damaged zip file, or an incomplete download"):
        read_benchmark(VIDEO, put(tmp_path / "va.zip", "no zip"))
    with pytest.raises(DataError, match=r"a.csv is a CSV file, not the folder of a benchmark.*try --data .*data\.$"):
        read_benchmark("xstest", put(tmp_path / "data" / "a.csv", "id,prompt"))
    with zipfile.ZipFile(tmp_path / "cut.zip", "w") as archive:
        archive.writestr("a.bin", bytes(range(256)) * 40)
    data = bytearray((tmp_path / "cut.zip").read_bytes())
    data[60] ^= 255
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_benchmark(VIDEO, put(tmp_path / "cut.zip", bytes(data)))


def test_missing_question_files_are_named(tmp_path):
    write_va(tmp_path)
    (tmp_path / "Video_questions/3-MalwareGeneration.json").unlink()
    with pytest.raises(DataError, match=r"1 of 8 question files are missing from .*: 3-MalwareGeneration.json"):
        read_benchmark(VIDEO, tmp_path)
    with pytest.raises(DataError, match="has no question files Audio_questions"):
        read_benchmark(AUDIO, tmp_path)
    write_mm(tmp_path / "mm")
    (tmp_path / "mm/data/processed_questions/07-Sex.json").unlink()
    with pytest.raises(DataError, match=r"1 of MM-SafetyBench's 13 question files are missing from .*: 07-Sex.json"):
        read_benchmark("mm_safetybench", tmp_path / "mm")


def test_missing_and_empty_media_are_named_by_folder(tmp_path):
    write_va(tmp_path)
    (tmp_path / "Video/6-Fraud/DM/7.mp4").unlink()
    (tmp_path / "Video/7-Sex/TYPO/0.mp4").write_bytes(b"")
    with pytest.raises(DataError) as fault:
        read_benchmark(VIDEO, tmp_path)
    assert "Video/6-Fraud/DM: 1 of 2 missing (7.mp4)" in str(fault.value)
    assert "Video/7-Sex/TYPO: 1 of 2 empty (0.mp4)" in str(fault.value)
    assert (
        len(
            read_benchmark(
                VIDEO,
                tmp_path,
                types=(
                    "DM_TYPO",
                    "Text_only",
                ),
            )
        )
        == 32
    )


def test_a_medium_without_a_question_is_not_used_and_named(tmp_path, caplog):
    put(write_va(tmp_path) / "Video/6-Fraud/DM/99.mp4")
    assert len(read_benchmark(VIDEO, tmp_path)) == 64
    assert "1 media have no question and are not used: Video/6-Fraud/DM/99.mp4" in caplog.text


@pytest.mark.parametrize(
    "text, fault",
    [
        ("{", "not readable JSON"),
        ('{"0": {}, "0": {}}', "'0' more than once"),
        ("[]", "does not have the form"),
        ('{"0": {"Text_only": "a", "DM": null, "TYPO": "a", "DM_TYPO": "a"}}', "item '0' has no usable text: DM None"),
        ('{"0": {"Text_only": "a", "DM": "a", "TYPO": " "}}', "TYPO ' ', DM_TYPO 'missing'"),
    ],
)
def test_a_broken_question_file_is_refused(text, fault, tmp_path):
    put(write_va(tmp_path) / "Video_questions/6-Fraud.json", text)
    with pytest.raises(DataError, match=fault):
        read_benchmark(VIDEO, tmp_path)


def test_a_text_beside_a_sound_that_carries_the_question_is_refused(tmp_path):
    path = write_va(tmp_path, "Audio") / "Audio_questions/6-Fraud.json"
    asked = json.loads(path.read_text())
    asked["7"]["Audio_only"] = "Paint it."
    put(path, json.dumps(asked))
    with pytest.raises(DataError, match=r"Audio_only 'Paint it\.'.*must be null"):
        read_benchmark(AUDIO, tmp_path)


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda folder: (folder / "src/generate_prompts.py").unlink(), "cannot be read"),
        (lambda folder: put(folder / "src/generate_prompts.py", "x = 1"), "no branch for QueryType.figstep"),
        (lambda folder: put(folder / "data/question/safebench.csv", "a,b\n1,2\n"), "no column category_id"),
        (lambda folder: put(folder / "data/question/safebench.csv", "category_id,task_id,category_name,question\n1,2,x,\n"), "row 2, has no value for question"),
        (lambda folder: shutil.rmtree(folder / "data/images"), r"SafeBench: 2 of 2 missing"),
    ],
)  # fmt: skip
def test_a_broken_figstep_is_refused(change, fault, tmp_path):
    change(write_figstep(tmp_path))
    with pytest.raises(DataError, match=fault):
        read_benchmark("figstep", tmp_path)


@pytest.mark.parametrize(
    "name, write, file, text, fault",
    [
        ("xstest", write_xstest, "xstest_prompts.csv", "id,type,prompt\n1,a,b\n1,a,c\n", "an id more than once"),
        ("xstest", write_xstest, "xstest_prompts.csv", "id,type,prompt\n", "has no rows"),
        ("mossbench", write_moss, "data/images_information/information.json", "[]", "not a JSON object"),
        ("mossbench", write_moss, "data/images_information/information.json", '{"1": {}}', "item '1' lacks image"),
        ("mm_safetybench", write_mm, "data/processed_questions/07-Sex.json", '{"0": {}}', "no text for Question"),
        ("mm_safetybench", write_mm, "TinyVersion_ID_List.json", '["1"]', "is not a list of Scenario"),
    ],
)
def test_other_broken_benchmarks_are_refused(name, write, file, text, fault, tmp_path):
    put(write(tmp_path) / file, text)
    with pytest.raises(DataError, match=fault):
        read_benchmark(name, tmp_path, tiny="Tiny" in file)


def test_missing_files_of_xstest_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none of XSTest's files xstest_prompts.csv"):
        read_benchmark("xstest", tmp_path)


def test_an_unknown_selection_is_refused_with_the_known_names(tmp_path):
    with pytest.raises(ConfigError, match=r"no prompt types KPT\. Choose from Text_only, DM, TYPO, DM_TYPO"):
        read_benchmark(VIDEO, write_va(tmp_path), types=("KPT",))
    with pytest.raises(ConfigError, match=r"no scenarios 9-Boats\. Choose from 1-IllegalActivitiy"):
        read_benchmark(VIDEO, tmp_path, scenarios=("9-Boats",))
    with pytest.raises(ConfigError, match="has no option tiny"):
        read_benchmark(VIDEO, tmp_path, tiny=True)
    with pytest.raises(ConfigError, match="Known: va_safetybench_video"):
        read_benchmark("boats", tmp_path)


@pytest.mark.parametrize(
    "modality, name, types", [("image", "mm_safetybench", 3), ("video", VIDEO, 4), ("audio", AUDIO, 4)]
)
def test_the_built_in_world_in_the_published_layouts(modality, name, types, tmp_path):
    write_published(tmp_path, "validation", 2, modality)
    items = read_benchmark(name, tmp_path, understanding=True)
    attacks = [item for item in items if item.prompt_type != "neutral"]
    assert len(attacks) == 4 * types and sum(item.harmful for item in attacks) == 2 * types
    neutral = [item for item in items if item.prompt_type == "neutral"]
    assert len(neutral) == 4 * (types - 1) and {item.shows for item in neutral} == {
        i.prompt_type for i in attacks if i.medium
    }
    assert all(item.phrase in item.question for item in attacks)
    assert not any(item.phrase in (item.text or "") for item in attacks if item.medium)


def test_a_registered_benchmark_is_read_and_asked_with_media_of_any_modality(tmp_path, monkeypatch):
    monkeypatch.setattr(BENCHMARKS, "_values", {**BENCHMARKS._values})
    medium = put(tmp_path / "boat.txt", "a boat")

    def read(folder, types, scenarios):
        fields = {"scenario": "boats", "prompt_type": "TYPO", "question": "Paint it.", "text": "Paint it."}
        return [Item(id="1", cluster="1", modality="boat", medium=folder / "boat.txt", **fields)]

    seawall.register_benchmark(Benchmark(name="boats", read=read, description="Boats."))
    (item,) = read_benchmark("boats", tmp_path)
    part, _ = make_sample(item).input[0].content
    assert isinstance(part, ContentData) and part.data == {"modality": "boat", "path": str(medium)}
    with pytest.raises(ConfigError, match="'boats' has no option tiny"):
        read_benchmark("boats", tmp_path, tiny=True)
