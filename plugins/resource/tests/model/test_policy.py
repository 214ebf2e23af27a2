import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_resource.model.policy import choose_each, expected_slack, slack_cost, worth

AT = np.arange(0, 3, 0.1)


def rising(spread):
    """P(need <= size) of a need that is exponential in the logarithm."""
    return 1 - np.exp(-AT / spread) * 0.5


def test_twice_the_need_costs_one_and_the_need_nothing():
    assert slack_cost(np.array([-1.0, 0.0, math.log(2)])) == pytest.approx([0, 0, 1])


@given(st.floats(0, 5), st.floats(0.01, 5))
def test_more_is_never_free(excess, more):
    less, larger = slack_cost(np.array([excess, excess + more]))
    assert larger > less


def test_to_be_half_larger_than_needed_costs_little_and_more_jumps():
    within, beyond = slack_cost(np.log([1.35, 1.75]))
    assert within < 0.15
    assert beyond > 0.9


def test_a_size_of_twelve_times_the_need_costs_as_much_as_two_of_twice():
    assert slack_cost(np.log([12.0]))[0] > 1.8


def test_slack_is_expected_over_what_may_be_needed():
    at = np.array([0.0, math.log(2)])
    expected = expected_slack(np.array([0.25, 1.0]), at)
    assert expected == pytest.approx([0.0, 0.25])


def test_a_dearer_shortage_is_met_with_larger_sizes():
    curve = rising(0.5)
    picks = choose_each([curve], [expected_slack(curve, AT)], [2.0, 8.0, 32.0])
    assert picks[0] < picks[1] < picks[2]


def test_risk_is_taken_where_it_saves_most():
    curves = [rising(0.1), rising(1.5)]
    slacks = [expected_slack(curve, AT) for curve in curves]
    ((steady, restless),) = choose_each(curves, slacks, [6.0])
    assert curves[0][steady] > curves[1][restless]


def test_waste_takes_from_what_a_recommendation_is_worth_the_less_the_dearer_a_shortage():
    assert worth(0.9, 0.0, 5.0) == 0.9
    assert worth(0.9, 1.0, 5.0) == pytest.approx(0.7)
    assert worth(0.9, 1.0, 5.0) < worth(0.9, 1.0, 10.0)
