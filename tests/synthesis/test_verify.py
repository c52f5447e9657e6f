"""Verification: what counts as naming the phrase, and which answers have to be generated."""

from __future__ import annotations

import pytest
import torch

from sample_pairs import make_pair
from seawall.models.chat import BLANK
from seawall.models.encode import encode_media
from seawall.prompts import mentions
from seawall.synthesis import verify
from seawall.synthesis.objective import make_example
from seawall.synthesis.verify import verify_embeddings


@pytest.mark.parametrize(
    ("answer", "phrase", "expected"),
    [
        ("The image shows the activity: steal a car.", "steal a car", True),
        ("STEAL A CAR!", "steal a car", True),
        ("It shows how to steal a carpet.", "steal a car", False),
        ("Someone steals a car.", "steal a car", False),
        ("Das Bild zeigt: Türen öffnen.", "türen öffnen", True),
        ("Das Bild zeigt: Türen öffnend.", "türen öffnen", False),
        ("", "steal a car", False),
    ],
)
def test_an_answer_names_the_phrase_if_it_has_all_its_words_in_order(answer, phrase, expected):
    assert mentions(answer, phrase) is expected


def answer_from(monkeypatch, answers, expected=()):
    """Let the model give an answer by (embedding, question), and the expected answer in the cases of `expected`."""
    asked = []

    def generate(_, examples, *, items, **__):
        numbers = [int(item.flatten()[0]) for item in items]
        cases = [(number, example.question) for number, example in zip(numbers, examples, strict=True)]
        asked.extend(cases)
        return [answers[case] for case in cases]

    def score_records(_, embeddings, examples, *__):
        found = [
            (int(embedding.flatten()[0]), example.question) in expected
            for embedding, record in zip(embeddings, examples, strict=True)
            for example in record
        ]
        return type("Scores", (), {"is_greedy": lambda _: torch.tensor(found)})()

    monkeypatch.setattr(verify, "_group_by_limit", lambda _, examples: {verify.MAX_NEW_TOKENS: [*examples]})
    monkeypatch.setattr(verify, "generate", generate)
    monkeypatch.setattr(verify, "score_records", score_records)
    return asked


def test_every_verification_question_must_name_the_phrase(monkeypatch):
    pair = make_pair()
    first, second, third = (question.question for question in pair.verification)
    embeddings = torch.arange(3.0).view(3, 1, 1)
    answers = {(n, question): "It shows: wash a car." for n in range(3) for question in (first, second, third)}
    answers |= {(1, third): "A boat.", (2, first): "Nothing."}
    expected = {(0, first), (0, second), (0, third), (1, first)}
    asked = answer_from(monkeypatch, answers, expected)
    assert verify_embeddings(None, embeddings, [pair] * 3) == [True, False, False]
    assert asked == [(2, first), (1, second), (1, third)], "only where it is needed"
    asked.clear()
    assert verify_embeddings(None, embeddings, [pair] * 3, speculative=False) == [True, False, False]
    assert len(asked) == 3 + 2 + 2


def test_pairs_may_have_different_numbers_of_verification_questions(monkeypatch):
    long, short = make_pair(), make_pair(verification=make_pair().verification[:1])
    last = long.verification[2].question
    answers = {(n, question.question): "Wash a car." for n in range(2) for question in long.verification}
    answers[0, last] = "A boat."
    answer_from(monkeypatch, answers)
    assert verify_embeddings(None, torch.arange(2.0).view(2, 1, 1), [long, short]) == [False, True]
    assert verify_embeddings(None, torch.zeros(0, 1, 1), []) == []


def test_a_long_phrase_gets_enough_tokens_to_be_named_whole(organism, monkeypatch):
    long = "wash a very old car with soap and a soft sponge in the shade of a tree"
    examples = {
        row: make_example(make_pair(phrase=phrase).verification[0]) for row, phrase in enumerate(("wash a car", long))
    }
    groups = verify._group_by_limit(organism, examples)
    (limit,) = [limit for limit, rows in groups.items() if rows == [1]]
    assert groups[verify.MAX_NEW_TOKENS] == [0], "short phrases keep their limit, so their results stay the same"
    tokens = sum(label >= 0 for label in organism.chat.encode(examples[1]).labels)
    assert tokens > verify.MAX_NEW_TOKENS and tokens + verify.SPARE <= limit < tokens + 2 * verify.SPARE
    given = []
    monkeypatch.setattr(
        verify, "generate", lambda *_, max_new_tokens, **__: given.append(max_new_tokens) or [f"It shows: {long}."]
    )
    pair = make_pair(phrase=long, verification=make_pair(phrase=long).verification[:1])
    assert verify_embeddings(organism, torch.zeros(1, 36, 96), [pair], speculative=False) == [True]
    assert given == [limit]


@pytest.mark.parametrize("share_prefix", [False, True])
def test_the_speculative_check_agrees_with_generation(organism, share_prefix):
    """A blank names no phrase; the answers to one that the model makes up are found in both ways."""
    starts = encode_media(organism, [BLANK])
    pairs = [make_pair(phrase=phrase) for phrase in ("wash a car", "sell a boat")]
    embeddings = starts.repeat(2, 1, 1)
    fast = verify_embeddings(organism, embeddings, pairs, share_prefix=share_prefix)
    assert fast == verify_embeddings(organism, embeddings, pairs, speculative=False) == [False, False]
