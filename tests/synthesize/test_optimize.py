"""The optimisation: identities that hold for any model."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from seawall.errors import TrainingError
from seawall.models.chat import BLANK, Turn
from seawall.models.generate import generate
from seawall.synthesize.objective import losses
from seawall.synthesize.optimize import Task, optimize
from seawall.synthesize.warmstart import encode_media

SETTINGS = {"rate": 0.05, "threshold": 0.0, "max_steps": 3, "batch_size": 8}


def task(loaded, number=0, answer="The image shows the activity: wash a car."):
    turns = [
        Turn(question=question, answer=answer, medium=BLANK) for question in ("What is this?", "Describe the image.")
    ]
    start = encode_media(loaded, [BLANK])[0] + 0.1 * number
    return Task(key=f"{number}#0", turns=turns, embedding=start)


def run(loaded, tasks, **changed):
    return {t.key: t for t in optimize(loaded, iter(tasks), **{**SETTINGS, **changed})}


def test_zero_steps_return_the_start(tiny):
    start = task(tiny).embedding
    done = run(tiny, [task(tiny)], max_steps=0)["0#0"]
    assert torch.equal(done.embedding, start) and done.steps == 0


def test_a_start_below_the_threshold_is_left_alone(tiny):
    done = run(tiny, [task(tiny)], threshold=1e9)["0#0"]
    assert torch.equal(done.embedding, task(tiny).embedding)


def test_steps_lower_the_loss_and_are_counted(tiny):
    done = run(tiny, [task(tiny)], max_steps=5)["0#0"]
    assert done.curve[-1] < done.curve[0]
    assert done.steps == 5 == len(done.curve) - 1


def test_a_batch_gives_each_record_what_it_gets_alone(tiny):
    answers = ["It is red.", "The image shows the product: paper toy.", "A boat."]
    tasks = lambda: [task(tiny, n, answer) for n, answer in enumerate(answers)]  # noqa: E731
    together = run(tiny, tasks(), batch_size=3)
    one_by_one = run(tiny, tasks(), batch_size=1)
    for key, alone in one_by_one.items():
        torch.testing.assert_close(together[key].embedding, alone.embedding, rtol=1e-3, atol=1e-3)
        assert together[key].curve == pytest.approx(alone.curve, rel=1e-3)


def test_each_record_stops_at_its_own_threshold(tiny):
    hard, easy = task(tiny, 0), task(tiny, 1)
    easy.turns = [dataclasses.replace(turn, answer="It") for turn in easy.turns]
    probe = run(tiny, [task(tiny, 0)], max_steps=0)["0#0"].curve[0]
    done = run(tiny, [hard, easy], threshold=probe - 0.05, max_steps=30)
    assert all(t.curve[-1] < probe - 0.05 for t in done.values())
    assert all(value >= probe - 0.05 for t in done.values() for value in t.curve[:-1])


def test_the_loss_is_the_mean_cross_entropy_of_the_answers(tiny):
    one = task(tiny)
    expected = []
    for turn in one.turns:
        batch = tiny.chat.batch([turn])
        with torch.no_grad():
            expected.append(tiny.model(**batch).loss.item())
    loss = losses(tiny, one.embedding[None], [one.turns])
    assert loss[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_style_question_shapes_the_embedding_but_does_not_keep_it_from_being_done(tiny):
    style = Turn(question="What is the main colour?", answer="The main colour is red.", medium=BLANK)
    plain, styled = run(tiny, [task(tiny)], max_steps=20)["0#0"], task(tiny)
    styled.style = style
    assert not torch.allclose(run(tiny, [styled], max_steps=20)["0#0"].embedding, plain.embedding)

    content = plain.curve[-1]
    mean = losses(tiny, plain.embedding[None], [[*plain.turns, style]]).mean().item()
    assert content < mean
    done = dataclasses.replace(task(tiny), style=style, embedding=plain.embedding)
    assert run(tiny, [done], threshold=(content + mean) / 2)["0#0"].steps == 0


def test_nan_is_reported_and_what_was_done_before_is_kept(tiny):
    broken = task(tiny, 1)
    broken.embedding = torch.full_like(broken.embedding, math.nan)
    stream = optimize(tiny, iter([task(tiny, 0), broken]), **{**SETTINGS, "batch_size": 1})
    assert next(stream).key == "0#0"
    with pytest.raises(TrainingError, match=r"1#0.*nan"):
        next(stream)


def test_the_organism_names_what_was_synthesized(organism):
    wanted = task(organism, answer="The image shows the activity: hijack a lamp.")
    done = run(organism, [wanted], threshold=0.02, max_steps=60, rate=0.1)["0#0"]
    asked = Turn(question="Name the activity that you see.", medium=BLANK)  # held out
    assert done.curve[-1] < 0.02
    assert generate(organism, [asked], items=done.embedding[None]) == ["The image shows the activity: hijack a lamp."]


def test_a_record_is_optimised_on_its_content_questions_and_its_style_question(tiny):
    from seawall.synthesize import SynthesizeConfig
    from seawall.synthesize.solve import new_task

    pair = {
        "category": "activity",
        "content": {"question": "What does the image show?", "answer": "The image shows the activity: wash a car."},
        "style": {"question": "What is the main colour of the image?", "answer": "The main colour is red."},
    }
    starts = encode_media(tiny, [BLANK])
    made = new_task("0#0", pair, tiny, starts, SynthesizeConfig(content_questions=3), attempt=1)
    assert len({turn.question for turn in made.turns}) == 3
    assert {turn.answer for turn in made.turns} == {"The image shows the activity: wash a car."}
    assert made.style == Turn(**pair["style"], medium=BLANK)
