"""Properties that every row of the table of families must have. A failure names the property and the row."""

from __future__ import annotations

import re

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import nn

from conformance.conftest import Row, get_name, logits, make_row
from seawall.errors import DataError
from seawall.models.chat import BLANK, Example, to_model
from seawall.models.encode import encode_examples, encode_media
from seawall.models.families import (
    FAMILIES,
    base_model,
    find_family,
    get_decoder_layers,
    get_layers,
    get_module,
    get_projectors,
)
from seawall.models.inject import ITEMS, attach, inject
from seawall.models.steering.hooks import steered
from seawall.models.steering.vector import Outcomes, SteeringVector


def assert_own_output_gives_the_real_logits(row: Row) -> None:
    """Injecting the encoder outputs of real media into blanks must give the logits of the real media, bit for bit."""
    own, real, blank = encode_media(row.loaded, row.files), row.batch(*row.files), row.blanks()
    expected = logits(row.model, to_model(real, row.model))
    with inject(row.model, row.family, own):
        assert torch.equal(logits(row.model, to_model(blank, row.model)), expected)
    assert (logits(row.model, to_model(blank, row.model)) - expected).abs().max() > 1e-3


def compute_gradient(row: Row) -> torch.Tensor:
    """Return the gradient of the loss with respect to the row's embeddings."""
    embedding = row.own.clone().requires_grad_()
    with inject(row.model, row.family, embedding):
        row.model(**to_model(row.blanks(), row.model), use_cache=False).loss.backward()
    return embedding.grad


def add_lora(row: Row) -> nn.Module:
    """Return the row's model with a LoRA adapter of noticeable weights, also on a projector that is a bare `Linear`."""
    targets = rf".*{row.family.language_model}\..*_proj"
    if isinstance(get_projectors(row.model, row.family)[0], nn.Linear):
        targets += rf"|.*{re.escape(row.family.projector)}"
    wrapped = get_peft_model(row.model, LoraConfig(r=2, target_modules=targets)).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    return wrapped


def test_every_path_of_the_row_exists(row):
    for path in row.family.paths:
        assert isinstance(get_module(row.model, row.family, path), nn.Module)


def test_injecting_encoder_outputs_gives_the_logits_of_real_media_exactly(row):
    assert_own_output_gives_the_real_logits(row)


def test_media_encoded_beforehand_give_the_logits_of_media_encoded_in_the_batch(row):
    encoded = encode_examples(row.loaded, [Example(question="", medium=file) for file in row.files])
    batch = row.batch(*row.files, None, cached_inputs={file: one.inputs for file, one in encoded.items()})
    with inject(row.model, row.family, [encoded[file].embedding for file in row.files]):
        beforehand = logits(row.model, to_model(batch, row.model))
    in_batch = logits(row.model, to_model(row.batch(*row.files, None), row.model))
    torch.testing.assert_close(beforehand, in_batch, rtol=0, atol=1e-6)
    assert all((value == 1).all() for value in batch.values() if value.is_floating_point() and value.numel() > 1000)


def test_a_medium_of_another_shape_than_the_blank_is_not_encoded_beforehand(media_folder, tmp_path):
    row = make_row(find_family("qwen2_vl", "image"), media_folder)
    with Image.open(row.files[0]) as image:
        image.resize((4 * image.width, 2 * image.height)).save(tmp_path / "large.png")
    examples = [Example(question="", medium=medium) for medium in (row.files[0], tmp_path / "large.png")]
    assert list(encode_examples(row.loaded, examples)) == [row.files[0]]


def test_encoder_layers_are_skipped_while_every_medium_is_synthetic(row):
    ran = []
    handles = [
        layer.register_forward_hook(lambda *_: None) for layer in get_layers(row.model, row.family)
    ]  # must not disturb
    inner = next(m for m in get_layers(row.model, row.family)[0].modules() if not list(m.children()))
    handles.append(inner.register_forward_hook(lambda *_: ran.append(1)))
    try:
        with inject(row.model, row.family, row.own):
            logits(row.model, row.blanks())
        assert not ran
        logits(row.model, row.blanks())
        assert ran
    finally:
        for handle in handles:
            handle.remove()


def test_gradient_reaches_the_embedding_and_nothing_else(row):
    row.model.requires_grad_(False)
    gradient = compute_gradient(row)
    assert gradient.isfinite().all()
    assert gradient.abs().amax(-1).flatten(0, -2).amax(-1).gt(0).all()  # of every medium and projector
    assert all(parameter.grad is None for parameter in row.model.parameters())


def test_a_batch_of_embeddings_gives_the_results_of_single_ones(row):
    with inject(row.model, row.family, row.own):
        together = logits(row.model, row.blanks())
    alone = []
    for number, file in enumerate(row.files):
        with inject(row.model, row.family, row.own[number : number + 1]):
            alone.append(logits(row.model, row.batch(BLANK)))
        assert file.exists()
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_no_answer_token_sees_later_ones(row):
    batch = row.blanks()
    answered = (batch["labels"] != -100).nonzero()
    row_number, last = answered[-1].tolist()
    before = logits(row.model, batch)
    batch["input_ids"][row_number, last] -= 1
    changed = (logits(row.model, batch) - before).abs().amax(-1)
    assert changed[-1] > 0 and torch.equal(changed[:-1], torch.zeros_like(changed[:-1]))


@pytest.mark.parametrize("synthetic", [0, 1])
def test_synthetic_real_and_text_rows_mix(row, synthetic):
    expected = logits(row.model, row.batch(row.files[0], None, row.files[1]))
    media = [BLANK if number == synthetic else file for number, file in enumerate(row.files)]
    items = [row.own[number] if number == synthetic else None for number in range(2)]
    with inject(row.model, row.family, items):
        mixed = logits(row.model, row.batch(media[0], None, media[1]))
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3], ids=["greedy", "beams"])
def test_generation(row, beams):
    def generate(batch, max_new_tokens=4):
        del batch["labels"]
        settings = {"max_new_tokens": max_new_tokens, "num_beams": beams, "do_sample": False}
        made = row.model.generate(**batch, **settings, return_dict_in_generate=True, output_logits=True)
        return made.sequences[:, batch["input_ids"].shape[1] :], made.logits[0]

    ids, first = generate(row.batch(*row.files, padding_side="left"))
    with inject(row.model, row.family, row.own):
        injected_ids, injected_first = generate(row.blanks(padding_side="left"))
    assert torch.equal(injected_ids, ids)
    torch.testing.assert_close(injected_first, first, rtol=0, atol=1e-4)
    assert (generate(row.blanks(padding_side="left"), 1)[1] - first).abs().max() > 1e-3


def test_after_lora_and_after_its_merge(row):
    row = row.copy()
    plain = logits(row.model, row.batch(*row.files))
    wrapped = add_lora(row)
    adapted = row.replace_model(wrapped)
    assert (logits(wrapped, row.batch(*row.files)) - plain).abs().max() > 1e-3
    assert_own_output_gives_the_real_logits(adapted)
    with attach(wrapped, row.family):
        attached = logits(wrapped, row.blanks(), **{ITEMS: encode_media(adapted.loaded, row.files)})
    assert torch.equal(attached, logits(wrapped, row.batch(*row.files)))
    assert_own_output_gives_the_real_logits(row.replace_model(wrapped.merge_and_unload()))


def test_after_save_and_load(row, tmp_path):
    with inject(row.model, row.family, row.own):
        before = logits(row.model, row.blanks())
    row.model.save_pretrained(tmp_path)
    model = getattr(transformers, row.family.auto_class).from_pretrained(tmp_path).eval()
    with inject(model, row.family, row.own):
        torch.testing.assert_close(logits(model, row.blanks()), before, rtol=0, atol=1e-5)


def test_gradient_checkpointing_does_not_change_the_gradient(row):
    if not row.model.supports_gradient_checkpointing:
        pytest.skip(f"{type(row.model).__name__} does not support gradient checkpointing")
    row = row.copy()
    row.model.train().requires_grad_(False)
    plain = compute_gradient(row)
    row.model.gradient_checkpointing_enable()
    assert torch.equal(compute_gradient(row), plain)


def test_a_bf16_model_with_an_fp32_embedding(row):
    row = row.copy()
    row.model.to(torch.bfloat16).requires_grad_(False)
    assert_own_output_gives_the_real_logits(row)
    gradient = compute_gradient(row)
    assert gradient.dtype == torch.float32 and gradient.isfinite().all() and gradient.abs().sum() > 0


def test_nothing_is_left_behind(row):
    before = logits(row.model, row.blanks())  # the first forward pass of some models registers hooks of transformers
    changed = [*get_projectors(row.model, row.family), base_model(row.model), *get_layers(row.model, row.family)]
    state = lambda: [(list(m._forward_pre_hooks), list(m._forward_hooks), set(vars(m))) for m in (*changed, row.model)]  # noqa: E731
    clean = state()
    with inject(row.model, row.family, row.own):
        logits(row.model, row.blanks())
        assert state() != clean
    with pytest.raises(DataError, match="items given"), inject(row.model, row.family, row.own[..., :-1, :]):
        logits(row.model, row.blanks())
    with attach(row.model, row.family), pytest.raises(DataError, match="items given"):
        logits(row.model, row.blanks(), **{ITEMS: row.own[:1]})
    assert state() == clean
    assert torch.equal(logits(row.model, row.blanks()), before)


@torch.no_grad()
def test_steering_adds_to_the_last_layer_and_leaves_nothing_behind(row):
    *_, last = layers = get_decoder_layers(row.model, row.family)
    assert len(layers) == row.model.config.get_text_config().num_hidden_layers
    batch = {k: v for k, v in row.batch(None, row.files[0], padding_side="left").items() if k != "labels"}
    seen = []
    handle = last.register_forward_hook(lambda _, __, output: seen.append(output))  # after an earlier hook
    before = row.model(**batch).logits
    handle.remove()
    facts = dict.fromkeys(("seed", "train_harmful", "train_harmless", "validation_harmful", "validation_harmless"), 0)
    outcomes = Outcomes(refused=0.0, answered=1.0)
    facts |= {"model": "", "fingerprint": "", "identity": "", "unsteered": outcomes, "steered": outcomes}
    direction = torch.linspace(-1, 1, seen[0].shape[-1])
    vector = SteeringVector(direction=direction, layer=len(layers) - 1, strength=3.0, positions="answer", **facts)
    with steered(row.model, row.family, vector):
        handle = last.register_forward_hook(lambda _, __, output: seen.append(output))
        after = row.model(**batch).logits
        handle.remove()
    expected = seen[0].clone()
    expected[:, -1] += 3 * direction
    assert torch.equal(seen[1], expected)
    assert torch.equal(after[:, :-1], before[:, :-1]) and not torch.equal(after[:, -1], before[:, -1])
    assert torch.equal(row.model(**batch).logits, before)


BOTH = [
    row
    for row in FAMILIES
    if row.modality == "image" and any((r.model_type, r.modality) == (row.model_type, "video") for r in FAMILIES)
]


@pytest.mark.parametrize("family", BOTH, ids=get_name)
def test_an_image_and_a_video_in_one_prompt(family, media_folder):
    image = make_row(family, media_folder)
    video = make_row(find_family(family.model_type, "video"), media_folder)
    model = image.model

    def process(picture, film):
        chats = (image.loaded.chat, picture), (video.loaded.chat, film)
        content = [{"type": chat.family.modality} for chat, _ in chats]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": "Same?"}]}]
        processor = image.loaded.processor
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        media = {chat.modality.argument: [chat.load(medium)] for chat, medium in chats}
        return processor(text=[text], **media, return_tensors="pt")

    expected = logits(model, process(image.files[0], video.files[0]))
    blank = process(BLANK, BLANK)
    assert (logits(model, blank) - expected).abs().max() > 1e-3
    for first, second in ((image.own[0], video.own[0]), (image.own[0], None), (None, video.own[0])):
        mixed = process(BLANK if first is not None else image.files[0], BLANK if second is not None else video.files[0])
        with inject(model, family, [[first], [second]]):  # images first
            torch.testing.assert_close(logits(model, mixed), expected, rtol=0, atol=1e-4)
