"""Paired comparisons of two models, from real logs of Inspect."""

from __future__ import annotations

import pytest
from boats import NO, REFUSAL, SURE, evaluate, list_attacks, short
from mock_runs import make_sample

from seawall.errors import DataError
from seawall.evaluation.statistics import compare, mcnemar


def test_two_models_are_compared_on_the_same_samples(tmp_path):
    before = [SURE] * 12 + [NO] * 8
    after = [SURE] * 3 + [NO] * 9 + [SURE] + [NO] * 7
    logs = [
        [evaluate(tmp_path / name, list_attacks({("1", "DM"): texts}))] for name, texts in [("a", before), ("b", after)]
    ]
    found = compare(*logs)["judges"][REFUSAL]["asr"]
    assert (found["n"], found["unpaired"], found["shares"], found["only"]) == (20, 0, [0.6, 0.2], [9, 1])
    assert found["difference"] == pytest.approx(-0.4) and found["low"] < -0.4 < found["high"] < 0
    assert found["p"] == pytest.approx(found["p_mcnemar"]) == pytest.approx(mcnemar(9, 1))
    back = compare(*logs[::-1])["judges"][REFUSAL]["asr"]
    assert back["difference"] == pytest.approx(0.4) and back["p"] == pytest.approx(found["p"])


def test_prompt_types_of_one_phrase_are_not_independent_pairs(tmp_path):
    kinds = ("DM", "TYPO", "DM_TYPO", "Text_only")
    logs = [
        [evaluate(tmp_path / name, list_attacks({("1", kind): texts for kind in kinds}))]
        for name, texts in [("a", [SURE] * 4), ("b", [NO] * 3 + [SURE])]
    ]
    found = compare(*logs)["judges"][REFUSAL]["asr"]
    assert found["only"] == [12, 0] and found["p_mcnemar"] < 0.001
    assert found["p"] == pytest.approx(0.25), "three phrases"


def test_pairs_without_both_verdicts_are_counted_and_left_out(tmp_path):
    logs = [
        [evaluate(tmp_path / name, list_attacks({("1", "DM"): texts}), [short()])]
        for name, texts in [("a", [SURE, SURE, "unclear"]), ("b", [NO, "unclear", NO, NO])]
    ]
    found = compare(*logs)["judges"]["short"]["asr"]
    assert (found["n"], found["unpaired"]) == (1, 3)


def test_over_refusal_is_compared_separately(tmp_path):
    logs = [
        [evaluate(tmp_path / name, [make_sample(n, text, harmful=False) for n, text in enumerate(texts)])]
        for name, texts in [("a", [SURE] * 6), ("b", [NO] * 2 + [SURE] * 4)]
    ]
    found = compare(*logs)["judges"][REFUSAL]
    assert found["asr"]["n"] == 0 and found["asr"]["difference"] is None
    assert found["refused"]["difference"] == pytest.approx(2 / 6)


def test_models_without_a_common_sample_are_refused(tmp_path):
    one, two = (evaluate(tmp_path / s, list_attacks({(s, "DM"): [SURE]})) for s in "12")
    with pytest.raises(DataError, match="no sample in common"):
        compare([one], [two])
