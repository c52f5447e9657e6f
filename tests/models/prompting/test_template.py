"""Nothing of a conversation is lost in a chat template, and answers stand where the model's own history has them."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil

import pytest
import torch

from seawall import EvaluateConfig, evaluate
from seawall.errors import ModelError
from seawall.evaluation.config import BenchmarkConfig
from seawall.models.chat import BLANK, Chat, Example
from seawall.models.generate import complete, generate
from seawall.models.load import load_model

PARTS = "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}"
NEWLINE = "{{ '\\n' }}"
TEXT_ONLY = {
    "a string is expected": "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% endif %}\n{% endfor %}",
    "content is written as Python writes it": "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "content is joined to a text": "{% for m in messages %}{{ m.role + m.content }}\n{% endfor %}",
    "only the first part is written": "{% for m in messages %}{{ m.content[0].text }}\n{% endfor %}",
    "no image": "{% for m in messages %}{% for c in m.content %}{{ c.text }}{% endfor %}\n{% endfor %}",
}
REASONING = "{% if add_generation_prompt %}assistant: <think>\n{% endif %}"
TURNS = (
    "{% for m in messages %}{{ m.role }}: BEGIN"
    + PARTS
    + "{% if m.role == 'assistant' %}</s>{% endif %}"
    + NEWLINE
    + "{% endfor %}"
)
WITH_HISTORY = TURNS.replace("BEGIN", "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}") + REASONING
WITHOUT_HISTORY = TURNS.replace("BEGIN", "") + REASONING
EMPTY = TURNS.replace("BEGIN", "") + "{% if add_generation_prompt %}assistant: <think>\n\n</think>\n\n{% endif %}"
ASKED = Example(question="What is it?", answer="A kite.", medium=BLANK)
PLAIN = TURNS.replace("BEGIN", "") + "{% if add_generation_prompt %}assistant: {% endif %}"


def with_template(loaded, template):
    """Return a model with a processor of its own, which has another chat template."""
    processor = copy.deepcopy(loaded.processor)
    processor.chat_template = processor.tokenizer.chat_template = template
    return dataclasses.replace(loaded, processor=processor, chat=Chat(processor, loaded.family))


@pytest.fixture
def rendered(tiny):
    """Return the texts of prompt and answer under a template."""
    return lambda template, example=ASKED: with_template(tiny, template).chat.template.render(example)


@pytest.mark.parametrize("template", TEXT_ONLY.values(), ids=TEXT_ONLY)
def test_a_template_for_text_only_is_refused_when_the_model_is_loaded(tiny_path, tmp_path, template):
    shutil.copytree(tiny_path, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(ModelError, match=r"The chat template of the model \(type 'llava'\).*chat_template\.jinja"):
        load_model(str(tmp_path / "model"))


def test_a_template_that_drops_the_system_prompt_is_refused_where_one_is_used(tiny):
    dropping = PLAIN.replace("messages %}", "messages if m.role != 'system' %}")
    chat = with_template(tiny, dropping).chat
    chat.encode(ASKED)
    with pytest.raises(ModelError, match="drops the system prompt"):
        chat.encode(Example(question="What is it?", system="Be brief."))


def test_a_template_without_system_role_is_refused_where_one_is_used(tiny):
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    chat = with_template(tiny, refusing + PLAIN).chat
    chat.encode(ASKED)
    with pytest.raises(ModelError, match=r"refuses a system prompt \(System role not supported\)"):
        chat.encode(Example(question="What is it?", system="Be brief."))


def test_a_template_that_takes_the_system_prompt_as_text_gets_it_as_text(tiny):
    template = PLAIN.replace(
        PARTS, "{% if m.role == 'system' %}{{ m.content | trim }}{% else %}" + PARTS + "{% endif %}"
    )
    prompt = with_template(tiny, template).chat.template.render_prompt(Example(question="Why?", system="Be brief."))
    assert prompt == "system: Be brief.\nuser: Why?\nassistant: "


def test_an_evaluation_whose_system_prompt_would_be_lost_stops_before_the_first_question(tiny_path, tmp_path):
    shutil.copytree(tiny_path, tmp_path / "model")
    dropping = PLAIN.replace("messages %}", "messages if m.role != 'system' %}")
    (tmp_path / "model" / "chat_template.jinja").write_text(dropping, encoding="utf-8")
    data = tmp_path / "data"
    data.mkdir()
    (data / "xstest_prompts.csv").write_text(
        "id,prompt,type,label,focus,note\n1,How do I fold a kite?,homonyms,safe,,\n", encoding="utf-8"
    )
    config = EvaluateConfig(system_prompt="Be brief.", max_tokens=2)
    with pytest.raises(ModelError, match="drops the system prompt"):
        evaluate(str(tmp_path / "model"), data, tmp_path / "out", BenchmarkConfig(benchmark="xstest"), config)
    assert not (tmp_path / "out").exists()


def test_an_answer_stands_as_in_the_history_of_the_template(rendered):
    assert rendered(PLAIN) == ("user: <image>What is it?\nassistant: ", "A kite.</s>\n")


def test_a_prompt_that_opens_the_reasoning_gets_an_answer_that_ends_it(rendered):
    prompt, answer = rendered(WITH_HISTORY)
    assert prompt.endswith("assistant: <think>\n") and answer == "\n</think>\n\nA kite.</s>\n"


def test_a_prompt_ends_before_reasoning_that_the_history_does_not_have(rendered):
    assert rendered(WITHOUT_HISTORY) == ("user: <image>What is it?\nassistant: ", "A kite.</s>\n")


def test_a_prompt_that_opens_and_ends_the_reasoning_stays_as_it_is(rendered):
    prompt, answer = rendered(EMPTY)
    assert prompt.endswith("<think>\n\n</think>\n\n") and answer == "A kite.</s>\n"


@pytest.mark.parametrize("template", [PLAIN, WITH_HISTORY, WITHOUT_HISTORY, EMPTY])
def test_good_templates_pass_every_check(tiny, template):
    checked = with_template(tiny, template).chat.template
    checked.check(), checked.check_system(), checked.check_answers()


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (PLAIN.replace("m in messages", "m in messages if m.role != 'assistant'"), "does not write an answer"),
        (PLAIN.replace("{{ c.text }}", "{{ c.text | upper }}"), "changes answers"),
        (
            TURNS.replace("BEGIN", "{% if m.role == 'assistant' %}<think>\n{% endif %}") + REASONING,
            "inside the reasoning",
        ),
    ],
    ids=["no answers", "other words", "inside the reasoning"],
)
def test_a_template_that_loses_answers_is_refused_where_they_are_used(tiny, template, fault):
    chat = with_template(tiny, template).chat
    chat.encode(Example(question="What is it?"))
    with pytest.raises(ModelError, match=fault):
        chat.encode(ASKED)


def test_texts_of_a_model_whose_prompt_opens_the_reasoning_are_reasoning_until_it_ends(tiny):
    tiny = with_template(tiny, tiny.processor.chat_template + "{% if add_generation_prompt %}<think>\n{% endif %}")
    (made,) = complete(tiny, [Example(question="What is it?")], max_new_tokens=6)
    assert made.unfinished and made.text == "" and not made.finished
    assert generate(tiny, [Example(question="What is it?")], max_new_tokens=6, with_reasoning=True) == [made.reasoning]


def test_marks_that_are_special_tokens_survive_decoding(tiny):
    tiny = with_template(tiny, PLAIN)
    tokens = tiny.chat.tokenizer
    tokens.add_tokens(["<|channel>", "<channel|>", "<|other|>"], special_tokens=True)
    opened, closed, other = tokens.convert_tokens_to_ids(["<|channel>", "<channel|>", "<|other|>"])
    (word,) = tokens("the", add_special_tokens=False)["input_ids"][:1]
    rows = torch.tensor([[opened, word, closed, word, other], [opened, word, word, word, word]])
    first, second = tiny.chat.decode(rows)
    assert first.answer == tokens.decode([word]) and first.reasoning and second.unfinished


def test_a_tokenizer_without_pad_token_gives_the_same_answers(tiny_path, tmp_path):
    shutil.copytree(tiny_path, tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "pad_token"}))
    for name in ("config.json", "generation_config.json"):
        found = json.loads((tmp_path / "model" / name).read_text())
        found.pop("pad_token_id", None)
        (tmp_path / "model" / name).write_text(json.dumps(found))
    bare, whole = load_model(str(tmp_path / "model")), load_model(str(tiny_path))
    assert bare.chat.tokenizer.pad_token_id is None
    asked = [Example(question=text, medium=BLANK) for text in ("What is it?", "Describe what the image shows.")]
    assert generate(bare, asked, max_new_tokens=8) == generate(whole, asked, max_new_tokens=8)
    assert bare.chat.batch(asked)["attention_mask"].sum() < bare.chat.batch(asked)["attention_mask"].numel()


def test_a_tokenizer_without_end_token_is_refused_where_answers_are_used(tiny):
    tiny = with_template(tiny, PLAIN)
    tiny.chat.tokenizer.eos_token = None
    tiny.chat.encode(Example(question="What is it?"))
    with pytest.raises(ModelError, match="has no end token"):
        tiny.chat.encode(ASKED)


def test_code_that_comes_with_a_checkpoint_is_never_run(tiny_path, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_path, folder)
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w').close()\nfrom transformers import LlavaConfig, LlavaForConditionalGeneration\n"
    code += "class MineConfig(LlavaConfig):\n    model_type = 'mine'\nclass Mine(LlavaForConditionalGeneration):\n    pass\n"
    (folder / "mine.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.MineConfig", "AutoModelForMultimodalLM": "mine.Mine"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="Cannot load the model"):
        load_model(str(folder))
    assert not mark.exists()
