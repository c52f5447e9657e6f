"""Textbook values, and identities between the tests."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from seawall.evaluation.statistics import (
    difference_interval,
    interval,
    kappa,
    kappa_interval,
    macro_interval,
    mcnemar,
    sign_test,
)


def test_kappa_has_its_textbook_values():
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert kappa(45, 15, 25, 15) == pytest.approx(0.1304, abs=1e-4)
    assert kappa(25, 35, 5, 35) == pytest.approx(0.2593, abs=1e-4)
    assert kappa(10, 0, 0, 10) == 1 and kappa(0, 10, 10, 0) == -1
    assert math.isnan(kappa(10, 0, 0, 0))


def test_the_interval_of_kappa_respects_clusters():
    a = np.array([1, 1, 0, 0, 1, 0, 1, 1] * 5, dtype=float)
    b = np.array([1, 1, 0, 0, 0, 0, 1, 0] * 5, dtype=float)
    once = kappa_interval(a, b, [str(i) for i in range(40)])
    assert once[0] < kappa(15, 10, 0, 15) < once[1]
    copies = kappa_interval(np.repeat(a, 4), np.repeat(b, 4), [str(i // 4) for i in range(160)])
    assert copies == pytest.approx(once, abs=0.02)
    alone = kappa_interval(np.repeat(a, 4), np.repeat(b, 4), [str(i) for i in range(160)])
    assert alone[1] - alone[0] < 0.6 * (once[1] - once[0])
    assert kappa_interval(np.ones(9), np.ones(9), [str(i) for i in range(9)]) is None


def test_mcnemar_has_its_known_values():
    assert mcnemar(0, 0) == 1 and mcnemar(5, 5) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(2, 10) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert mcnemar(59, 6) == mcnemar(6, 59) < 1e-10


def test_the_sign_test_counts_all_flips():
    differences = [3, -1, 2, 2, 0, 1]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=6)
    ]
    assert sign_test(differences) == pytest.approx(np.mean([s >= 7 for s in sums]))


def test_pairs_of_one_cluster_count_once():
    assert sign_test([1] * 8) == pytest.approx(2 / 256) == pytest.approx(mcnemar(8, 0))
    assert sign_test([4, 4]) == pytest.approx(0.5)


def test_the_interval_of_a_difference_is_symmetric():
    differences = np.array([1, 0, 0, -1, 0, 1, 1, 0, 0, 0] * 6, dtype=float)
    names = [str(i) for i in range(60)]
    low, high = difference_interval(differences, names)
    assert low < 0.1 + 0.1 < high and low > -0.1
    assert difference_interval(-differences, names) == pytest.approx((-high, -low), abs=0.02)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0, -0.0713, 0.0713), (1, 1 - 2 * 0.0713, 1), (-1, -1, 2 * 0.0713 - 1)]
)
def test_equal_pairs_still_have_an_interval(value, low, high):
    found = difference_interval(np.full(50, float(value)), [str(i) for i in range(50)])
    assert found == pytest.approx((low, high), abs=1e-3)


def test_the_macro_interval_weighs_scenarios_equally():
    large, small = np.array([0, 0, 0, 1] * 50, dtype=float), np.array([1, 0] * 10, dtype=float)
    groups = [(large, [f"a{i}" for i in range(200)]), (small, [f"b{i}" for i in range(20)])]
    low, high = macro_interval(groups)
    assert low < 0.375 < high
    spread = math.sqrt(0.25 * 0.75 / 200 + 0.25 / 20) / 2
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_one_scenario_is_its_own_macro_average():
    scores, names = np.array([0, 1, 1] * 20, dtype=float), [str(i) for i in range(60)]
    assert macro_interval([(scores, names)]) == pytest.approx(interval(scores[None], names), abs=0.03)


def test_groups_are_drawn_independently():
    same = (np.array([0, 1] * 20, dtype=float), [str(i) for i in range(40)])
    one, four = macro_interval([same]), macro_interval([same] * 4)
    assert four[1] - four[0] == pytest.approx((one[1] - one[0]) / 2, rel=0.2)


def test_scenarios_without_any_success_still_have_an_interval():
    low, high = macro_interval([(np.zeros(20), [f"{g}{i}" for i in range(20)]) for g in "ab"])
    assert low == 0 and 0.05 < high < 0.15
