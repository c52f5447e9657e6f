"""The model card: what it contains after a training, and how results are added to it."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

from seawall import AlignConfig, add_results
from seawall.alignment.card import write_card
from seawall.alignment.coverage import Coverage
from seawall.alignment.mixture import ComponentCount
from seawall.store.artifacts import Manifest
from seawall.store.items import Figure

COMPONENTS = {
    "text_harmful": ComponentCount(available=4, per_batch=2),
    "synthetic_harmful": ComponentCount(available=8, per_batch=3),
}
COVERAGE = Coverage(trained={"q_proj": 24, "o_proj": 24}, left_out={"experts.down_proj": 12})
PAIRS = Manifest(
    stage="prepare",
    config={},
    inputs={},
    facts={"read": 10, "counts": {"pairs": 8, "rejected": 2}, "sources": ["records.jsonl"]},
)


def make_figure(mean):
    return Figure(mean=mean, low=mean - 0.1, high=mean + 0.1, n=12)


@pytest.fixture
def card(tmp_path):
    """Write a card; return its file."""

    def write(model="names/kites-7b", **settings):
        write_card(tmp_path, model, AlignConfig(**settings), COMPONENTS, PAIRS, COVERAGE)
        return tmp_path / "README.md"

    return write


def test_the_card_names_data_and_settings(card):
    text = card(method="dpo", learning_rate=2e-3, precision="bf16").read_text()
    assert "LoRA (rank 16) on the language model of `names/kites-7b`, trained by DPO" in text
    assert "From text: 10 records read, 8 pairs, 2 rejected." in text
    assert "| text_harmful | 4 | 2 |\n| synthetic_harmful | 8 | 3 |" in text
    assert "learning rate 0.002" in text and "precision bf16" in text and "num checkpoints 4" in text
    assert "mixture" not in text and "device map" not in text, "the table has the mixture; unset settings are left out"
    assert "have not been measured" in text and "## Limits" in text


@pytest.mark.parametrize(("tuning", "library"), [("lora", "peft"), ("full", "transformers")])
def test_the_metadata_is_what_the_hub_reads(card, tuning, library):
    found = ModelCard.load(card(tuning=tuning))
    assert found.data.base_model == "names/kites-7b" and found.data.library_name == library
    assert found.data.tags == ["safety", "seawall", "sft"]
    assert found.text.startswith(f"# Safety {'adapter' if tuning == 'lora' else 'tuning'} of names/kites-7b")


def test_the_card_counts_what_was_trained_and_what_was_not(card):
    text = card().read_text()
    assert "Trained: 24 o_proj, 24 q_proj. Not trained: 12 experts.down_proj." in text


@pytest.mark.parametrize("name", ["organism:image", "{folder}", "./kites"])
def test_a_local_base_is_no_base_model_of_the_hub_and_its_path_stays_private(card, tmp_path, name):
    (tmp_path / "home" / "model").mkdir(parents=True)
    found = ModelCard.load(card(model=name.format(folder=tmp_path / "home" / "model")))
    assert found.data.base_model is None and str(tmp_path) not in str(found)
    if "folder" in name:
        assert found.text.startswith("# Safety adapter of model, made")


def test_results_replace_the_warning_and_earlier_results_of_the_same_benchmark(card, tmp_path):
    before = ModelCard.load(card())
    add_results(tmp_path, "one", {"attack success": make_figure(0.25), "refused": make_figure(0.5)})
    add_results(tmp_path, "two", {"attack success": make_figure(0.75)})
    add_results(tmp_path, "one", {"attack success": make_figure(0.125)})
    after = ModelCard.load(tmp_path / "README.md")
    assert "have not been measured" not in after.text
    assert after.text.count("### one\n") == after.text.count("### two\n") == 1
    assert "| attack success | 0.125 | 0.025 to 0.225 | 12 |" in after.text
    assert "| attack success | 0.750 | 0.650 to 0.850 | 12 |" in after.text
    assert "0.250" not in after.text and "| refused |" not in after.text
    assert after.data.to_dict() == before.data.to_dict()
    assert after.text.startswith(before.text.partition("\n## Results\n")[0])


@pytest.mark.parametrize("text", [None, "# A card that Seawall did not write\n"])
def test_an_adapter_without_a_card_of_seawall_is_left_unchanged(tmp_path, text):
    if text:
        (tmp_path / "README.md").write_text(text)
    add_results(tmp_path, "one", {"attack success": make_figure(0.25)})
    assert [path.read_text() for path in tmp_path.iterdir()] == ([text] if text else [])
