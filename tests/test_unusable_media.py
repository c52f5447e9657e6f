"""One medium that cannot be read, or that the model cannot take, fails alone in every stage, whatever it raises."""

from __future__ import annotations

import base64
import json
import shutil

import anyio
import pytest
import torch
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from PIL import Image

import seawall
from seawall.errors import ConfigError, DataError
from seawall.evaluation import provider
from seawall.reporting.embeddings.run import show_embeddings
from seawall.store.artifacts import read_manifest
from seawall.store.embeddings import EmbeddingStore
from seawall.store.files import read_json, read_jsonl
from small_run import CONFIG

ALIGN = seawall.AlignConfig(steps=2, batch_size=12, num_checkpoints=1, lora_rank=4)


def write_bombs(folder):
    """Write files that raise other errors than those of missing files. Their order is first and in the middle."""
    Image.new("1", (14_000, 14_000)).save(folder / "0 bomb.png")
    Image.new("F", (20, 20)).save(folder / "1 float.png", "TIFF")
    (folder / "9 text.jpg").write_text("no image")
    return sorted(folder.glob("[019] *"))


@pytest.fixture
def bank(small_run, tmp_path):
    """The bank of the small run, with three more files that are no images."""
    folder = tmp_path / "bank"
    shutil.copytree(small_run.bank, folder)
    write_bombs(folder)
    return folder


def test_files_of_the_bank_that_cannot_be_used_are_left_out(small_run, bank, tmp_path, caplog):
    out = tmp_path / "out"
    seawall.synthesize("organism:image", small_run.pairs, out, CONFIG, bank=bank)
    one, other = EmbeddingStore(out), EmbeddingStore(small_run.embeddings)
    assert all(torch.equal(one.read(key), other.read(key)) for key in small_run.keys)
    names = ["0 bomb.png", "1 float.png", "9 text.jpg"]
    assert read_manifest(out).facts["left_out"] == names
    assert all(f"left out of the bank: {bank / name}" in caplog.text for name in names)
    assert seawall.synthesize("organism:image", small_run.pairs, out, CONFIG, bank=bank) == read_json(
        out / "synthesis.json"
    )
    page = show_embeddings(out, tmp_path / "page.html")
    first = min(path.name for path in small_run.bank.rglob("*.png"))
    assert first in page.read_text() and "bomb.png" not in page.read_text()


def test_a_bank_with_too_few_usable_files_is_refused(small_run, tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    write_bombs(folder)
    with pytest.raises(DataError, match=r"Only 0 of 3 files of the bank can be used.*0 bomb\.png"):
        seawall.synthesize("organism:image", small_run.pairs, tmp_path / "out", CONFIG, bank=folder)


def test_media_that_cannot_be_used_are_left_out_of_the_training(small_run, bank, tmp_path, caplog):
    lines = [line for _, line in read_jsonl(bank / "media.jsonl")]
    broken = [dict(lines[0], image=path.name) for path in sorted(bank.glob("[019] *"))]
    kept = tmp_path / "kept"
    shutil.copytree(small_run.bank, kept)
    (bank / "media.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [*broken[:1], *lines, *broken[1:]]))
    results = [
        seawall.align("organism:image", small_run.pairs, small_run.embeddings, tmp_path / name, ALIGN, media=[folder])
        for name, folder in (("with", bank), ("without", kept))
    ]
    assert results[0].examples == results[1].examples and results[0].loss == results[1].loss
    assert all(f"left out of the training: {bank / line['image']}" in caplog.text for line in broken)
    assert read_json(tmp_path / "with" / "training.json")["examples"]["media_harmless"]["available"] == len(lines)
    (bank / "media.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in broken))
    with pytest.raises(ConfigError, match="media_harmless, but there are no such examples"):
        seawall.align("organism:image", small_run.pairs, small_run.embeddings, tmp_path / "none", ALIGN, media=[bank])


def ask_all(model, media):
    """Ask about all media at once. Return text or error of each."""
    outcomes = {}

    async def ask(path):
        data = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        message = ChatMessageUser(content=[ContentImage(image=data), ContentText(text="What is this?")])
        try:
            outcomes[path] = (await model.generate([message], config=GenerateConfig(max_tokens=4))).completion
        except Exception as error:
            outcomes[path] = error

    async def all_of_them():
        async with anyio.create_task_group() as group:
            for path in media:
                group.start_soon(ask, path)

    anyio.run(all_of_them)
    return outcomes


def test_a_question_about_an_unusable_medium_fails_alone(tiny_path, images, tmp_path, monkeypatch):
    model, broken = get_model(f"seawall/{tiny_path}", memoize=False), write_bombs(tmp_path)
    outcomes = ask_all(model, [*images, *broken])
    assert [outcomes[path] for path in images if not isinstance(outcomes[path], str)] == []
    assert all("is not a readable image file" in str(outcomes[path]) for path in broken)

    generate = provider.generate_batch

    def fail(loaded, examples, **settings):
        if any(example.medium.read_bytes() == images[0].read_bytes() for example in examples):
            raise IndexError("no such position")
        return generate(loaded, examples, **settings)

    monkeypatch.setattr(provider, "generate_batch", fail)
    again = ask_all(model, images)
    assert isinstance(again.pop(images[0]), IndexError), "the model raises it in the middle of a batch"
    assert again == {path: outcomes[path] for path in images[1:]}
