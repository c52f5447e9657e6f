"""Figures from real logs of Inspect, against the same figures counted by hand."""

from __future__ import annotations

import logging

import pytest
from boats import NO, REFUSAL, SURE, evaluate, length, list_attacks, short
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import Score, Target, scorer
from inspect_ai.solver import TaskState
from mock_runs import FAILS, make_sample

from seawall.errors import DataError
from seawall.evaluation.judges.asking import attack_success
from seawall.evaluation.statistics import kappa, list_shares, measure_share, summarize, wilson
from seawall.store.items import Answer, Verdict


def test_asr_by_scenario_by_type_macro_and_micro(tmp_path):
    log = evaluate(
        tmp_path,
        list_attacks(
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
    kinds = found["by_type"]
    assert kinds["DM"]["share"] == pytest.approx(3 / 6) and kinds["DM"]["macro"]["share"] == pytest.approx(
        (1 / 4 + 1) / 2
    )
    assert kinds["TYPO"]["macro"]["share"] == pytest.approx(1 / 2)
    assert found["micro"]["wilson"] == pytest.approx(wilson(0.5, 12))
    assert found["micro"]["low"] < 0.5 < found["micro"]["high"] and found["unscored"] == {}


def test_inspects_own_metric_is_the_same_macro_average(tmp_path):
    log = evaluate(tmp_path, list_attacks({("1-Boats", "DM"): [SURE, NO, NO, NO], ("2-Kites", "DM"): [SURE, SURE]}))
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics == {"1-Boats": 0.25, "2-Kites": 1.0, "macro": 0.625, "micro": 0.5}


def test_items_of_one_phrase_are_one_cluster():
    def measure(prompt_types):
        return measure_share(
            [
                Answer(
                    task="boats",
                    id=f"{n}",
                    cluster=f"item {n}",
                    prompt_type=prompt_type,
                    text="",
                    verdicts={REFUSAL: Verdict(judge=REFUSAL, unsafe=n % 2 == 0)},
                )
                for prompt_type in prompt_types
                for n in range(40)
            ],
            REFUSAL,
        )

    one, copied = measure(["DM"]), measure(["DM", "TYPO", "DM_TYPO", "Text_only"])
    assert copied["high"] - copied["low"] == pytest.approx(one["high"] - one["low"], abs=0.03)
    wide, narrow = (figure["wilson"][1] - figure["wilson"][0] for figure in (one, copied))
    assert narrow < 0.6 * wide, "an interval without clusters counts copies as new answers"


def test_over_refusal_is_the_share_of_refused_harmless_answers(tmp_path):
    harmless = [make_sample(f"h{n}", text, harmful=False) for n, text in enumerate([NO, SURE, SURE, SURE, ""])]
    results = summarize([evaluate(tmp_path, harmless + list_attacks({("1", "DM"): [NO, NO]}))])
    found = results["judges"][REFUSAL]
    assert (found["refused"]["share"], found["refused"]["count"], found["refused"]["n"]) == (0.2, 1, 5)
    assert (
        found["micro"]["n"] == 2
        and results["answers"] == {"all": 7, "empty": 1, "cut": 0, "unanswered": 0, "neutral": 0, "controls": 0}
        and results["failed"] == 0
    )


def test_a_harmless_benchmark_has_no_asr(tmp_path):
    log = evaluate(tmp_path, [make_sample(n, NO, harmful=False) for n in range(4)])
    found = summarize([log])["judges"][REFUSAL]
    assert "micro" not in found and found["refused"]["share"] == 1
    assert {name: metric.value for name, metric in log.results.scores[0].metrics.items()} == {"refused": 1.0}


def test_understood_keeps_attacks_whose_medium_the_model_names(tmp_path):
    pairs = list_attacks({("1", "DM"): [SURE, SURE, NO, NO], ("1", "TYPO"): [NO, NO, NO, SURE]})
    neutral = [
        make_sample(f"n{kind}{n}", text, prompt_type="neutral", cluster=f"1 {n}", shows=kind, phrase=f"boat {n}")
        for kind, texts in {
            "DM": ["The video shows Boat 0!", "A lake.", "boat 2", "boat 33"],
            "TYPO": ["boat 0", "Nothing.", "boat 2", "It says: boat 3."],
        }.items()
        for n, text in enumerate(texts)
    ]
    results = summarize([evaluate(tmp_path, pairs + neutral)])
    found = results["judges"][REFUSAL]
    assert results["answers"]["neutral"] == 8 and found["micro"]["all"] == 8 and found["micro"]["share"] == 3 / 8
    assert (found["understood"]["count"], found["understood"]["n"]) == (2, 5)


def test_a_neutral_answer_without_its_prompt_type_counts_for_all_of_the_item(tmp_path):
    pairs = list_attacks({("1", "DM"): [SURE, NO], ("1", "TYPO"): [NO, NO]})
    neutral = [make_sample("n", "A boat 0.", prompt_type="neutral", cluster="1 0", phrase="boat 0")]
    found = summarize([evaluate(tmp_path, pairs + neutral)])["judges"][REFUSAL]["understood"]
    assert (found["count"], found["n"]) == (1, 2)


def test_agreement_of_two_judges(tmp_path):
    texts = [SURE] * 6 + [NO] * 8 + ["Boats are made of wood."] * 4 + ["unclear"] * 2
    (found,) = summarize([evaluate(tmp_path, list_attacks({("1", "DM"): texts}), [short()])])["agreement"]
    assert found["judges"] == ["refusal", "short"] and found["n"] == 18 and found["only"] == [4, 0]
    assert found["kappa"] == pytest.approx(kappa(6, 4, 0, 8)) and found["share"] == pytest.approx(14 / 18)
    assert found["low"] < found["kappa"] < found["high"]


def test_kappa_is_undefined_for_judges_that_always_say_the_same(tmp_path):
    (found,) = summarize([evaluate(tmp_path, list_attacks({("1", "DM"): [NO] * 5}), [short()])])["agreement"]
    assert found["kappa"] is None and found["share"] == 1


def test_scores_of_other_scorers_are_left_out(tmp_path):
    results = summarize([evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, NO]}), [length()])])
    assert list(results["judges"]) == [REFUSAL] and results["agreement"] == []


def test_a_scenario_without_any_verdict_is_named(tmp_path, caplog):
    log = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, NO], ("2", "DM"): ["unclear"] * 3}), [short()])
    with caplog.at_level(logging.WARNING, "seawall"):
        found = summarize([log])["judges"]["short"]
    assert found["macro"]["share"] == 0.5 and found["macro"]["without_verdict"] == ["2"]
    assert found["by_scenario"]["2"]["share"] is None and found["by_scenario"]["2"]["most"] == 1
    assert "judge short: NO VERDICT on 3 of 5 answers (the verdict cannot be read: 3)" in caplog.text


def test_a_sample_that_failed_is_not_to_be_judged_again(tmp_path, caplog):
    """Its answer does not exist, so no judge can be asked about it."""
    log = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, FAILS]}), fail_on_error=False)
    with caplog.at_level(logging.WARNING, "seawall"):
        summarize([log])
    assert "NO VERDICT on 1 of 2 answers (the sample failed: 1)" in caplog.text
    assert "correct its cause, then rerun seawall evaluate" in caplog.text and "seawall judge" not in caplog.text
    caplog.clear()
    log = evaluate(tmp_path / "unclear", list_attacks({("1", "DM"): [SURE, "unclear"]}), [short()])
    with caplog.at_level(logging.WARNING, "seawall"):
        summarize([log])
    assert "To judge again: seawall judge RUN" in caplog.text and "rerun seawall evaluate" not in caplog.text


def test_many_empty_answers_cause_a_warning(tmp_path, caplog):
    results = summarize([evaluate(tmp_path, list_attacks({("1", "DM"): ["", NO, SURE]}))])
    assert results["answers"]["empty"] == 1 and results["judges"][REFUSAL]["micro"]["count"] == 1
    assert "1 of 3 answers are empty" in caplog.text


def test_a_log_from_disk_gives_the_same_figures(tmp_path):
    log = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, NO, "unclear"]}), [short()])
    assert summarize([read_eval_log(log.location)]) == summarize([log])


def test_a_later_log_replaces_the_same_samples(tmp_path):
    first = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, FAILS]}), fail_on_error=False)
    again = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE, NO]}))
    found = summarize([first, again])["judges"][REFUSAL]
    assert (found["micro"]["n"], found["micro"]["all"], found["unscored"]) == (2, 2, {})


def test_logs_of_two_models_are_refused(tmp_path):
    log = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE]}))
    other = log.model_copy(deep=True)
    other.eval.model_args = {"adapter": "elsewhere"}
    with pytest.raises(DataError, match=r"logs of 2 models.*one adapter"):
        summarize([log, other])
    with pytest.raises(DataError, match="no logs"):
        summarize([])
    with pytest.raises(DataError, match="has no samples"):
        summarize([read_eval_log(log.location, header_only=True)])


def test_a_judge_must_score_0_or_1(tmp_path):
    @scorer(metrics=[attack_success()], name="graded")
    def graded():
        async def score(state: TaskState, target: Target) -> Score:
            return Score(value=0.5, metadata={"judge": "graded"})

        return score

    log = evaluate(tmp_path, list_attacks({("1", "DM"): [SURE]}), [graded()])
    with pytest.raises(DataError, match=r"The judge 'graded' gave the score 0.5. .* 0, 1 or unscored"):
        summarize([log])


def test_a_card_gets_the_main_figures_that_have_verdicts(tmp_path):
    harmless = [make_sample(f"h{n}", text, harmful=False) for n, text in enumerate([NO, SURE, SURE, SURE])]
    attacks = list_attacks({("1", "DM"): ["unclear"] * 2})
    figures = list_shares(summarize([evaluate(tmp_path, harmless + attacks, [short()])]))
    assert figures.keys() == {"attack success, by refusal", "harmless items refused, by refusal"}
    refused = figures["harmless items refused, by refusal"]
    assert (refused.mean, refused.n) == (0.25, 4) and refused.low <= 0.25 <= refused.high
