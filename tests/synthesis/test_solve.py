"""The policy: what happens to a record that is done, not verified, or not a number."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import torch

import seawall.synthesis.solve  # noqa: F401
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.models.memory import count_kept_bytes, free_bytes, halve_on_out_of_memory
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import losses
from seawall.synthesis.optimize import LOWERING

policy = sys.modules["seawall.synthesis.solve"]
CONFIG = SynthesizeConfig(start="blank", max_steps=4, threshold=1e9, starts=2, threshold_retries=1)


def pair(number):
    return {
        "id": str(number),
        "category": "activity",
        "phrase": "wash a car",
        "content": {"question": "What does the image show?", "answer": "The image shows the activity: wash a car."},
        "style": {"question": "What is the main colour of the image?", "answer": "The main colour is red."},
    }


def solve(loaded, monkeypatch, verdicts=None, records=1, starts=None, config=CONFIG):
    """Solve records with a verification that gives `verdicts`, one after the other."""
    if verdicts is not None:
        left = iter(verdicts)
        monkeypatch.setattr(policy, "verify", lambda _, embeddings, pairs, **__: [next(left) for _ in pairs])
    starts = encode_media(loaded, [BLANK]) if starts is None else starts
    return list(policy.solve(loaded, [(str(n), pair(n)) for n in range(records)], starts, config))


def test_what_is_verified_is_final(tiny, monkeypatch):
    (task,) = solve(tiny, monkeypatch, [True])
    assert (task.verified, task.starts, task.lowered, task.steps) == ([True], 1, 0, 0)


def test_what_is_not_goes_on_to_a_lower_threshold(tiny, monkeypatch):
    (first,) = solve(tiny, monkeypatch, [True])
    config = SynthesizeConfig(start="blank", max_steps=4, threshold=first.curve[0] * 1.01)
    (task,) = solve(tiny, monkeypatch, [False, True], config=config)
    assert (task.verified, task.starts, task.lowered) == ([True], 1, 1)
    assert task.steps == len(task.curve) - 1 == 4  # 0.3 of the threshold is out of reach
    assert task.curve[-1] > config.threshold * LOWERING and task.curve[0] == pytest.approx(first.curve[0])


def test_then_it_starts_again_and_then_it_is_given_up(tiny, monkeypatch):
    (task,) = solve(tiny, monkeypatch, [False] * 4)
    assert (task.verified, task.starts, task.failed) == ([False], 2, "")
    (task,) = solve(tiny, monkeypatch, [False, False, True])
    assert (task.verified, task.starts) == ([True], 2)


def test_a_record_without_a_finite_loss_gets_another_start_then_fails_alone(tiny, monkeypatch):
    right = policy.choose_starts
    spoilt = lambda starts, number, seed: right(starts, number, seed) * (torch.nan if "/1/" in seed[1:-1] else 1)  # noqa: E731
    monkeypatch.setattr(policy, "choose_starts", spoilt)
    tasks = {task.record: task for task in solve(tiny, monkeypatch, [True, True], records=3)}
    assert tasks["1"].failed == "its loss became nan after 0 steps"
    assert tasks["1"].starts == 2 and not tasks["1"].verified
    assert all(tasks[key].verified == [True] and not tasks[key].failed for key in ("0", "2"))


def test_finished_tasks_carry_no_optimiser(tiny, monkeypatch):
    assert all(task.stepper is None for task in solve(tiny, monkeypatch, [True] * 3, records=3))


def test_the_organism_is_verified_packed_or_not(organism, monkeypatch):
    for packing in (True, False):
        config = SynthesizeConfig(start="blank", packing=packing)
        tasks = solve(organism, monkeypatch, records=2, config=config)
        assert [task.verified for task in tasks] == [[True], [True]]


def test_while_a_copy_fails_it_goes_on_but_only_where_all_do_it_starts_again(tiny, monkeypatch):
    starts = encode_media(tiny, [BLANK]) + torch.arange(3.0)[:, None, None]
    config = dataclasses.replace(CONFIG, copies=2)
    (task,) = solve(tiny, monkeypatch, [True, False, False, True], starts=starts, config=config)
    assert (task.verified, task.starts, task.lowered) == ([False, True], 1, 1)
    (task,) = solve(tiny, monkeypatch, [False] * 4 + [True] * 2, starts=starts, config=config)
    assert (task.verified, task.starts) == ([True, True], 2)


def test_the_copies_have_different_starts_and_at_most_as_many_as_there_are(tiny):
    starts = encode_media(tiny, [BLANK]) + torch.arange(3.0)[:, None, None]
    make = lambda copies, attempt: policy.new_task("0", pair(0), tiny, starts, SynthesizeConfig(copies=copies), attempt)  # noqa: E731
    two = make(2, 1)
    assert len(two.turns) == 2 and not torch.equal(*two.embeddings)
    assert torch.equal(two.embeddings, make(2, 1).embeddings)
    assert any(not torch.equal(two.embeddings, make(2, attempt).embeddings) for attempt in range(2, 8))
    assert len(make(9, 1).embeddings) == 3


def test_the_copies_have_content_questions_of_their_own_beside_the_records(tiny):
    starts = encode_media(tiny, [BLANK]).repeat(6, 1, 1)
    config = SynthesizeConfig(copies=6, content_questions=2)
    first, second = zip(*policy.new_task("0", pair(0), tiny, starts, config, attempt=1).turns, strict=True)
    assert {turn.question for turn in first} == {"What does the image show?"}
    assert len({turn.question for turn in second}) > 1


def test_nothing_to_do(tiny):
    assert list(policy.solve(tiny, [], encode_media(tiny, [BLANK]), CONFIG)) == []


def test_the_batch_is_sized_from_free_memory(tiny, monkeypatch):
    tiny.model.requires_grad_(False)
    task = policy.new_task("0", pair(0), tiny, encode_media(tiny, [BLANK]), CONFIG, attempt=1)
    batch = task.embeddings.repeat(3, 1, 1).requires_grad_()
    of = lambda n: count_kept_bytes(lambda: losses(tiny, batch[:n], task.controls * n, True), tiny.model)  # noqa: E731
    assert of(3) == pytest.approx(3 * of(1), rel=0.02)
    for free, expected in ((0, 1), (10 * of(1), 3), (1e15, policy.MOST_AT_ONCE)):
        monkeypatch.setattr(policy, "free_bytes", lambda _, free=free: free)
        assert policy.fit_batch(tiny, task, True) == expected
    assert 2**20 < free_bytes(torch.device("cpu")) < 2**50


def test_verification_is_halved_too(tiny):
    def work(size):
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return size

    assert halve_on_out_of_memory(work, 9) == 2
