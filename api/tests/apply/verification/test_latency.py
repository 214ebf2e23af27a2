import numpy as np
import pytest

from perfopt.metrics.pods import LatencyHistogram
from perfopt_api.apply.verification.latency import slow_bounds

BOUNDS = np.array([0.1, 0.25, 0.5, 1.0])


def chosen(*shares_over, served=10_000.0, expected=np.inf):
    within = 10_000 * (1 - np.array([shares_over]))
    histogram = LatencyHistogram(BOUNDS, within[:, None, :])
    return slow_bounds(histogram, np.array([[served]]), 0.15, expected)


def test_requests_are_counted_over_the_bounds_nearest_to_p99_and_p90():
    assert [one.seconds for one in chosen(0.3, 0.08, 0.012, 0.004)] == [0.5, 0.25]


def test_one_bound_may_be_nearest_to_both():
    assert [one.seconds for one in chosen(0.6, 0.03, 0.0, 0.0)] == [0.25]


def test_a_bound_that_too_few_requests_exceed_to_decide_in_time_is_passed_over():
    many, few = (chosen(0.3, 0.08, 0.012, 0.004, expected=expected) for expected in (1e6, 6000.0))
    assert [one.seconds for one in many] == [0.5, 0.25]
    assert [one.seconds for one in few] == [0.25]


def test_where_no_bound_can_decide_the_nearest_ones_are_taken_all_the_same():
    assert [one.seconds for one in chosen(0.3, 0.08, 0.012, 0.004, expected=5.0)] == [0.5, 0.25]


def test_the_margin_is_what_a_latency_higher_by_so_much_makes_of_the_share():
    (bound,) = chosen(0.4, 0.0, 0.0, 0.0)
    assert bound.margin == pytest.approx(0.15)  # nothing is known below the only bound
    slope = np.log(0.4 / 0.1) / np.log(2.5)
    (inner,) = chosen(0.4, 0.1, 0.0, 0.0)
    assert inner.seconds == 0.25
    assert inner.margin == pytest.approx(slope * np.log(1.15))


def test_below_the_first_bound_the_share_goes_on_as_between_the_first_two():
    first = chosen(0.02, 0.0005, 0.0, 0.0)[0]
    assert first.seconds == 0.1
    assert first.margin == pytest.approx(np.log(0.02 / 0.0005) / np.log(2.5) * np.log(1.15))


def test_nothing_is_chosen_without_requests_or_slow_ones():
    assert chosen(0.3, 0.08, 0.012, 0.004, served=0.0) == ()
    assert chosen(0.0, 0.0, 0.0, 0.0) == ()
