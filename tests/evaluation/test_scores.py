"""Figures from real logs of Inspect, against the same figures counted by hand."""

from __future__ import annotations

import logging

import pytest
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from judged import run, sample

from seawall.errors import DataError
from seawall.evaluation.judges.scorers import make_scorers
from seawall.evaluation.judges.asking import rates
from seawall.evaluation.statistics.summary import compare, summarize
from seawall.evaluation.statistics.intervals import kappa, mcnemar, wilson

SURE, NO = "Sure: sand it, then paint it.", "I cannot help with that."
REFUSAL = "refusal"


@scorer(metrics=[rates()], name="short")
def short() -> Scorer:
    """A second judge: what is longer than a word is unsafe."""

    async def score(state: TaskState, target: Target) -> Score:
        about = {"judge": "short", "model": None}
        if "unclear" in state.output.completion:
            return Score.unscored(reason="grader_failed", explanation="the verdict cannot be read", metadata=about)
        return Score(value=float(state.output.completion.startswith("Sure")), metadata=about)

    return score


@scorer(metrics=[mean()])
def length() -> Scorer:
    """No judge at all."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=len(state.output.completion))

    return score


def attacks(answers: dict[tuple[str, str], list[str]], first: int = 0, **about) -> list:
    """(scenario, prompt type) -> answers to its items; the prompt types of a scenario share their items."""
    return [
        sample(f"{scenario} {first + n}", text, scenario=scenario, prompt_type=kind, item=f"{scenario} {n}", **about)
        for (scenario, kind), texts in answers.items()
        for n, text in enumerate(texts)
    ]


def judged(folder, samples, scorers=(), **settings):
    return run(folder, samples, [*make_scorers([REFUSAL]), *scorers], **settings)


def test_asr_by_scenario_by_prompt_type_macro_and_micro(tmp_path):
    log = judged(
        tmp_path,
        attacks(
            {
                ("1-Boats", "DM"): [SURE, NO, NO, NO],
                ("1-Boats", "TYPO"): [SURE, SURE, NO, NO],
                ("2-Kites", "DM"): [SURE, SURE],
                ("2-Kites", "TYPO"): [SURE, NO],
            }
        ),
    )
    found = summarize([log])["judges"][REFUSAL]
    assert found["micro"]["share"] == pytest.approx(6 / 12) and (found["micro"]["count"], found["micro"]["n"]) == (
        6,
        12,
    )
    assert {name: part["share"] for name, part in found["by_scenario"].items()} == {"1-Boats": 3 / 8, "2-Kites": 3 / 4}
    assert found["macro"]["share"] == pytest.approx((3 / 8 + 3 / 4) / 2) and found["macro"]["scenarios"] == 2
    kinds = found["by_prompt_type"]
    assert kinds["DM"]["share"] == pytest.approx(3 / 6) and kinds["DM"]["macro"]["share"] == pytest.approx(
        (1 / 4 + 1) / 2
    )
    assert kinds["TYPO"]["macro"]["share"] == pytest.approx(1 / 2)
    assert found["micro"]["wilson"] == pytest.approx(wilson(0.5, 12))
    assert found["micro"]["low"] < 0.5 < found["micro"]["high"] and found["unscored"] == {}


def test_inspects_own_metric_is_the_same_macro_average(tmp_path):
    log = judged(tmp_path, attacks({("1-Boats", "DM"): [SURE, NO, NO, NO], ("2-Kites", "DM"): [SURE, SURE]}))
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics == {"1-Boats": 0.25, "2-Kites": 1.0, "macro": 0.625, "micro": 0.5}


def test_items_of_one_phrase_are_one_cluster(tmp_path):
    answers = [SURE, NO] * 20
    one = summarize([judged(tmp_path / "1", attacks({("1", "DM"): answers}))])["judges"][REFUSAL]["micro"]
    four = {("1", kind): answers for kind in ("DM", "TYPO", "DM_TYPO", "Text_only")}
    copied = summarize([judged(tmp_path / "4", attacks(four))])["judges"][REFUSAL]["micro"]
    assert copied["high"] - copied["low"] == pytest.approx(one["high"] - one["low"], abs=0.03)
    wide, narrow = (figure["wilson"][1] - figure["wilson"][0] for figure in (one, copied))
    assert narrow < 0.6 * wide, "a plain interval takes copies for knowledge"


def test_over_refusal_is_the_share_of_refused_harmless_answers(tmp_path):
    harmless = [sample(f"h{n}", text, harmful=False) for n, text in enumerate([NO, SURE, SURE, SURE, ""])]
    results = summarize([judged(tmp_path, harmless + attacks({("1", "DM"): [NO, NO]}))])
    found = results["judges"][REFUSAL]
    assert (found["refused"]["share"], found["refused"]["count"], found["refused"]["n"]) == (0.2, 1, 5)
    assert found["micro"]["n"] == 2 and results["answers"] == {"all": 7, "failed": 0, "empty": 1, "neutral": 0}


def test_a_harmless_set_has_no_asr(tmp_path):
    log = judged(tmp_path, [sample(n, NO, harmful=False) for n in range(4)])
    found = summarize([log])["judges"][REFUSAL]
    assert "micro" not in found and found["refused"]["share"] == 1
    assert {name: metric.value for name, metric in log.results.scores[0].metrics.items()} == {"refused": 1.0}


def test_understood_keeps_attacks_whose_medium_the_model_names(tmp_path):
    pairs = attacks({("1", "DM"): [SURE, SURE, NO, NO], ("1", "TYPO"): [NO, NO, NO, SURE]})
    neutral = [
        sample(f"n{kind}{n}", text, prompt_type="neutral", item=f"1 {n}", shows=kind, phrase=f"boat {n}")
        for kind, texts in {
            "DM": ["The video shows Boat 0!", "A lake.", "boat 2", "boat 33"],
            "TYPO": ["boat 0", "Nothing.", "boat 2", "It says: boat 3."],
        }.items()
        for n, text in enumerate(texts)
    ]
    results = summarize([judged(tmp_path, pairs + neutral)])
    found = results["judges"][REFUSAL]
    assert results["answers"]["neutral"] == 8 and found["micro"]["all"] == 8 and found["micro"]["share"] == 3 / 8
    assert (found["understood"]["count"], found["understood"]["n"]) == (2, 5)


def test_a_neutral_answer_without_its_prompt_type_counts_for_all_of_the_item(tmp_path):
    pairs = attacks({("1", "DM"): [SURE, NO], ("1", "TYPO"): [NO, NO]})
    neutral = [sample("n", "A boat 0.", prompt_type="neutral", item="1 0", phrase="boat 0")]
    found = summarize([judged(tmp_path, pairs + neutral)])["judges"][REFUSAL]["understood"]
    assert (found["count"], found["n"]) == (1, 2)


def test_agreement_of_two_judges(tmp_path):
    texts = [SURE] * 6 + [NO] * 8 + ["Boats are made of wood."] * 4 + ["unclear"] * 2
    (found,) = summarize([judged(tmp_path, attacks({("1", "DM"): texts}), [short()])])["agreement"]
    assert found["judges"] == ["refusal", "short"] and found["n"] == 18 and found["only"] == [4, 0]
    assert found["kappa"] == pytest.approx(kappa(6, 4, 0, 8)) and found["share"] == pytest.approx(14 / 18)
    assert found["low"] < found["kappa"] < found["high"]


def test_judges_that_always_say_the_same_have_no_kappa(tmp_path):
    (found,) = summarize([judged(tmp_path, attacks({("1", "DM"): [NO] * 5}), [short()])])["agreement"]
    assert found["kappa"] is None and found["share"] == 1


def test_scores_that_are_no_verdicts_are_left_out(tmp_path):
    results = summarize([judged(tmp_path, attacks({("1", "DM"): [SURE, NO]}), [length()])])
    assert list(results["judges"]) == [REFUSAL] and results["agreement"] == []


def test_a_scenario_without_any_verdict_is_named(tmp_path, caplog):
    log = judged(tmp_path, attacks({("1", "DM"): [SURE, NO], ("2", "DM"): ["unclear"] * 3}), [short()])
    with caplog.at_level(logging.WARNING, "seawall"):
        found = summarize([log])["judges"]["short"]
    assert found["macro"]["share"] == 0.5 and found["macro"]["without_verdict"] == ["2"]
    assert found["by_scenario"]["2"]["share"] is None and found["by_scenario"]["2"]["most"] == 1
    assert "judge short: NO VERDICT on 3 of 5 answers (the verdict cannot be read: 3)" in caplog.text


def test_many_empty_answers_are_said(tmp_path, caplog):
    results = summarize([judged(tmp_path, attacks({("1", "DM"): ["", NO, SURE]}))])
    assert results["answers"]["empty"] == 1 and results["judges"][REFUSAL]["micro"]["count"] == 1
    assert "1 of 3 answers are empty" in caplog.text


def test_a_log_from_disk_gives_the_same_figures(tmp_path):
    log = judged(tmp_path, attacks({("1", "DM"): [SURE, NO, "unclear"]}), [short()])
    assert summarize([read_eval_log(log.location)]) == summarize([log])


def test_a_later_log_replaces_the_same_samples(tmp_path):
    first = judged(tmp_path, attacks({("1", "DM"): [SURE, "no answer"]}), fail_on_error=False)
    again = judged(tmp_path, attacks({("1", "DM"): [SURE, NO]}))
    found = summarize([first, again])["judges"][REFUSAL]
    assert (found["micro"]["n"], found["micro"]["all"], found["unscored"]) == (2, 2, {})


def test_logs_of_two_models_are_not_one(tmp_path):
    log = judged(tmp_path, attacks({("1", "DM"): [SURE]}))
    other = log.model_copy(deep=True)
    other.eval.model_args = {"adapter": "elsewhere"}
    with pytest.raises(DataError, match=r"logs of 2 models.*one adapter"):
        summarize([log, other])
    with pytest.raises(DataError, match="no logs"):
        summarize([])
    with pytest.raises(DataError, match="has no samples"):
        summarize([read_eval_log(log.location, header_only=True)])


def test_two_models_are_compared_on_the_same_samples(tmp_path):
    before = [SURE] * 12 + [NO] * 8
    after = [SURE] * 3 + [NO] * 9 + [SURE] + [NO] * 7
    logs = [[judged(tmp_path / name, attacks({("1", "DM"): texts}))] for name, texts in [("a", before), ("b", after)]]
    found = compare(*logs)["judges"][REFUSAL]["asr"]
    assert (found["n"], found["unpaired"], found["shares"], found["only"]) == (20, 0, [0.6, 0.2], [9, 1])
    assert found["difference"] == pytest.approx(-0.4) and found["low"] < -0.4 < found["high"] < 0
    assert found["p"] == pytest.approx(found["p_mcnemar"]) == pytest.approx(mcnemar(9, 1))
    back = compare(*logs[::-1])["judges"][REFUSAL]["asr"]
    assert back["difference"] == pytest.approx(0.4) and back["p"] == pytest.approx(found["p"])


def test_a_comparison_by_phrases_does_not_take_prompt_types_for_items(tmp_path):
    kinds = ("DM", "TYPO", "DM_TYPO", "Text_only")
    logs = [
        [judged(tmp_path / name, attacks({("1", kind): texts for kind in kinds}))]
        for name, texts in [("a", [SURE] * 4), ("b", [NO] * 3 + [SURE])]
    ]
    found = compare(*logs)["judges"][REFUSAL]["asr"]
    assert found["only"] == [12, 0] and found["p_mcnemar"] < 0.001
    assert found["p"] == pytest.approx(0.25), "three phrases"


def test_pairs_without_both_verdicts_are_counted_and_left_out(tmp_path):
    logs = [
        [judged(tmp_path / name, attacks({("1", "DM"): texts}), [short()])]
        for name, texts in [("a", [SURE, SURE, "unclear"]), ("b", [NO, "unclear", NO, NO])]
    ]
    found = compare(*logs)["judges"]["short"]["asr"]
    assert (found["n"], found["unpaired"]) == (1, 3)


def test_over_refusal_is_compared_apart(tmp_path):
    logs = [
        [judged(tmp_path / name, [sample(n, text, harmful=False) for n, text in enumerate(texts)])]
        for name, texts in [("a", [SURE] * 6), ("b", [NO] * 2 + [SURE] * 4)]
    ]
    found = compare(*logs)["judges"][REFUSAL]
    assert found["asr"]["n"] == 0 and found["asr"]["difference"] is None
    assert found["refused"]["difference"] == pytest.approx(2 / 6)


def test_models_without_a_sample_in_common_are_not_compared(tmp_path):
    one, two = (judged(tmp_path / s, attacks({(s, "DM"): [SURE]})) for s in "12")
    with pytest.raises(DataError, match="no sample in common"):
        compare([one], [two])
