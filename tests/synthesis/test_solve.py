"""The work on one device: what happens to a record that is verified, unverified or without a finite loss."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sample_pairs import make_pair
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.models.memory import count_kept_bytes, get_free_bytes, halve_on_out_of_memory
from seawall.synthesis import solve as module
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import compute_losses
from seawall.synthesis.optimize import RETRY_FACTOR

CONFIG = SynthesizeConfig(start="blank", max_steps=4, threshold=1e9, attempts=2, threshold_retries=1)


def solve(loaded, monkeypatch, verdicts=None, records=1, starts=None, config=CONFIG):
    """Solve records. Verification returns `verdicts`, one after the other, if they are given."""
    if verdicts is not None:
        left = iter(verdicts)
        monkeypatch.setattr(module, "verify_embeddings", lambda _, __, pairs, **___: [next(left) for _ in pairs])
    starts = encode_media(loaded, [BLANK]) if starts is None else starts
    return list(module.solve(loaded, [make_pair(str(number)) for number in range(records)], starts, config))


@pytest.fixture
def three_starts(tiny):
    return encode_media(tiny, [BLANK]) + torch.arange(3.0)[:, None, None]


def test_a_verified_record_is_finished(tiny, monkeypatch):
    (task,) = solve(tiny, monkeypatch, [True])
    assert (task.verified, task.attempt, task.threshold_retries, task.steps) == ([True], 1, 0, 0)


def test_an_unverified_record_continues_with_a_lower_threshold(tiny, monkeypatch):
    (first,) = solve(tiny, monkeypatch, [True])
    config = SynthesizeConfig(start="blank", max_steps=4, threshold=first.curve[0] * 1.01)
    (task,) = solve(tiny, monkeypatch, [False, True], config=config)
    assert (task.verified, task.attempt, task.threshold_retries) == ([True], 1, 1)
    assert task.steps == len(task.curve) - 1 == 4  # 0.3 of the threshold is out of reach
    assert task.curve[-1] > config.threshold * RETRY_FACTOR and task.curve[0] == pytest.approx(first.curve[0])


def test_then_it_gets_another_attempt_and_finally_stays_unverified(tiny, monkeypatch):
    (task,) = solve(tiny, monkeypatch, [False] * 4)
    assert (task.verified, task.attempt, task.failed) == ([False], 2, "")
    (task,) = solve(tiny, monkeypatch, [False, False, True])
    assert (task.verified, task.attempt) == ([True], 2)


def test_a_record_without_a_finite_loss_gets_another_attempt_then_fails_alone(tiny, monkeypatch):
    choose = module.choose_starts

    def spoil(starts, number, seed):
        return choose(starts, number, seed) * (torch.nan if "/1/" in seed else 1)

    monkeypatch.setattr(module, "choose_starts", spoil)
    tasks = {task.record: task for task in solve(tiny, monkeypatch, [True, True], records=3)}
    assert tasks["1"].failed == "its loss became nan after 0 steps"
    assert tasks["1"].attempt == 2 and not tasks["1"].verified
    assert all(tasks[key].verified == [True] and not tasks[key].failed for key in ("0", "2"))


def test_finished_tasks_carry_no_optimiser(tiny, monkeypatch):
    assert all(task.shared_offset is None for task in solve(tiny, monkeypatch, [True] * 3, records=3))


@pytest.mark.parametrize("share_prefix", [True, False])
def test_the_organism_is_verified_with_and_without_a_shared_prefix(organism, monkeypatch, share_prefix):
    config = SynthesizeConfig(start="blank", share_prefix=share_prefix)
    tasks = solve(organism, monkeypatch, records=2, config=config)
    assert [task.verified for task in tasks] == [[True], [True]]


def test_a_model_that_cannot_share_a_prefix_is_logged_and_solved_without(tiny, monkeypatch, caplog):
    monkeypatch.setattr(module, "find_packing_obstacle", lambda *_: "it has recurrent layers")
    with caplog.at_level("INFO", logger="seawall"):
        (task,) = solve(tiny, monkeypatch, [True])
    assert task.verified == [True]
    assert "prefix sharing is off for this model: it has recurrent layers" in caplog.text


def test_the_threshold_is_lowered_if_a_copy_fails_and_another_attempt_made_only_if_all_fail(
    tiny, three_starts, monkeypatch
):
    config = dataclasses.replace(CONFIG, copies=2)
    (task,) = solve(tiny, monkeypatch, [True, False, False, True], starts=three_starts, config=config)
    assert (task.verified, task.attempt, task.threshold_retries) == ([False, True], 1, 1)
    (task,) = solve(tiny, monkeypatch, [False] * 4 + [True] * 2, starts=three_starts, config=config)
    assert (task.verified, task.attempt) == ([True, True], 2)


def test_copies_have_different_starts_and_there_are_at_most_as_many_copies_as_starts(tiny, three_starts):
    def make(copies, attempt):
        config = SynthesizeConfig(copies=copies)
        return module.new_task(make_pair(), tiny, three_starts, config, attempt)

    two = make(2, 1)
    assert len(two.content) == 2 and not torch.equal(*two.embeddings)
    assert torch.equal(two.embeddings, make(2, 1).embeddings)
    assert any(not torch.equal(two.embeddings, make(2, attempt).embeddings) for attempt in range(2, 8))
    assert len(make(9, 1).embeddings) == 3


def test_copies_have_their_own_content_questions_beside_the_first_one(tiny):
    starts, pair = encode_media(tiny, [BLANK]).repeat(6, 1, 1), make_pair()
    config = SynthesizeConfig(copies=6, content_questions=2)
    first, second = zip(*module.new_task(pair, tiny, starts, config, attempt=1).content, strict=True)
    assert {example.question for example in first} == {pair.content[0].question}
    assert len({example.question for example in second}) > 1


def test_without_pairs_nothing_is_made(tiny):
    assert list(module.solve(tiny, [], encode_media(tiny, [BLANK]), CONFIG)) == []


def test_a_block_gives_the_same_bytes_whatever_was_made_before_it(tiny):
    pairs = [make_pair(str(number)) for number in range(6)]
    starts = encode_media(tiny, [BLANK])
    config = SynthesizeConfig(start="blank", max_steps=6, threshold=0, attempts=1, threshold_retries=0, batch_size=2)
    first, last = (module.Block(pairs=part, batch_size=2) for part in (pairs[:3], pairs[3:]))
    solver = module.BlockSolver(tiny, starts, config, pairs[0])
    both = {task.record: task for task in solver.solve([first, last])}
    assert [task.block for task in both.values()] == ["0"] * 3 + ["3"] * 3
    for task in module.BlockSolver(tiny, starts, config, pairs[0]).solve([last]):
        assert torch.equal(task.embeddings, both[task.record].embeddings)
        assert task.curve == both[task.record].curve


def test_the_batch_is_sized_from_free_memory(tiny, monkeypatch):
    tiny.model.requires_grad_(False)
    task = module.new_task(make_pair(), tiny, encode_media(tiny, [BLANK]), CONFIG, attempt=1)
    batch = task.embeddings.repeat(3, 1, 1).requires_grad_()

    def count(number):
        return count_kept_bytes(lambda: compute_losses(tiny, batch[:number], task.controls * number, True), tiny.model)

    assert count(3) == pytest.approx(3 * count(1), rel=0.02)
    for free, expected in ((0, 1), (10 * count(1), 3), (1e15, module.MAX_BATCH_SIZE)):
        monkeypatch.setattr(module, "get_free_bytes", lambda _, free=free: free)
        assert module.estimate_batch_size(tiny, task, True) == expected
    assert 2**20 < get_free_bytes(torch.device("cpu")) < 2**50


def test_verification_is_halved_too(tiny):
    def work(size):
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return size

    assert halve_on_out_of_memory(work, 9) == 2
