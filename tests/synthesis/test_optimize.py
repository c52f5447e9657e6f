"""The optimiser: identities that hold for any model."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from seawall.errors import ModelError
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.generate import generate
from seawall.synthesis import optimize as module
from seawall.synthesis.objective import compute_losses
from seawall.synthesis.optimize import Task, optimize

SETTINGS = {"learning_rate": 0.05, "threshold": 0.0, "max_steps": 3, "batch_size": 8}
QUESTIONS = ("What is this?", "Describe the image.")


def make_task(loaded, number=0, answer="The image shows the activity: wash a car."):
    examples = [Example(question=question, answer=answer, medium=BLANK) for question in QUESTIONS]
    start = encode_media(loaded, [BLANK])[0] + 0.1 * number
    return Task(record=str(number), content=[examples], embeddings=start[None])


def make_two_copies(loaded, number=0):
    """A record with two copies, each with its own starting point and questions."""
    one, other = make_task(loaded, number), make_task(loaded, number + 5)
    return Task(
        record=str(number),
        content=[one.content[0], other.content[0][:1] * 2],
        embeddings=torch.cat([one.embeddings, other.embeddings]),
    )


def run(loaded, tasks, **changed):
    return {task.record: task for task in optimize(loaded, iter(tasks), **{**SETTINGS, **changed})}


def test_zero_steps_return_the_start(tiny):
    start = make_task(tiny).embeddings
    done = run(tiny, [make_task(tiny)], max_steps=0)["0"]
    assert torch.equal(done.embeddings, start) and done.steps == 0


def test_a_start_below_the_threshold_is_not_changed(tiny):
    done = run(tiny, [make_task(tiny)], threshold=1e9)["0"]
    assert torch.equal(done.embeddings, make_task(tiny).embeddings)


def test_steps_lower_the_loss_and_are_counted(tiny):
    done = run(tiny, [make_task(tiny)], max_steps=5)["0"]
    assert done.curve[-1] < done.curve[0]
    assert done.steps == 5 == len(done.curve) - 1


def test_each_record_gets_the_same_result_in_a_batch_as_alone(tiny):
    answers = ["It is red.", "The image shows the product: paper toy.", "A boat."]
    tasks = lambda: [make_task(tiny, n, answer) for n, answer in enumerate(answers)]  # noqa: E731
    together = run(tiny, tasks(), batch_size=3)
    one_by_one = run(tiny, tasks(), batch_size=1)
    for key, alone in one_by_one.items():
        torch.testing.assert_close(together[key].embeddings, alone.embeddings, rtol=1e-3, atol=1e-3)
        assert together[key].curve == pytest.approx(alone.curve, rel=1e-3)


def test_each_record_stops_at_its_own_threshold(tiny):
    hard, easy = make_task(tiny, 0), make_task(tiny, 1)
    easy.content = [[dataclasses.replace(example, answer="It") for example in easy.content[0]]]
    probe = run(tiny, [make_task(tiny, 0)], max_steps=0)["0"].curve[0]
    done = run(tiny, [hard, easy], threshold=probe - 0.05, max_steps=30)
    assert all(task.curve[-1] < probe - 0.05 for task in done.values())
    assert all(value >= probe - 0.05 for task in done.values() for value in task.curve[:-1])


def test_the_style_question_changes_the_embedding_but_does_not_count_for_the_threshold(tiny):
    style = Example(question="What is the main colour?", answer="The main colour is red.", medium=BLANK)
    plain, styled = run(tiny, [make_task(tiny)], max_steps=20)["0"], make_task(tiny)
    styled.style = style
    assert not torch.allclose(run(tiny, [styled], max_steps=20)["0"].embeddings, plain.embeddings)

    content = plain.curve[-1]
    mean = compute_losses(tiny, plain.embeddings, [[*plain.content[0], style]])[0].mean().item()
    assert content < mean
    done = dataclasses.replace(make_task(tiny), style=style, embeddings=plain.embeddings)
    assert run(tiny, [done], threshold=(content + mean) / 2)["0"].steps == 0


def test_the_copies_of_a_record_share_one_offset_that_lowers_the_loss_of_each(tiny):
    start, done = make_two_copies(tiny).embeddings, run(tiny, [make_two_copies(tiny)], max_steps=8)["0"]
    first, second = done.embeddings - start
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert first.abs().max() > 0.01
    before, after = (
        [losses.mean() for losses in compute_losses(tiny, embeddings, done.content)]
        for embeddings in (start, done.embeddings)
    )
    assert all(late < early for early, late in zip(before, after, strict=True))


def watch_losses(monkeypatch):
    """Return a list that receives the embeddings and examples of every forward pass."""
    seen = []

    def watched(loaded, embeddings, examples, share_prefix=False):
        seen.append((embeddings.detach().clone(), examples))
        return compute_losses(loaded, embeddings, examples, share_prefix)

    monkeypatch.setattr(module, "compute_losses", watched)
    return seen


def test_each_step_uses_one_copy_in_turn(tiny, monkeypatch):
    seen, task = watch_losses(monkeypatch), make_two_copies(tiny)
    starts, controls = task.embeddings.clone(), task.controls
    done = run(tiny, [task], max_steps=3)["0"]
    assert [examples for _, examples in seen] == [[controls[0]], [controls[1]], [controls[0]], [controls[1]]]
    torch.testing.assert_close(seen[0][0][0], starts[0], rtol=0, atol=0)
    torch.testing.assert_close(seen[3][0][0], done.embeddings[1], rtol=0, atol=0)


def test_a_record_is_done_when_the_latest_losses_of_all_copies_are_low_enough(tiny):
    task = make_two_copies(tiny)
    assert task.loss == math.inf
    task.curve = [9.0]
    assert task.loss == math.inf and task.next_copy == 1
    task.curve = [9.0, 3.0, 1.0]
    assert task.loss == 2.0 and task.next_copy == 1
    assert run(tiny, [make_two_copies(tiny)], threshold=1e9)["0"].steps == 1, "the second copy must be used once"


@pytest.mark.parametrize("share_prefix", [False, True])
def test_nan_fails_its_own_record_only(tiny, share_prefix):
    broken = make_task(tiny, 1)
    broken.embeddings = torch.full_like(broken.embeddings, math.nan)
    together = run(tiny, [make_task(tiny, 0), broken, make_task(tiny, 2)], share_prefix=share_prefix)
    alone = run(tiny, [make_task(tiny, 0), make_task(tiny, 2)], share_prefix=share_prefix)
    assert together["1"].failed == "its loss became nan after 0 steps"
    for key in ("0", "2"):
        assert not together[key].failed
        torch.testing.assert_close(together[key].embeddings, alone[key].embeddings, rtol=1e-4, atol=1e-5)


def test_a_shared_prefix_gives_the_same_embeddings(tiny):
    answers = ["It is red.", "A boat.", "Nothing at all."]
    tasks = lambda: [make_task(tiny, n, answer) for n, answer in enumerate(answers)]  # noqa: E731
    shared, plain = run(tiny, tasks(), share_prefix=True), run(tiny, tasks())
    for key, expected in plain.items():
        torch.testing.assert_close(shared[key].embeddings, expected.embeddings, rtol=1e-3, atol=1e-4)
        assert shared[key].curve == pytest.approx(expected.curve, rel=1e-4)


def test_activation_checkpointing_gives_the_same_embeddings(tiny):
    plain = run(tiny, [make_task(tiny)])["0"]
    recomputed = run(tiny, [make_task(tiny)], activation_checkpointing=True)["0"]
    torch.testing.assert_close(recomputed.embeddings, plain.embeddings, rtol=1e-4, atol=1e-5)


CPU_REFUSAL = "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


def limit_memory(monkeypatch, most, error):
    """Raise an error in forward passes of more than `most` records. Return the list of sizes that are tried."""
    tried = []

    def limited(loaded, embeddings, examples, share_prefix=False):
        tried.append(len(examples))
        if len(examples) > most:
            raise error
        return compute_losses(loaded, embeddings, examples, share_prefix)

    monkeypatch.setattr(module, "compute_losses", limited)
    return tried


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_REFUSAL)])
def test_when_memory_runs_out_the_batch_is_halved_and_nothing_is_lost(tiny, monkeypatch, error):
    tasks = lambda: [make_task(tiny, n) for n in range(5)]  # noqa: E731
    expected = run(tiny, tasks())
    tried = limit_memory(monkeypatch, 2, error)
    found = run(tiny, tasks(), batch_size=4)
    assert tried[:2] == [4, 2] and max(tried[1:]) == 2
    assert found.keys() == expected.keys()
    for key, other in expected.items():
        torch.testing.assert_close(found[key].embeddings, other.embeddings, rtol=1e-3, atol=1e-4)


def test_gradients_of_a_pass_that_ran_out_of_memory_are_dropped(tiny, monkeypatch):
    tasks = lambda: [make_task(tiny, n) for n in range(2)]  # noqa: E731
    expected, calls = run(tiny, tasks()), []

    def limited(loaded, embeddings, examples, share_prefix=False):
        calls.append(len(examples))
        if len(calls) in (1, 5):  # in call 5 the first of two parts already has its gradient
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute_losses(loaded, embeddings, examples, share_prefix)

    monkeypatch.setattr(module, "compute_losses", limited)
    monkeypatch.setattr(module, "halve_batch_size", lambda size: 1)
    found = run(tiny, tasks(), batch_size=2)
    assert calls == [2] + [1] * 10  # 3 steps and the end in two parts each, and the pass that failed
    for key, other in expected.items():
        torch.testing.assert_close(found[key].embeddings, other.embeddings, rtol=1e-3, atol=1e-4)


def test_a_single_record_that_does_not_fit_is_an_error(tiny, monkeypatch):
    limit_memory(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(ModelError, match=r"single record.*gradient checkpointing"):
        run(tiny, [make_task(tiny)])


def test_other_errors_are_not_treated_as_out_of_memory(tiny, monkeypatch):
    limit_memory(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(tiny, [make_task(tiny)])


def test_the_organism_names_what_was_synthesized(organism):
    task = make_task(organism, answer="The image shows the activity: hijack a lamp.")
    done = run(organism, [task], threshold=0.02, max_steps=60, learning_rate=0.1)["0"]
    held_out = Example(question="Name the activity that you see.", medium=BLANK)
    assert done.curve[-1] < 0.02
    assert generate(organism, [held_out], items=done.embeddings) == ["The image shows the activity: hijack a lamp."]
