"""Folders of artifacts: whose they are, when they are complete, and files that are whole or absent."""

from __future__ import annotations

import errno
import json
import os

import pytest

from seawall import PrepareConfig
from seawall.store.artifacts import MANIFEST, claim, finish, reopen, require
from seawall.store.files import read_json, read_jsonl, write_json, write_jsonl
from seawall.errors import ArtifactError, DataError

INPUTS = {"source": "abc"}


def take(out, stage="prepare", inputs=INPUTS, **settings):
    return claim(out, stage, PrepareConfig(**settings), inputs)


def test_the_same_run_goes_on_until_it_is_finished(tmp_path):
    out = tmp_path / "deep" / "out"
    assert take(out) is False
    assert take(out) is False
    finish(out, counts={"pairs": 3})
    assert take(out) is True
    assert require(out, "prepare")["counts"] == {"pairs": 3}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 3}, r"\(seed: 0 there, 3 now\)"),
        ({"modality": "video"}, r"\(modality: 'image' there, 'video' now\)"),
        ({"inputs": {"source": "xyz"}}, r"\(source: 'abc' there, 'xyz' now\)"),
        ({"inputs": {}}, r"\(source: 'abc' there, None now\)"),
        ({"stage": "align"}, r"\(stage: 'prepare' there, 'align' now\)"),
        ({"seed": 3, "inputs": {"source": "xyz"}}, r"\(seed: 0 there, 3 now; source: 'abc' there, 'xyz' now\)"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_run_is_refused_and_told_what_differs(tmp_path, changed, message, finished):
    out = tmp_path / "out"
    take(out)
    if finished:
        finish(out)
    before = (out / MANIFEST).read_text()
    with pytest.raises(ArtifactError, match=rf"another run {message}.*never overwritten.*another --out"):
        take(out, **changed)
    assert (out / MANIFEST).read_text() == before


def test_what_is_free_may_change_and_the_manifest_changes_only_when_the_run_goes_on(tmp_path):
    out, grown = tmp_path / "out", {"source": "abcd"}
    free = ("source", "seed")
    claim(out, "prepare", PrepareConfig(), INPUTS, free=free)
    finish(out)
    before = read_json(out / MANIFEST)
    assert claim(out, "prepare", PrepareConfig(), INPUTS, free=free) is True
    assert claim(out, "prepare", PrepareConfig(seed=3), grown, free=free) is False
    assert read_json(out / MANIFEST) == before
    reopen(out, PrepareConfig(seed=3), grown)
    after = read_json(out / MANIFEST)
    assert (after["inputs"], after["config"]["seed"], after["complete"]) == (grown, 3, False)
    assert after["identity"] == before["identity"]
    with pytest.raises(ArtifactError, match=r"\(modality: 'image' there, 'video' now\)"):
        claim(out, "prepare", PrepareConfig(modality="video"), grown, free=free)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch, code):
    write_json(tmp_path / "x.json", {"a": 1})

    def full(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=rf"x.json cannot be written: {os.strerror(code)}. .*Free some space"):
        write_json(tmp_path / "x.json", {"a": 2})
    assert read_json(tmp_path / "x.json") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="was not made by seawall prepare"):
        take(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("manifest", ["[]", '{"name": "my-app"}', "{nope", '"text"'])
def test_a_manifest_of_something_else_is_refused(tmp_path, manifest):
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises((ArtifactError, DataError), match=str(tmp_path)):
        take(tmp_path)
    with pytest.raises((ArtifactError, DataError), match=str(tmp_path)):
        require(tmp_path, "prepare")
    assert (tmp_path / MANIFEST).read_text() == manifest


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(ArtifactError, match=str(out)):
            take(out)


def test_an_empty_folder_is_taken(tmp_path):
    assert take(tmp_path) is False
    manifest = read_json(tmp_path / MANIFEST)
    assert manifest["stage"] == "prepare" and manifest["inputs"] == INPUTS and manifest["config"]["seed"] == 0
    assert {"seawall", "torch", "transformers"} <= set(manifest["versions"])


def test_a_folder_whose_run_was_killed_before_its_manifest_was_whole_is_taken(tmp_path):
    (tmp_path / f"{MANIFEST}.partial").write_text('{"stage": "prep')
    assert take(tmp_path) is False
    assert read_json(tmp_path / MANIFEST)["stage"] == "prepare"


def test_a_stage_requires_a_finished_result_of_the_right_stage(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ArtifactError, match=r"holds no result of `seawall prepare`.*Run that first"):
        require(out, "prepare")
    take(out)
    with pytest.raises(ArtifactError, match="has not finished"):
        require(out, "prepare")
    finish(out)
    with pytest.raises(ArtifactError, match="made by `seawall prepare`; a result of `seawall align` is needed"):
        require(out, "align")


def test_jsonl_comes_back_as_written(tmp_path):
    rows = [{"text": "a\nb\u2028c\x85d\x0ce é 東京"}, {"none": None, "list": [1, 2.5]}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    assert list(read_jsonl(tmp_path / "x.jsonl")) == [(1, rows[0]), (2, rows[1])]


def test_blank_lines_and_windows_line_ends_are_read_and_counted(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\r\n\r\n{"a": 2}')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file .*x.jsonl"),
        (b"", "x.jsonl is empty"),
        (b" \n\n", "x.jsonl is empty"),
        (b'{"a": 1}\n\n{"a": \n', "x.jsonl, line 3, is not JSON"),
        (b'{"a": 1}\n[1, 2]\n', "x.jsonl, line 2, is a JSON list, not an object"),
        (b"null\n", "x.jsonl, line 1, is a JSON NoneType, not an object"),
        (b'{"a": "\xff"}\n', "x.jsonl cannot be read.*UTF-8"),
    ],
)
def test_what_is_wrong_with_a_jsonl_file_is_said(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(path))


def test_a_folder_is_no_jsonl_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_jsonl(tmp_path))


def test_a_broken_json_file_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match=r"x\.json is not JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"no file .*y\.json"):
        read_json(tmp_path / "y.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(tmp_path / "x.jsonl", rows())
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"a": 1}


def test_nothing_partial_is_left_beside_a_finished_file(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
