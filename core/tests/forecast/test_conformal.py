from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.forecast.conformal import mixing, probits, transform

LEVELS = (0.1, 0.5, 0.9)
Z90 = NormalDist().inv_cdf(0.9)


def test_an_outcome_on_a_quantile_has_that_level():
    quantiles = np.array([[1.0, 2.0, 4.0]] * 3)
    assert transform(quantiles, np.array([1.0, 2.0, 4.0]), LEVELS) == pytest.approx([-Z90, 0, Z90])


def test_between_quantiles_and_beyond_them_probits_are_linear():
    quantiles = np.array([[1.0, 2.0, 4.0]] * 3)
    found = transform(quantiles, np.array([1.5, 3.0, 5.0]), LEVELS)
    assert found == pytest.approx([-Z90 / 2, Z90 / 2, 1.5 * Z90])


def test_an_outcome_off_a_point_forecast_lies_at_the_end_and_on_it_tells_nothing():
    quantiles = np.full((3, 3), 2.0)
    found = transform(quantiles, np.array([1.0, 2.0, 3.0]), LEVELS)
    assert found[0] == probits((0,))[0]
    assert np.isnan(found[1])
    assert found[2] == probits((1,))[0]


def test_mixing_reads_the_quantiles_themselves_at_their_levels():
    assert mixing(LEVELS, probits(LEVELS)) == pytest.approx(np.eye(3))


def test_mixing_goes_on_in_a_line_beyond_the_last_level():
    row = np.array([1.0, 2.0, 4.0])
    assert row @ mixing(LEVELS, np.array([2 * Z90])) == pytest.approx([6.0])


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8), st.tuples(*[st.floats(0, 5)] * 3))
def test_mixed_quantiles_do_not_cross(wanted, gaps):
    made = np.cumsum(gaps) @ mixing(LEVELS, probits(sorted(wanted)))
    assert (np.diff(made) >= -1e-9).all()


@given(st.floats(-3, 3))
def test_transform_undoes_mixing(probit):
    row = np.array([1.0, 2.0, 4.0])
    outcome = row @ mixing(LEVELS, np.array([probit]))
    assert transform(row[None], outcome, LEVELS) == pytest.approx([probit], abs=1e-9)
