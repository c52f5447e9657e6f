"""Token ids of every family are those of transformers' `apply_chat_template(tokenize=True)`, with one start token."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import ProcessorMixin

from conformance import tiny
from conformance.conftest import QUESTION, get_name
from conformance.media import get_size, make_files
from seawall.alignment.collate import Collator
from seawall.alignment.mixture import TrainingExample
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.families import FAMILIES, Family

WRITES_ITS_OWN = ("paligemma",)
"""Processors that add a start token to every text, also to one that has it."""


def make_processor(family: Family, in_template: bool) -> Any:
    """Return a processor whose tokenizer adds a start token, as those of Gemma 3, Llama 3 and Mistral do."""
    _, processor = tiny.BUILDERS[":".join(filter(None, (family.model_type, family.tower)))]()
    tokens = processor.tokenizer
    tokens.add_special_tokens({"bos_token": "<s>"})
    tokens.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokens.bos_token_id)]
    )
    if in_template:
        processor.chat_template = "{{ bos_token }}" + processor.chat_template
    return processor


def encode_by_transformers(chat: Chat, example: Example, **settings: Any) -> list[int]:
    """Return the ids of transformers. A stand-in for a processor cannot do it, so there it is the tokenizer, by the same rule."""
    messages = chat.template.make_messages(example)
    loaded = None if example.medium is None else chat.load(example.medium)
    for message in messages:
        message["content"] = [
            {**part, part["type"]: loaded} if part["type"] != "text" else part for part in message["content"]
        ]
    if example.answer is not None:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": example.answer}]})
    if isinstance(chat.processor, ProcessorMixin):
        options = {"processor_kwargs": dict(chat.modality.settings), "return_dict": True, "return_tensors": "pt"}
        made = chat.processor.apply_chat_template(messages, tokenize=True, **options, **settings)
        return made["input_ids"][0].tolist()
    text = chat.processor.apply_chat_template(messages, tokenize=False, **settings)
    if example.medium is not None:
        media = chat.processor.encode([loaded])
        text = text.replace(chat.processor.mark, chat.processor.tokens(media))
    return chat.tokenizer(text, add_special_tokens=not text.startswith("<s>"))["input_ids"]


@pytest.mark.parametrize("in_template", [True, False], ids=["template", "tokenizer"])
@pytest.mark.parametrize("family", FAMILIES, ids=get_name)
def test_ids_are_those_of_transformers_in_training_synthesis_and_evaluation(family, in_template, media_folder):
    chat = Chat(make_processor(family, in_template), family, blank=get_size(family))
    (file,) = make_files(family.modality, media_folder, chat, 1)
    text = () if family.model_type in WRITES_ITS_OWN else (None,)  # that processor takes no text alone
    for medium in (file, BLANK, *text):
        asked = Example(question=QUESTION, medium=medium)
        prompt = encode_by_transformers(chat, asked, add_generation_prompt=True)
        assert chat.batch([asked], padding_side="left")["input_ids"][0].tolist() == prompt
        answered = Example(question=QUESTION, answer="Yes.", medium=medium)
        batch = Collator(chat, None, {}, []).collate([TrainingExample(answered)])
        if family.model_type not in WRITES_ITS_OWN:
            assert prompt.count(chat.tokenizer.bos_token_id) == 1
            assert batch["input_ids"][0].tolist() == encode_by_transformers(chat, answered)
        assert batch["labels"][0].tolist()[: len(prompt)] == [-100] * len(prompt)
        assert chat.tokenizer.decode(batch["input_ids"][0][len(prompt) :]).strip() == "Yes.</s>"
