"""Recipes: what they give, every fault at once, and the recipe that `init` writes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cyclopts import App

from sample_records import RECORDS, write_lines
from seawall.errors import ConfigError, DataError, ModelError, SeawallError
from seawall.recipes.check import check_recipe
from seawall.recipes.commands import add_commands, parse_overrides
from seawall.recipes.read import read_recipe
from seawall.recipes.templates import write_recipe

RECIPES = Path(__file__).parent.parent / "recipes"
MINIMAL = """
[model]
name = "organism:image"
[data]
sources = ["records.jsonl"]
[synthesis]
start = "blank"
[alignment.mixture]
media_harmless = 0
"""


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe and read it back, with overrides."""

    def recipe(text=MINIMAL, **overrides):
        (tmp_path / "recipe.toml").write_text(text)
        return read_recipe(tmp_path / "recipe.toml", {name.replace("__", "."): v for name, v in overrides.items()})

    write_lines(tmp_path / "records.jsonl", RECORDS)
    return recipe


@pytest.fixture
def faults(recipe):
    """Return the faults of a recipe, one a line."""

    def faults(text=MINIMAL, **overrides):
        with pytest.raises(ConfigError) as caught:
            recipe(text, **overrides)
        title, *lines = str(caught.value).splitlines()
        assert title.endswith(f"recipe.toml has {len(lines)} fault{'s' * (len(lines) > 1)}:")
        return [line.removeprefix("- ") for line in lines]

    return faults


@pytest.fixture
def command():
    """Run a command of recipes."""
    app = App(name="seawall")
    add_commands(app)
    return lambda *argv: app([str(part) for part in argv], exit_on_error=False, result_action="return_value")


def test_tables_become_the_configs_of_the_stages(recipe, tmp_path):
    read = recipe(MINIMAL + '[evaluation]\nbenchmark = "xstest"\ndata = "xstest"\ntypes = ["Text_only"]\n')
    assert read.model.name == "organism:image"
    assert read.data.sources == (str(tmp_path / "records.jsonl"),)
    assert read.synthesize.start == "blank" and read.align.mixture.media_harmless == 0
    assert read.evaluation.data == tmp_path / "xstest" and read.benchmark.types == ("Text_only",)
    assert recipe().evaluation is None


def test_paths_are_relative_to_the_recipe_and_ids_of_the_hub_stay(recipe, tmp_path):
    (tmp_path / "model").mkdir()
    text = MINIMAL.replace('"organism:image"', '"model"').replace('"records.jsonl"', '"records.jsonl", "a/b"')
    read = recipe(text, data__bank="bank", data__media='["one", "/two"]')
    assert read.model.name == str(tmp_path / "model")
    assert read.data.sources == (str(tmp_path / "records.jsonl"), "a/b")
    assert read.data.bank == tmp_path / "bank" and read.data.media == (tmp_path / "one", Path("/two"))


def test_the_precision_of_the_model_holds_for_every_stage(recipe):
    read = recipe(
        model__precision="bf16", model__device_map="auto", evaluation__benchmark="xstest", evaluation__data="x"
    )
    for config in (read.synthesize, read.align, read.evaluate):
        assert (config.precision, config.device_map) == ("bf16", "auto")


def test_the_blank_of_the_model_holds_for_synthesis_and_alignment(recipe):
    read = recipe(model__blank="4")
    assert read.synthesize.blank == read.align.blank == 4


def test_flags_replace_values(recipe):
    read = recipe(
        alignment__steps="200",
        alignment__learning_rate="1e-4",
        alignment__mixture__text_harmful="0.5",
        synthesis__twins="true",
        data__subset="2024",
        data__refusals="No.,Never.",
        **{"synthesis.max-steps": "7"},
    )
    assert (read.align.steps, read.align.learning_rate, read.synthesize.max_steps) == (200, 1e-4, 7)
    assert read.align.mixture.text_harmful == 0.5 and read.align.mixture.media_harmless == 0
    assert read.prepare.subset == "2024", "a text that looks like a number"
    assert read.prepare.refusals == ("No.", "Never.")


def test_all_faults_of_a_recipe_are_listed_at_once(faults):
    text = """
    [model]
    precision = "fp64"
    [data]
    sources = "records.jsonl"
    moddality = "image"
    [synthesis]
    copies = 0
    twins = "yes"
    max_steps = 2.5
    [alignmet]
    steps = 3
    [alignment]
    steps = true
    mixture = 0.5
    [evaluation]
    benchmark = "xstest"
    """
    found = faults(text)
    for fault in (
        "unknown table [alignmet]; did you mean alignment?",
        "model.precision is 'fp64'; input should be 'fp32', 'bf16' or '4bit'",
        "model.name is missing",
        "unknown key data.moddality; did you mean modality?",
        "synthesis.twins is 'yes'; input should be a valid boolean",
        "synthesis.max_steps is 2.5; input should be a valid integer",
        "alignment.steps is True; input should be a valid integer",
        "alignment.mixture is 0.5; it must be a table [alignment.mixture]",
        "evaluation.data is missing",
    ):
        assert fault in found, found
    assert any(line.startswith("data.sources is 'records.jsonl'; input should be a valid") for line in found)
    assert len(found) == 10


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"synthesis.copies": "0"}, "[synthesis] copies is 0; it must be at least 1"),
        ({"alignment.mixture.text_harmfull": "1"}, "unknown key alignment.mixture.text_harmfull; did you mean text_harmful?"),
        ({"alignment.mixture.text_harmful": "-1"}, "must not be negative"),
        ({"alignment.steps": "many"}, "alignment.steps is 'many'; input should be a valid integer"),
        ({"steps": "3"}, "unknown flag --steps; write a key as --TABLE.KEY"),
        ({"model.name.x": "3"}, "--model.name.x does not fit the recipe: model.name is not a table"),
        ({"evaluation.benchmark": "xtest", "evaluation.data": "x"}, "There is no benchmark 'xtest'"),
        ({"data.zork": "1"}, "unknown key data.zork; known: sources, bank, media, modality"),
        # values that exclude each other
        ({"synthesis.start": "bank"}, 'synthesis.start is "bank", but data.bank is missing'),
        ({"synthesis.twins": "false"}, "synthesis.twins is false, but alignment.mixture.synthetic_harmless is above 0"),
        ({"alignment.mixture.media_harmless": "0.2"}, "media_harmless is above 0, but data.media is missing"),
        ({"alignment.merge": "true", "alignment.tuning": "full"}, 'alignment.merge is true, but alignment.tuning is "full"'),
        ({"model.precision": "bf16", "alignment.precision": "fp32"}, "model.precision is 'bf16', but alignment.precision is 'fp32'"),
        ({"model.blank": "4", "synthesis.blank": "2"}, "model.blank is 4.0, but synthesis.blank is 2.0"),
        ({"alignment.blank": "4"}, "alignment.blank is 4, but synthesis.blank is not; set model.blank"),
        ({"alignment.tuning": "full", "alignment.precision": "4bit"}, "4-bit weights cannot be trained"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work(faults, overrides, message):
    (found,) = faults(**overrides)
    assert message in found


@pytest.mark.parametrize("text", ["model = ", "[model]\n[model]\n"])
def test_a_file_that_is_not_toml(recipe, text):
    with pytest.raises(ConfigError, match=r"cannot be read as a recipe.*seawall init"):
        recipe(text)


def test_a_recipe_that_is_missing_and_a_table_that_is_none(faults, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as a recipe"):
        read_recipe(tmp_path / "nothing.toml")
    assert "model is 'llava'; it must be a table [model]" in faults('model = "llava"\n[data]\nsources = ["a/b"]\n')


def test_missing_files_are_all_named(recipe):
    text = MINIMAL.replace('"records.jsonl"', '"nothing.jsonl", "a/b"')
    read = recipe(text, data__bank="no-bank", evaluation__benchmark="xstest", evaluation__data="no-data")
    with pytest.raises(ConfigError) as caught:
        check_recipe(read)
    message = str(caught.value)
    assert message.startswith("The recipe names files or folders that do not exist:\n- ")
    assert (
        message.count("- ") == 3
        and all(name in message for name in ("nothing.jsonl", "no-bank", "no-data"))
        and "a/b" not in message
    )


def test_a_model_of_an_unknown_family_or_without_the_modality(recipe, tiny_path, tmp_path):
    for name, config, message in (
        ("zork", '{"model_type": "zork"}', "type 'zork', which Seawall does not support"),
        ("typeless", '{"a": 1}', "names no model_type"),
        ("cut", "{", "no config.json that can be read"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
        for check in (
            lambda name=name: check_recipe(recipe(model__name=name)),
            lambda name=name: write_recipe(tmp_path / "new.toml", str(tmp_path / name), ["a/b"]),
        ):
            with pytest.raises(ModelError, match=message):
                check()
    with pytest.raises(ModelError, match="no registered model 'organism:nope'"):
        check_recipe(recipe(model__name="organism:nope"))
    with pytest.raises(ModelError, match="take image, not audio"):
        check_recipe(recipe(model__name=str(tiny_path), data__modality="audio"))
    assert not (tmp_path / "new.toml").exists()


def test_parsed_flags():
    tokens = ["--alignment.steps", "200", "--data.split=train", "--alignment.merge", "--synthesis.seed", "-1"]
    assert parse_overrides(tokens) == {
        "alignment.steps": "200", "data.split": "train", "alignment.merge": "true", "synthesis.seed": "-1"
    }  # fmt: skip
    with pytest.raises(ConfigError, match="'x' belongs to no flag"):
        parse_overrides(["x"])
    with pytest.raises(ConfigError, match=r"--a.b is given twice"):
        parse_overrides(["--a.b", "1", "--a.b", "2"])


def test_init_writes_a_recipe_that_can_be_read(command, capsys, recipe, tmp_path):
    (tmp_path / "bank").mkdir()
    out = tmp_path / "new.toml"
    command("init", "organism:image", "--data", tmp_path / "records.jsonl", "tatsu-lab/alpaca", "--out", out)
    assert capsys.readouterr().out.strip() == str(out)
    read = read_recipe(out)
    assert read.model.name == "organism:image" and read.synthesize.start == "blank"
    assert read.data.sources == (str(tmp_path / "records.jsonl"), "tatsu-lab/alpaca")
    assert read.align.learning_rate == 1e-3, "a small model"
    with_bank = out.with_name("bank.toml")
    command("init", "organism:audio", "--data", "a/b", "--bank", tmp_path / "bank", "--out", with_bank)
    read = read_recipe(with_bank)
    assert read.prepare.modality == "audio" and read.synthesize.start == "bank"
    assert read.data.bank.resolve() == tmp_path / "bank"
    uncommented = [line.removeprefix("# ") for line in with_bank.read_text().splitlines()]
    table = uncommented[uncommented.index("[evaluation]") :]
    assert tomllib.loads("\n".join(table))["evaluation"]["benchmark"] == "va_safetybench_audio"


def test_init_for_a_large_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llava", "text_config": {"hidden_size": 4096}}')
    write_recipe(tmp_path / "new.toml", str(tmp_path / "model"), ["a/b"])
    read = read_recipe(tmp_path / "new.toml")
    assert read.model.name == str(tmp_path / "model")
    assert (read.align.learning_rate, read.align.precision, read.align.activation_checkpointing) == (1e-4, "bf16", True)


def test_init_over_an_existing_file_or_without_data(tmp_path):
    out = tmp_path / "recipe.toml"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        write_recipe(out, "organism:image", ["a/b"])
    assert out.read_text() == "mine"
    with pytest.raises(DataError, match=r"There is no nothing.jsonl, and no .*bank"):
        write_recipe(tmp_path / "new.toml", "organism:image", ["nothing.jsonl"], bank=tmp_path / "bank")
    with pytest.raises(ModelError, match="take image, not video"):
        write_recipe(tmp_path / "new.toml", "organism:image", ["a/b"], modality="video")
    with pytest.raises(ConfigError, match="does not exist"):
        write_recipe(tmp_path / "no" / "new.toml", "organism:image", ["a/b"])
    assert not (tmp_path / "new.toml").exists()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_project_can_be_read(path):
    read = read_recipe(path)
    first = path.read_text().splitlines()[0]
    if path.stem.startswith("organism"):
        assert read.model.name == "organism:image"
        return
    assert "NOT RUN HERE" in first
    assert read.align.learning_rate == 1e-4 and read.align.precision == "bf16" and read.data.bank
    with pytest.raises(SeawallError, match="do not exist"):
        check_recipe(read)


def run_process(*argv, folder):
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    argv = [sys.executable, "-m", "seawall", *map(str, argv)]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.slow
def test_the_command_line_reads_flags_and_reports_faults(tmp_path):
    write_lines(tmp_path / "records.jsonl", RECORDS)
    done = run_process("init", "organism:image", "--data", "records.jsonl", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "recipe.toml\n"), done.stderr
    done = run_process("init", "organism:image", "--data", "records.jsonl", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and "exists and is not overwritten" in done.stderr
    flags = ["--alignment.stepz", "3", "--out", "out", "--dry-run", "--synthesis.seed", "-1", "--data.bank=nothing"]
    done = run_process("run", "recipe.toml", *flags, folder=tmp_path)
    assert done.returncode == 2 and "unknown key alignment.stepz; did you mean steps?" in done.stderr
    done = run_process("run", "recipe.toml", *flags[2:], folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and "data.bank: there is no nothing" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.toml", "records.jsonl"]
