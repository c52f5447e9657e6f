"""The provider `seawall/`: batches give the answers of single questions, and what cannot work is refused."""

from __future__ import annotations

import base64

import anyio
import pytest
from inspect_ai import Task
from inspect_ai import eval as evaluate_tasks
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.tool import ToolInfo

from seawall.compat import prerequisite_error
from seawall.evaluation import provider
from seawall.models.chat import Example
from seawall.models.generate import generate

PrerequisiteError = prerequisite_error()
QUESTIONS = ("What is this?", "Describe the image.", "Name the main colour.")


@pytest.fixture
def model(tiny_path):
    return get_model(f"seawall/{tiny_path}", memoize=False)


def uri(image):
    """Return a file as Inspect passes it to a model."""
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()


def prompt(question, image=None, system=None):
    shown = [ContentImage(image=uri(image))] if image else []
    asked = ChatMessageUser(content=[*shown, ContentText(text=question)])
    return [ChatMessageSystem(content=system), asked] if system else [asked]


def ask(model, prompts, **config):
    """Ask all prompts at once and return their outputs in order."""
    outputs = {}

    async def one(number):
        outputs[number] = await model.generate(prompts[number], config=GenerateConfig(max_tokens=8, **config))

    async def all_of_them():
        async with anyio.create_task_group() as group:
            for number in range(len(prompts)):
                group.start_soon(one, number)

    anyio.run(all_of_them)
    return [outputs[number] for number in range(len(prompts))]


def record_batches(monkeypatch):
    """Return a list that gets the size of each batch."""
    sizes, generate_batch = [], provider.generate_batch

    def recording(loaded, examples, **settings):
        sizes.append(len(examples))
        return generate_batch(loaded, examples, **settings)

    monkeypatch.setattr(provider, "generate_batch", recording)
    return sizes


def test_concurrent_questions_are_answered_in_batches_as_one_by_one(model, tiny, images, monkeypatch):
    sizes = record_batches(monkeypatch)
    examples = [
        Example(question=q, medium=image, system=s)
        for q in QUESTIONS
        for image in (*images, None)
        for s in (None, "Be brief.")
    ]
    found = ask(model, [prompt(e.question, e.medium, e.system) for e in examples])
    assert sum(sizes) == 24 and len(sizes) < 8, "on a loaded machine a batch may start before all requests have arrived"
    alone = [generate(tiny, [example], max_new_tokens=8)[0] for example in examples]
    assert [output.completion for output in found] == alone
    assert all(output.usage.output_tokens <= 8 and output.usage.input_tokens > 0 for output in found)
    assert found[0].choices[0].stop_reason in ("stop", "max_tokens")
    assert found[0].metadata["decoding"]["do_sample"] is False and found[0].metadata["decoding"]["max_new_tokens"] == 8


def test_max_connections_is_the_batch_size(model, images, monkeypatch):
    sizes = record_batches(monkeypatch)
    ask(model, [prompt(q, images[0]) for q in QUESTIONS], max_connections=2)
    assert sorted(sizes) == [1, 2]


def test_a_broken_medium_fails_its_own_question_only(model, images, tmp_path):
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
def test_unsupported_prompts_are_refused(model, messages, fault):
    with pytest.raises(PrerequisiteError, match=fault):
        anyio.run(model.generate, messages)


def test_settings_without_effect_are_refused(model):
    with pytest.raises(PrerequisiteError, match="do not support stop_seqs"):
        ask_one(model, GenerateConfig(stop_seqs=["."]))
    tool = ToolInfo(name="look", description="Looks.")
    with pytest.raises(PrerequisiteError, match="no tools"):
        anyio.run(lambda: model.generate(prompt("What is this?"), tools=[tool]))


def ask_one(model, config):
    return anyio.run(lambda: model.generate(prompt("What is this?"), config=config))


def test_an_unknown_model_is_an_error(tmp_path):
    with pytest.raises(PrerequisiteError, match="Cannot load the model"):
        get_model(f"seawall/{tmp_path}", memoize=False)


def ask_about(image):
    return ChatMessageUser(content=[ContentImage(image=str(image)), ContentText(text="What does the image show?")])


def test_an_inspect_task_runs_on_a_built_in_model_and_leaves_a_log(organism, images, tmp_path):
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
