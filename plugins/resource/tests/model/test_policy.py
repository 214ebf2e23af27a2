import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt_resource.model.policy import ALLOCATION_COST, expected_utility, relative_cost, weights

SIZES = np.array([1.0, 2.0, 4.0])


def test_the_typical_allocation_costs_one():
    cost = relative_cost([SIZES, SIZES], [2.0, 4.0], [3.0, 0.5])
    assert cost[1, 2] == pytest.approx(1.0)


def test_half_of_the_cost_is_money_and_half_each_resource_s_own_share():
    cost = relative_cost([SIZES, SIZES], [2.0, 4.0], [3.0, 0.5])
    # one unit of each: (3 + 0.5) of the 8 that the typical allocation costs; 1/2 and 1/4 of it
    assert cost[0, 0] == pytest.approx(0.5 * 3.5 / 8 + 0.5 * (0.5 + 0.25) / 2)


def test_one_resource_alone_costs_its_share():
    assert relative_cost([SIZES], [4.0], [7.0]) == pytest.approx(SIZES / 4)


@given(st.floats(0.01, 100))
def test_cost_does_not_depend_on_the_scale_of_use(scale):
    one = relative_cost([SIZES, SIZES], [2.0, 4.0], [3.0, 0.5])
    other = relative_cost([SIZES * scale, SIZES * scale], [2.0 * scale, 4.0 * scale], [3.0, 0.5])
    assert other == pytest.approx(one)


def test_utility_is_the_penalty_avoided_less_the_cost():
    assert expected_utility(np.array([0.5]), np.array([0.2]), 10.0) == pytest.approx(
        5 - 0.2 * ALLOCATION_COST
    )


def test_the_most_useful_sizes_count_most_and_useless_ones_not_at_all():
    share = weights(np.array([[1.0, 1.2], [-9.0, 1.0]]))
    assert share.sum() == pytest.approx(1)
    assert share.argmax() == 1
    assert share[1, 0] < 1e-9


def test_a_small_change_of_utility_moves_the_weights_little():
    utility = np.linspace(0, 1, 50)[None]
    changed = utility + np.random.default_rng(0).normal(0, 1e-3, utility.shape)
    assert np.abs(weights(changed) - weights(utility)).sum() < 0.02


def test_what_counts_beforehand_counts_beside_the_utility():
    utility = np.zeros((2, 3))
    share = weights(utility, [np.log([1.0, 3.0]), np.log([1.0, 1.0, 2.0])])
    assert share.sum(axis=1) == pytest.approx([0.25, 0.75])
    assert share.sum(axis=0) == pytest.approx([0.25, 0.25, 0.5])
    assert weights(utility) == pytest.approx(np.full((2, 3), 1 / 6))
