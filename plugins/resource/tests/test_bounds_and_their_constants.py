import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perfopt_resource.bounds import shipped_calibration
from perfopt_resource.features import block_quantiles, cut, own_errors, quantile
from perfopt_resource.leak import leak_peak

WEEK = 2016


def test_more_spread_never_means_less_margin():
    for bound in (shipped_calibration().cpu, shipped_calibration().memory):
        weights = {
            name: weight for name, (_, _, weight) in bound.spread.items() if name not in ("level", "blocks")
        }
        assert all(weight >= 0 for weight in weights.values())
        assert bound.spread["blocks"][2] <= 0  # a longer history needs less


def test_the_bounds_held_as_often_as_they_say_on_series_they_were_not_fitted_on():
    shipped = shipped_calibration()
    assert 0.9 <= shipped.cpu.held <= 1
    assert 0.9 <= shipped.memory.held <= 1
    assert shipped.prior_mean <= min(shipped.cpu.held, shipped.memory.held)


def test_fourteen_days_for_seven_are_cut_in_days():
    blocks = cut(np.arange(1.0, 4033.0)[None], WEEK, 0.01)
    assert blocks.count == 14
    assert blocks.recent.shape == (14, 288)
    assert np.exp(blocks.recent[0]) == pytest.approx(np.arange(1, 289))


def test_twelve_hours_for_six_look_like_fourteen_days_for_seven():
    long, short = np.repeat(np.arange(1.0, 145.0), 28), np.arange(1.0, 145.0)
    a, b = cut(long[None], WEEK, 0.01), cut(short[None], 72, 0.01)
    assert a.count == 14
    assert b.count == 13  # 72 / 7 rounds up to 11 steps a block
    assert quantile(a.everything, 0.9) == quantile(b.everything, 0.9)


def test_own_errors_are_of_forecasts_from_what_was_known_then():
    days = np.repeat([1.0, 1.0, math.e, math.e], 288)
    errors = own_errors(cut(days[None], WEEK, 0.01))
    assert errors == pytest.approx([0, 1, 2 / 3])


def test_a_block_with_hardly_a_sample_has_no_quantile():
    days = np.repeat([1.0, 2.0, 3.0], 288)
    days[288:570] = np.nan
    assert np.exp(block_quantiles(cut(days[None], WEEK, 0.01), 0.99)) == pytest.approx([1, 3])


use = arrays(np.float64, st.integers(20, 800), elements=st.floats(0, 1e3), fill=st.floats(0, 10))


@given(use, st.integers(1, 400))
def test_a_bound_is_finite_and_above_its_floor(values, validity):
    for bound in (shipped_calibration().cpu, shipped_calibration().memory):
        made = bound.bound(values[None], validity)
        assert math.isfinite(made.value)
        assert made.value > 0
        assert made.samples == values.size
        assert made.own_error >= 1


def test_a_saw_tooth_is_not_a_leak_and_a_line_is():
    line = np.linspace(100.0, 200.0, 4032)
    assert leak_peak(line[None], WEEK) == pytest.approx(250, rel=0.01)
    assert leak_peak((line % 30 + 100)[None], WEEK) is None
    assert leak_peak(np.full((1, 4032), 100.0), WEEK) is None
    assert leak_peak(np.linspace(100.0, 103.0, 4032)[None], WEEK) is None
    assert leak_peak(line[None, :600], WEEK) is None
