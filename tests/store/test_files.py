"""JSON and JSON Lines files: complete or absent, and readable errors for broken ones."""

from __future__ import annotations

import errno
import json
import os

import pytest

from seawall.errors import ArtifactError, DataError
from seawall.store import files
from seawall.store.files import explain_failed_write, read_json, read_jsonl, write_durably, write_json, write_jsonl


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_message_and_keeps_the_old_file(tmp_path, monkeypatch, code):
    write_json(tmp_path / "x.json", {"a": 1})

    def full(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=rf"x.json cannot be written: {os.strerror(code)}. .*Free some space"):
        write_json(tmp_path / "x.json", {"a": 2})
    assert read_json(tmp_path / "x.json") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_message(tmp_path, monkeypatch, code):
    def refuse(path, *_):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(files, "open_private", refuse)
    with pytest.raises(
        ArtifactError, match=rf"x cannot be written: {os.strerror(code)}. Change the permissions, or give"
    ):
        write_durably(tmp_path / "x", b"", private=True)


def test_the_error_of_another_file_is_not_taken_for_one_of_the_output(tmp_path):
    """A training reads media while it may write to its folder."""
    error = PermissionError(errno.EACCES, "Permission denied", "/data/cat.png")
    with pytest.raises(PermissionError), explain_failed_write(tmp_path):
        raise error


def test_a_private_file_can_be_read_by_its_owner_only(tmp_path):
    write_durably(tmp_path / "x", b"1", private=True)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_a_byte_order_mark_is_ignored(tmp_path, name):
    (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    found = read_json(tmp_path / name) if name == "x.json" else dict(read_jsonl(tmp_path / name))[1]
    assert found == {"a": 1}


@pytest.mark.parametrize("text", [r"\ud800", r"a \uDFFF b"])
def test_half_a_character_is_refused_when_it_is_read(tmp_path, text):
    """It could be read, but no result could contain it."""
    for name in ("x.json", "x.jsonl"):
        (tmp_path / name).write_text(f'{{"a": "{text}"}}\n')
    with pytest.raises(DataError, match=r"x.json is not JSON: .*half a character"):
        read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"x.jsonl, line 1, is not JSON \(.*half a character\)"):
        list(read_jsonl(tmp_path / "x.jsonl"))
    (tmp_path / "x.jsonl").write_text(r'{"a": "\ud83d\ude00 \\ud800"}')
    assert list(read_jsonl(tmp_path / "x.jsonl")) == [(1, {"a": "\U0001f600 \\ud800"})]


def test_json_lines_are_read_back_as_written(tmp_path):
    rows = [{"text": "a\nb\u2028c\x85d\x0ce é 東京"}, {"none": None, "list": [1, 2.5]}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    assert list(read_jsonl(tmp_path / "x.jsonl")) == [(1, rows[0]), (2, rows[1])]


def test_blank_lines_and_windows_line_ends_are_counted(tmp_path):
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
def test_a_broken_json_lines_file_is_an_error_that_names_the_line(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_jsonl(path))


def test_a_folder_cannot_be_read_as_json_lines(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_jsonl(tmp_path))


def test_a_broken_or_missing_json_file_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match=r"x\.json is not JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"no file .*y\.json"):
        read_json(tmp_path / "y.json")


def test_a_failed_write_keeps_the_old_file(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(tmp_path / "x.jsonl", rows())
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"a": 1}


def test_no_partial_file_is_left_beside_a_finished_one(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
