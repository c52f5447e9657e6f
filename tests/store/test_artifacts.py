"""Folders of artifacts: which run they belong to, when they are complete, and what other versions may find in them."""

from __future__ import annotations

import dataclasses
import errno
import json
import os

import pytest

from seawall.errors import ArtifactError, DataError
from seawall.store.artifacts import (
    LOCK,
    MANIFEST,
    SCHEMA,
    claim,
    finish,
    read_manifest,
    record,
    release,
    released_after_errors,
    reopen,
    require,
)
from seawall.store.files import read_json

INPUTS = {"source": "abc"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    text: int = 2
    media: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    modality: str = "image"
    seed: int = 0
    limit: int | None = None
    mixture: Mixture = Mixture()


def take(out, stage="prepare", inputs=INPUTS, **settings):
    return claim(out, stage, Config(**settings), inputs)


def rewrite(out, **changes):
    """Change the manifest as another version would have written it. A function changes the value of its field."""
    manifest = read_json(out / MANIFEST)
    for name, change in changes.items():
        manifest[name] = change(manifest[name]) if callable(change) else change
    (out / MANIFEST).write_text(json.dumps(manifest))


def test_the_same_run_is_continued_until_it_is_finished(tmp_path):
    out = tmp_path / "deep" / "out"
    assert take(out) is False
    assert take(out) is False
    finish(out, counts={"pairs": 3})
    assert take(out) is True
    assert require(out, "prepare").facts["counts"] == {"pairs": 3}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 3}, r"\(seed: 0 there, 3 now\)"),
        ({"modality": "video"}, r"\(modality: 'image' there, 'video' now\)"),
        ({"inputs": {"source": "xyz"}}, r"\(source: 'abc' there, 'xyz' now\)"),
        ({"inputs": {}}, r"\(source: 'abc' there, not known now\)"),
        ({"stage": "align"}, r"\(stage: 'prepare' there, 'align' now\)"),
        ({"seed": 3, "inputs": {"source": "xyz"}}, r"\(seed: 0 there, 3 now; source: 'abc' there, 'xyz' now\)"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_run_is_refused_with_its_differences(tmp_path, changed, message, finished):
    out = tmp_path / "out"
    take(out)
    if finished:
        finish(out)
    before = (out / MANIFEST).read_text()
    with pytest.raises(ArtifactError, match=rf"another run {message}.*never overwritten.*another --out"):
        take(out, **changed)
    assert (out / MANIFEST).read_text() == before


def test_free_settings_may_change_and_the_manifest_changes_only_when_the_run_is_continued(tmp_path):
    out, grown = tmp_path / "out", {"source": "abcd"}
    free = ("source", "seed")
    claim(out, "prepare", Config(), INPUTS, free=free)
    finish(out)
    before = read_json(out / MANIFEST)
    assert claim(out, "prepare", Config(), INPUTS, free=free) is True
    assert claim(out, "prepare", Config(seed=3), grown, free=free) is False
    assert read_json(out / MANIFEST) == before
    reopen(out, Config(seed=3), grown)
    after = read_json(out / MANIFEST)
    assert (after["inputs"], after["config"]["seed"], after["complete"]) == (grown, 3, False)
    assert after["identity"] == before["identity"]
    with pytest.raises(ArtifactError, match=r"\(modality: 'image' there, 'video' now\)"):
        claim(out, "prepare", Config(modality="video"), grown, free=free)


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


def test_a_folder_is_taken_if_its_run_was_killed_while_it_wrote_the_manifest(tmp_path):
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


def test_a_released_folder_is_gone_unless_something_else_is_in_it(tmp_path):
    for name in ("empty", "full"):
        take(tmp_path / name)
    (tmp_path / "full" / "letters.txt").write_text("dear")
    for name in ("empty", "full"):
        release(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letters.txt"]


def test_the_manifest_has_a_schema_number_and_names_the_defaults(tmp_path):
    take(tmp_path / "out", seed=3, mixture=Mixture(text=7))
    manifest = read_json(tmp_path / "out" / MANIFEST)
    assert manifest["schema"] == SCHEMA
    assert sorted(manifest["defaults"]) == ["limit", "mixture.media", "modality"]
    assert read_manifest(tmp_path / "out").config["mixture"] == {"text": 7, "media": 3}


@pytest.mark.parametrize("found", [1, SCHEMA + 1])
def test_a_folder_of_another_schema_is_refused_with_one_sentence(tmp_path, found):
    """Version 0.1 wrote no schema number."""
    out = tmp_path / "out"
    take(out)
    finish(out)
    manifest = {**read_json(out / MANIFEST), "schema": found}
    if found == 1:
        del manifest["schema"]
    (out / MANIFEST).write_text(json.dumps(manifest))
    message = rf"{out} was written by another version of Seawall \(schema {found}, this version reads schema {SCHEMA}\)"
    for call in (lambda: take(out), lambda: require(out, "prepare"), lambda: read_manifest(out)):
        with pytest.raises(ArtifactError, match=message):
            call()


def test_unknown_and_missing_fields_of_a_manifest_are_accepted(tmp_path):
    out = tmp_path / "out"
    take(out)
    finish(out, counts={"pairs": 3})
    manifest = {**read_json(out / MANIFEST), "weather": "fine"}
    for name in ("versions", "free", "identity", "defaults"):
        del manifest[name]
    (out / MANIFEST).write_text(json.dumps(manifest))
    assert take(out) is True
    found = require(out, "prepare")
    assert found.facts == {"counts": {"pairs": 3}, "weather": "fine"} and found.versions == {}


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("lacking", ["limit", "mixture.media", "mixture"])
def test_an_option_that_a_folder_lacks_means_its_default(tmp_path, lacking, finished):
    """An older version did not have the option yet."""
    out = tmp_path / "out"
    take(out)
    if finished:
        finish(out)
    outer, _, inner = lacking.partition(".")
    without = lambda settings, name: {key: value for key, value in settings.items() if key != name}  # noqa: E731
    if inner:
        rewrite(out, config=lambda config: {**config, outer: without(config[outer], inner)})
    else:
        rewrite(out, config=lambda config: without(config, outer))
    rewrite(out, defaults=lambda names: [name for name in names if not name.startswith(lacking)])
    assert take(out) is finished
    changed = {"limit": 5} if lacking == "limit" else {"mixture": Mixture(media=9)}
    name, value = ("limit", 5) if lacking == "limit" else ("mixture.media", 9)
    with pytest.raises(ArtifactError, match=rf"another run \({name}: not known there, {value} now\)"):
        take(out, **changed)


@pytest.mark.parametrize("name", ["speed", "mixture.speed"])
def test_an_option_unknown_to_this_version_must_be_at_its_default(tmp_path, name):
    """A newer version has an option that this one lacks."""
    out = tmp_path / "out"
    take(out)
    if name == "speed":
        rewrite(out, config=lambda config: {**config, "speed": 3})
    else:
        rewrite(out, config=lambda config: {**config, "mixture": {**config["mixture"], "speed": 3}})
    with pytest.raises(ArtifactError, match=rf"another run \({name}: 3 there, not known now\)"):
        take(out)
    rewrite(out, defaults=lambda names: [*names, name])
    assert take(out) is False


def test_a_default_that_differs_between_versions_counts_as_different(tmp_path):
    out = tmp_path / "out"
    take(out)
    rewrite(out, config=lambda config: {**config, "seed": 1})  # the default there
    with pytest.raises(ArtifactError, match=r"seed: 1 there, 0 now"):
        take(out)
    assert take(out, seed=1) is False


def test_continuing_a_folder_of_another_version_keeps_what_that_version_needs(tmp_path):
    out = tmp_path / "out"
    take(out)
    rewrite(
        out,
        config=lambda config: {**config, "speed": 3, "mixture": {**config["mixture"], "noise": 1}},
        defaults=lambda names: [*names, "speed", "mixture.noise"],
    )
    before = read_manifest(out)
    assert take(out) is False
    reopen(out, Config(), INPUTS)
    assert take(out) is False, "continued a second time"
    after = read_manifest(out)
    assert after.config["speed"] == 3 and "speed" in after.defaults
    assert after.identity == before.identity and after.find_differences(before) == {}


def test_versions_of_packages_do_not_matter(tmp_path):
    out = tmp_path / "out"
    take(out)
    finish(out)
    rewrite(out, versions={"transformers": "4.0.0"})
    assert take(out) is True


def test_a_folder_is_released_if_the_input_is_refused_before_anything_is_written(tmp_path):
    """The same folder can then be used with other settings."""
    take(tmp_path / "a")
    (tmp_path / "a" / LOCK).touch()
    with pytest.raises(DataError), released_after_errors(tmp_path / "a"):
        raise DataError("line 3 is not a record")
    assert not (tmp_path / "a").exists()
    take(tmp_path / "a", seed=1)
    (tmp_path / "a" / "result").touch()
    with pytest.raises(DataError), released_after_errors(tmp_path / "a"):
        raise DataError("line 3 is not a record")
    assert (tmp_path / "a" / MANIFEST).exists(), "finished work is kept"


def test_an_empty_folder_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
    """As on a disk that is mounted read-only. Root is refused there, too."""
    (tmp_path / "a").mkdir()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "a" / MANIFEST))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be written: Read-only file system.*another --out"):
        take(tmp_path / "a")


def test_a_private_folder_can_be_entered_by_its_owner_only(tmp_path):
    claim(tmp_path / "a", "synthesize", Config(), INPUTS, private=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_recorded_facts_are_replaced_by_name(tmp_path):
    take(tmp_path / "a")
    record(tmp_path / "a", one=1, two=2)
    record(tmp_path / "a", two=3)
    assert read_manifest(tmp_path / "a").facts == {"one": 1, "two": 3} and not read_manifest(tmp_path / "a").complete
