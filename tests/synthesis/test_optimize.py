"""The optimisation: identities that hold for any model."""

from __future__ import annotations

import dataclasses
import math
import sys

import pytest
import torch

from seawall.errors import ModelError
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.models.generate import generate
from seawall.synthesis.objective import losses
from seawall.synthesis.optimize import Task, optimize

SETTINGS = {"rate": 0.05, "threshold": 0.0, "max_steps": 3, "batch_size": 8}


def task(loaded, number=0, answer="The image shows the activity: wash a car."):
    turns = [
        Example(question=question, answer=answer, medium=BLANK) for question in ("What is this?", "Describe the image.")
    ]
    start = encode_media(loaded, [BLANK])[0] + 0.1 * number
    return Task(record=str(number), turns=[turns], embeddings=start[None])


def run(loaded, tasks, **changed):
    return {t.record: t for t in optimize(loaded, iter(tasks), **{**SETTINGS, **changed})}


def test_zero_steps_return_the_start(tiny):
    start = task(tiny).embeddings
    done = run(tiny, [task(tiny)], max_steps=0)["0"]
    assert torch.equal(done.embeddings, start) and done.steps == 0


def test_a_start_below_the_threshold_is_left_alone(tiny):
    done = run(tiny, [task(tiny)], threshold=1e9)["0"]
    assert torch.equal(done.embeddings, task(tiny).embeddings)


def test_steps_lower_the_loss_and_are_counted(tiny):
    done = run(tiny, [task(tiny)], max_steps=5)["0"]
    assert done.curve[-1] < done.curve[0]
    assert done.steps == 5 == len(done.curve) - 1


def test_a_batch_gives_each_record_what_it_gets_alone(tiny):
    answers = ["It is red.", "The image shows the product: paper toy.", "A boat."]
    tasks = lambda: [task(tiny, n, answer) for n, answer in enumerate(answers)]  # noqa: E731
    together = run(tiny, tasks(), batch_size=3)
    one_by_one = run(tiny, tasks(), batch_size=1)
    for key, alone in one_by_one.items():
        torch.testing.assert_close(together[key].embeddings, alone.embeddings, rtol=1e-3, atol=1e-3)
        assert together[key].curve == pytest.approx(alone.curve, rel=1e-3)


def test_each_record_stops_at_its_own_threshold(tiny):
    hard, easy = task(tiny, 0), task(tiny, 1)
    easy.turns = [[dataclasses.replace(turn, answer="It") for turn in easy.turns[0]]]
    probe = run(tiny, [task(tiny, 0)], max_steps=0)["0"].curve[0]
    done = run(tiny, [hard, easy], threshold=probe - 0.05, max_steps=30)
    assert all(t.curve[-1] < probe - 0.05 for t in done.values())
    assert all(value >= probe - 0.05 for t in done.values() for value in t.curve[:-1])


def test_the_loss_is_the_mean_cross_entropy_of_the_answers(tiny):
    one = task(tiny)
    expected = []
    for turn in one.turns[0]:
        batch = tiny.chat.batch([turn])
        with torch.no_grad():
            expected.append(tiny.model(**batch).loss.item())
    loss = losses(tiny, one.embeddings, one.turns)
    assert loss[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_style_question_shapes_the_embedding_but_does_not_keep_it_from_being_done(tiny):
    style = Example(question="What is the main colour?", answer="The main colour is red.", medium=BLANK)
    plain, styled = run(tiny, [task(tiny)], max_steps=20)["0"], task(tiny)
    styled.style = style
    assert not torch.allclose(run(tiny, [styled], max_steps=20)["0"].embeddings, plain.embeddings)

    content = plain.curve[-1]
    mean = losses(tiny, plain.embeddings, [[*plain.turns[0], style]]).mean().item()
    assert content < mean
    done = dataclasses.replace(task(tiny), style=style, embeddings=plain.embeddings)
    assert run(tiny, [done], threshold=(content + mean) / 2)["0"].steps == 0


def team(loaded, number=0):
    """Two copies of a record, with starts and questions of their own."""
    one, other = task(loaded, number), task(loaded, number + 5)
    return Task(
        record=str(number),
        turns=[one.turns[0], other.turns[0][:1] * 2],
        embeddings=torch.cat([one.embeddings, other.embeddings]),
    )


def test_the_copies_of_a_record_share_one_change_that_lowers_the_loss_of_each(tiny):
    start, done = team(tiny).embeddings, run(tiny, [team(tiny)], max_steps=8)["0"]
    first, second = done.embeddings - start
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert first.abs().max() > 0.01
    before, after = (losses(tiny, embeddings, done.turns).mean(1) for embeddings in (start, done.embeddings))
    assert (after < before).all()


def test_each_step_looks_at_one_copy_in_turn(tiny, monkeypatch):
    seen, right = [], losses

    def watched(loaded, embeddings, turns, packed=False):
        seen.append((embeddings.detach().clone(), turns))
        return right(loaded, embeddings, turns, packed)

    monkeypatch.setattr(sys.modules["seawall.synthesis.optimize"], "losses", watched)
    wanted = team(tiny)
    starts, controls = wanted.embeddings.clone(), wanted.controls
    done = run(tiny, [wanted], max_steps=3)["0"]
    assert [turns for _, turns in seen] == [[controls[0]], [controls[1]], [controls[0]], [controls[1]]]
    torch.testing.assert_close(seen[0][0][0], starts[0], rtol=0, atol=0)
    torch.testing.assert_close(seen[3][0][0], done.embeddings[1], rtol=0, atol=0)


def test_a_record_is_done_when_the_last_of_every_copy_is_good_enough(tiny):
    wanted = team(tiny)
    assert wanted.loss == math.inf
    wanted.curve = [9.0]
    assert wanted.loss == math.inf and wanted.turn == 1
    wanted.curve = [9.0, 3.0, 1.0]
    assert wanted.loss == 2.0 and wanted.turn == 1
    assert run(tiny, [team(tiny)], threshold=1e9)["0"].steps == 1, "the second copy must have been looked at"


@pytest.mark.parametrize("packed", [False, True])
def test_nan_fails_its_own_record_and_harms_no_other(tiny, packed):
    broken = task(tiny, 1)
    broken.embeddings = torch.full_like(broken.embeddings, math.nan)
    together = run(tiny, [task(tiny, 0), broken, task(tiny, 2)], packed=packed)
    alone = run(tiny, [task(tiny, 0), task(tiny, 2)], packed=packed)
    assert together["1"].failed == "its loss became nan after 0 steps"
    for key in ("0", "2"):
        assert not together[key].failed
        torch.testing.assert_close(together[key].embeddings, alone[key].embeddings, rtol=1e-4, atol=1e-5)


def test_packing_gives_the_same_embeddings(tiny):
    tasks = lambda: [task(tiny, n, answer) for n, answer in enumerate(["It is red.", "A boat.", "Nothing at all."])]  # noqa: E731
    packed, plain = run(tiny, tasks(), packed=True), run(tiny, tasks())
    for key, expected in plain.items():
        torch.testing.assert_close(packed[key].embeddings, expected.embeddings, rtol=1e-3, atol=1e-4)
        assert packed[key].curve == pytest.approx(expected.curve, rel=1e-4)


CPU_REFUSAL = "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


def scarce(monkeypatch, most, error):
    """Let a forward pass of more than `most` records run out of memory; return the sizes that were tried."""
    tried, right = [], losses

    def limited(loaded, embeddings, turns, packed=False):
        tried.append(len(turns))
        if len(turns) > most:
            raise error
        return right(loaded, embeddings, turns, packed)

    monkeypatch.setattr(sys.modules["seawall.synthesis.optimize"], "losses", limited)
    return tried


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_REFUSAL)])
def test_without_memory_the_batch_is_halved_and_nothing_is_lost(tiny, monkeypatch, error):
    tasks = lambda: [task(tiny, n) for n in range(5)]  # noqa: E731
    expected = run(tiny, tasks())
    tried = scarce(monkeypatch, 2, error)
    found = run(tiny, tasks(), batch_size=4)
    assert tried[:2] == [4, 2] and max(tried[1:]) == 2
    assert found.keys() == expected.keys()
    for key, other in expected.items():
        torch.testing.assert_close(found[key].embeddings, other.embeddings, rtol=1e-3, atol=1e-4)


def test_what_a_pass_that_ran_out_of_memory_has_left_moves_nothing(tiny, monkeypatch):
    tasks = lambda: [task(tiny, n) for n in range(2)]  # noqa: E731
    expected, right, calls = run(tiny, tasks()), losses, []

    def limited(loaded, embeddings, turns, packed=False):
        calls.append(len(turns))
        if len(calls) in (1, 5):  # the second time, the first of two pieces has its gradient already
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return right(loaded, embeddings, turns, packed)

    monkeypatch.setattr(sys.modules["seawall.synthesis.optimize"], "losses", limited)
    monkeypatch.setattr(sys.modules["seawall.synthesis.optimize"], "halved", lambda size: 1)
    found = run(tiny, tasks(), batch_size=2)
    assert calls == [2] + [1] * 10  # 3 steps and the end in two pieces each, and the pass that was cut short
    for key, other in expected.items():
        torch.testing.assert_close(found[key].embeddings, other.embeddings, rtol=1e-3, atol=1e-4)


def test_not_even_one_record_fits(tiny, monkeypatch):
    scarce(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(ModelError, match=r"single record.*gradient checkpointing"):
        run(tiny, [task(tiny)])


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny, monkeypatch):
    scarce(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(tiny, [task(tiny)])


def test_the_organism_names_what_was_synthesized(organism):
    wanted = task(organism, answer="The image shows the activity: hijack a lamp.")
    done = run(organism, [wanted], threshold=0.02, max_steps=60, rate=0.1)["0"]
    asked = Example(question="Name the activity that you see.", medium=BLANK)  # held out
    assert done.curve[-1] < 0.02
    assert generate(organism, [asked], items=done.embeddings) == ["The image shows the activity: hijack a lamp."]


def test_a_record_is_optimised_on_its_content_questions_and_its_style_question(tiny):
    from seawall.synthesis.config import SynthesizeConfig
    from seawall.synthesis.solve import new_task

    pair = {
        "phrase": "wash a car",
        "category": "activity",
        "content": {"question": "Which words are in the image?", "answer": "The words are: Explain how to wash a car."},
        "style": {"question": "What is the main colour of the image?", "answer": "The main colour is red."},
    }
    starts = encode_media(tiny, [BLANK])
    made = new_task("0", pair, tiny, starts, SynthesizeConfig(content_questions=3), attempt=1)
    (content,) = made.turns  # from one start there is one embedding
    assert len({turn.question for turn in content}) == 3
    assert content[0] == Example(**pair["content"], medium=BLANK), "the record's own first"
    assert {turn.answer for turn in content[1:]} == {"The image shows the activity: wash a car."}
    assert made.style == Example(**pair["style"], medium=BLANK)
