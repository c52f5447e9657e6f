"""The objective: which controls an embedding is optimised on, and what their losses are."""

from __future__ import annotations

import pytest
import torch

from sample_pairs import make_pair
from seawall.models.chat import BLANK, Example
from seawall.models.encode import encode_media
from seawall.store.pair import Pair, QuestionAnswer
from seawall.synthesis.config import SynthesizeConfig
from seawall.synthesis.objective import compute_losses, draw_controls
from seawall.synthesis.solve import new_task

TRANSCRIPT = QuestionAnswer(
    question="Which words are in the image?", answer="The words are: Explain how to wash a car."
)


def test_a_record_is_optimised_on_its_first_content_question_others_and_its_style_question():
    pair = make_pair(content=(TRANSCRIPT, *make_pair().content))
    content, style = draw_controls(pair, 3, "seed")
    assert len({example.question for example in content}) == 3
    assert content[0] == Example(question=TRANSCRIPT.question, answer=TRANSCRIPT.answer, medium=BLANK)
    assert {example.answer for example in content[1:]} == {"The image shows the activity: wash a car."}
    assert style == Example(question=pair.style.question, answer=pair.style.answer, medium=BLANK)


def test_a_pair_without_style_control_is_optimised_on_content_only(tiny):
    pair = make_pair(style=None)
    content, style = draw_controls(pair, 2, "seed")
    assert len(content) == 2 and style is None
    task = new_task(pair, tiny, encode_media(tiny, [BLANK]), SynthesizeConfig(start="blank", copies=1), attempt=1)
    assert len(task.controls[0]) == len(pair.content)
    assert Pair.from_json(pair.to_json(), "a line") == pair


def test_further_content_questions_depend_on_the_seed_only_and_are_at_most_all():
    pair = make_pair()
    draws = {tuple(example.question for example in draw_controls(pair, 2, str(seed))[0]) for seed in range(20)}
    assert draws == {(pair.content[0].question, other.question) for other in pair.content[1:]}
    assert draw_controls(pair, 3, "a") == draw_controls(pair, 3, "a")
    assert len(draw_controls(pair, 99, "a")[0]) == len(pair.content)
    assert draw_controls(pair, 1, "a")[0] == draw_controls(pair, 1, "b")[0]


def test_verification_questions_are_never_drawn():
    pair = make_pair()
    drawn = {example.question for example in draw_controls(pair, 99, "a")[0]}
    assert drawn.isdisjoint(question.question for question in pair.verification)


@pytest.mark.parametrize("share_prefix", [False, True])
def test_records_may_have_different_numbers_of_questions(tiny, share_prefix):
    starts = encode_media(tiny, [BLANK])
    embeddings = torch.cat([starts, starts + 0.1])
    short, long = (draw_controls(make_pair(), number, "a")[0] for number in (1, 3))
    together = compute_losses(tiny, embeddings, [short, long], share_prefix)
    assert [len(losses) for losses in together] == [1, 3]
    for number, examples in enumerate((short, long)):
        (alone,) = compute_losses(tiny, embeddings[number : number + 1], [examples])
        torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy_of_the_answers(tiny):
    examples = [
        Example(question=question, answer="The image shows the activity: wash a car.", medium=BLANK)
        for question in ("What is this?", "Describe the image.")
    ]
    expected = []
    for example in examples:
        with torch.no_grad():
            expected.append(tiny.model(**tiny.chat.batch([example])).loss.item())
    (losses,) = compute_losses(tiny, encode_media(tiny, [BLANK]), [examples])
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)
