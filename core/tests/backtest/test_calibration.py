from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perfopt.backtest.bootstrap import interval, resamples
from perfopt.backtest.calibration import auc, brier_skill, calibrate, expected_calibration_error, reliability
from perfopt.backtest.charts import wilson


def of(pairs):
    return np.array([float(c) for c, _ in pairs]), np.array([bool(a) for _, a in pairs])


def test_by_hand():
    found = calibrate(*of([(0.9, 1), (0.9, 1), (0.9, 0), (0.5, 0)]))
    assert [(one.count, one.confidence, one.accuracy) for one in found.bins] == [
        (1, 0.5, 0.0),
        (3, pytest.approx(0.9), pytest.approx(2 / 3)),
    ]
    assert found.ece == pytest.approx((1 * 0.5 + 3 * (0.9 - 2 / 3)) / 4)
    assert found.brier == pytest.approx((0.01 + 0.01 + 0.81 + 0.25) / 4)
    assert found.brier_skill == pytest.approx(1 - found.brier / 0.25)
    assert found.auc == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)


def test_a_perfect_order_has_an_auc_of_one_and_a_useless_one_of_a_half():
    assert auc(*of([(0.1, 0), (0.2, 0), (0.8, 1), (0.9, 1)])) == 1
    assert auc(*of([(0.9, 0), (0.9, 1)])) == 0.5


def test_one_outcome_only_has_no_skill_and_no_auc():
    found = calibrate(*of([(0.9, 1), (0.8, 1)]))
    assert (found.brier_skill, found.auc) == (None, None)
    assert calibrate(np.empty(0), np.empty(0, bool)) is None


def test_the_constant_base_rate_has_no_skill():
    assert brier_skill(*of([(0.75, 1), (0.75, 1), (0.75, 1), (0.75, 0)])) == pytest.approx(0)


def test_wilsons_interval():
    low, high = wilson(0.5, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


pairs = st.lists(st.tuples(st.sampled_from([0.5, 0.7, 0.8, 0.9, 0.95, 0.99]), st.booleans()), min_size=1)


@given(pairs, st.randoms())
def test_bins_hold_everything_once_keep_ties_together_and_ignore_the_order(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    one, other = reliability(*of(found)), reliability(*of(shuffled))
    assert [(b.count, b.low, b.high) for b in one] == [(b.count, b.low, b.high) for b in other]
    assert sum(b.count for b in one) == len(found)
    assert all(a.high < b.low for a, b in pairwise(one))
    assert expected_calibration_error(*of(found)) == pytest.approx(expected_calibration_error(*of(shuffled)))


@given(pairs)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(found):
    confidence, accurate = of(found)
    assume(0 < accurate.sum() < len(found))
    right, wrong = confidence[accurate], confidence[~accurate]
    wins = (right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean()
    assert auc(confidence, accurate) == pytest.approx(wins)


def test_a_resample_draws_whole_services():
    services = ["a", "a", "b", "c", "c", "c"]
    for rows in resamples(services, count=20):
        drawn = [services[row] for row in rows]
        assert drawn.count("a") % 2 == 0
        assert drawn.count("c") % 3 == 0
        assert drawn.count("a") // 2 + drawn.count("b") + drawn.count("c") // 3 == 3
    assert resamples(["a", "a"]) == ()


def test_an_interval_widens_with_the_difference_between_services():
    services = [f"s{n}" for n in range(40)]
    values = np.arange(40) % 2
    found = interval(lambda rows: float(values[rows].mean()), np.arange(40), resamples(services))
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / 40), abs=0.03)
    assert interval(lambda rows: None, np.arange(40), ()) is None
