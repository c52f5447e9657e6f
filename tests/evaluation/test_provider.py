"""The provider `seawall/`: what Inspect users type works, batches answer as single questions do, faults are said."""

from __future__ import annotations

import base64

import anyio
import pytest
from inspect_ai import Task
from inspect_ai import eval as evaluate_tasks
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.tool import ToolInfo

from seawall.evaluation import provider
from seawall.models.chat import Example
from seawall.models.generate import generate

QUESTIONS = ("What is this?", "Describe the image.", "Name the main colour.")


@pytest.fixture
def model(tiny_path):
    return get_model(f"seawall/{tiny_path}", memoize=False)


def uri(image):
    """A file as Inspect hands it to a model."""
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()


def prompt(question, image=None, system=None):
    shown = [ContentImage(image=uri(image))] if image else []
    asked = ChatMessageUser(content=[*shown, ContentText(text=question)])
    return [ChatMessageSystem(content=system), asked] if system else [asked]


def ask(model, prompts, **config):
    """Ask all prompts at once; return their outputs in order."""
    outputs = {}

    async def one(number):
        outputs[number] = await model.generate(prompts[number], config=GenerateConfig(max_tokens=8, **config))

    async def all_of_them():
        async with anyio.create_task_group() as group:
            for number in range(len(prompts)):
                group.start_soon(one, number)

    anyio.run(all_of_them)
    return [outputs[number] for number in range(len(prompts))]


def test_what_is_asked_at_once_is_answered_in_one_batch_as_one_by_one(model, tiny, images, monkeypatch):
    sizes, right = [], provider.answer
    monkeypatch.setattr(
        provider, "answer", lambda loaded, turns, **s: sizes.append(len(turns)) or right(loaded, turns, **s)
    )
    turns = [
        Example(question=q, medium=image, system=s)
        for q in QUESTIONS
        for image in (*images, None)
        for s in (None, "Be brief.")
    ]
    found = ask(model, [prompt(t.question, t.medium, t.system) for t in turns])
    assert sum(sizes) == 24 and len(sizes) < 8, "a busy machine may begin before all have come"
    alone = [generate(tiny, [turn], max_new_tokens=8)[0] for turn in turns]
    assert [output.completion for output in found] == alone
    assert all(output.usage.output_tokens <= 8 and output.usage.input_tokens > 0 for output in found)
    assert found[0].choices[0].stop_reason in ("stop", "max_tokens")
    assert found[0].metadata["decoding"]["do_sample"] is False and found[0].metadata["decoding"]["max_new_tokens"] == 8


def test_other_settings_are_batches_of_their_own(model, images, monkeypatch):
    sizes, right = [], provider.answer
    monkeypatch.setattr(
        provider, "answer", lambda loaded, turns, **s: sizes.append(len(turns)) or right(loaded, turns, **s)
    )
    ask(model, [prompt(q, images[0]) for q in QUESTIONS], max_connections=2)
    assert sorted(sizes) == [1, 2]


def test_a_broken_medium_fails_its_own_question(model, images, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[0].read_bytes()[:60])

    async def both():
        good, bad = [], []

        async def one(image, to):
            try:
                to.append((await model.generate(prompt("What is this?", image))).completion)
            except Exception as error:
                to.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(one, images[0], good)
            group.start_soon(one, broken, bad)
        return good[0], bad[0]

    good, bad = anyio.run(both)
    assert isinstance(good, str) and "is not a readable image" in str(bad)


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([ChatMessageSystem(content="Be brief.")], "one user message"),
        ([ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AAAA")] * 2)], "one medium"),
    ],
)
def test_prompts_that_do_not_fit_are_said(model, messages, fault):
    with pytest.raises(PrerequisiteError, match=fault):
        anyio.run(model.generate, messages)


def test_settings_that_would_be_ignored_are_refused(model):
    with pytest.raises(PrerequisiteError, match="do not heed stop_seqs"):
        ask_one(model, GenerateConfig(stop_seqs=["."]))
    tool = ToolInfo(name="look", description="Looks.")
    with pytest.raises(PrerequisiteError, match="no tools"):
        anyio.run(lambda: model.generate(prompt("What is this?"), tools=[tool]))


def ask_one(model, config):
    return anyio.run(lambda: model.generate(prompt("What is this?"), config=config))


def test_an_unknown_model_is_said(tmp_path):
    with pytest.raises(PrerequisiteError, match="Cannot load the model"):
        get_model(f"seawall/{tmp_path}", memoize=False)


def ask_about(image):
    return ChatMessageUser(content=[ContentImage(image=str(image)), ContentText(text="What does the image show?")])


def test_an_inspect_task_runs_on_the_organism_and_leaves_a_log(organism, images, tmp_path):
    samples = [Sample(id=n, input=[ask_about(image)], target="image") for n, image in enumerate(images)]
    (log,) = evaluate_tasks(
        Task(dataset=samples, scorer=includes()),
        model="seawall/organism:image",
        max_tokens=24,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success"
    read = read_eval_log(log.location)
    answers = [sample.output.completion for sample in read.samples]
    assert answers == generate(
        organism, [Example(question="What does the image show?", medium=image) for image in images], max_new_tokens=24
    )
