"""The bounds beside an independent library and beside what they promise."""

import numpy as np
import pytest
import ville
from scipy.integrate import quad
from scipy.stats import gamma, poisson

from perfopt_api.apply.verification.counts import log_rate_ratio, rate
from perfopt_api.apply.verification.differences import MIN_BLOCKS, block_length, in_blocks, mean_difference


def test_the_mean_of_differences_has_the_bounds_of_the_library():
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    theirs = ville.AsymptoticCS(alpha=0.01, t_opt=60, min_samples=MIN_BLOCKS)
    theirs.fit(values)
    ours = mean_difference(values, 0.01, 60)
    for blocks in (20, 60, 400):
        width = theirs.upper_[blocks - 1] - theirs.lower_[blocks - 1]
        assert (ours.upper - ours.lower)[blocks - 1] == pytest.approx(width, rel=0.03)


def test_the_ratio_of_rates_has_nearly_the_bounds_of_a_share_by_the_library():
    rng = np.random.default_rng(2)
    canary, control = rng.poisson(6.0, 80).astype(float), rng.poisson(4.0, 80).astype(float)
    ours = log_rate_ratio(canary, control, np.ones(80), np.ones(80), 0.01)
    share = ville.BernoulliCS(alpha=0.01, prior=(5.0, 5.0), intersect=False)
    outcomes = np.concatenate([np.ones(int(canary.sum())), np.zeros(int(control.sum()))])
    share.fit(rng.permutation(outcomes))
    theirs = [np.log(at / (1 - at)) for at in (share.lower_[-1], share.upper_[-1])]
    assert (ours.lower[-1], ours.upper[-1]) == pytest.approx(theirs, abs=0.04)


def test_a_rate_is_ruled_out_where_the_mixture_is_20_times_as_likely():
    count, exposure = 12.0, 5000.0
    bounds = rate(np.array([count]), np.array([exposure]), 0.05)
    mixture = quad(
        lambda r: poisson.pmf(count, r * exposure) * gamma.pdf(r, 0.5, scale=0.1), 0, 0.05, points=[0.002]
    )[0]
    for bound in (bounds.lower[0], bounds.upper[0]):
        assert mixture / poisson.pmf(count, bound * exposure) == pytest.approx(20, rel=0.15)


def test_bounds_of_a_ratio_fail_at_any_of_500_looks_in_less_than_the_share_promised():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        exposure = rng.uniform(50, 500, 500)
        canary, control = rng.poisson(exposure * 0.02), rng.poisson(3 * exposure * 0.02)
        bounds = log_rate_ratio(canary.astype(float), control.astype(float), exposure, 3 * exposure, 0.1)
        missed += bool(((bounds.lower > 0) | (bounds.upper < 0)).any())
    assert missed <= 0.1 * 200


def test_nothing_is_known_of_a_ratio_before_both_served_requests():
    bounds = log_rate_ratio(np.array([3.0]), np.array([5.0]), np.array([0.0]), np.array([100.0]), 0.01)
    assert np.isnan(bounds.estimate[0])
    assert bounds.lower[0] == -np.inf
    assert bounds.upper[0] == np.inf


def test_a_mean_has_no_bounds_before_ten_blocks_and_skips_missing_ones():
    values = np.random.default_rng(4).normal(1.0, 0.1, 24)
    values[3] = np.nan
    bounds = mean_difference(values, 0.01, 24)
    assert np.isinf(bounds.lower[:MIN_BLOCKS]).all()
    assert np.isfinite(bounds.lower[MIN_BLOCKS:]).all()
    assert bounds.estimate[-1] == pytest.approx(np.nanmean(values))


def test_blocks_are_as_long_as_the_past_depends_on_itself():
    rng = np.random.default_rng(5)
    independent = rng.normal(size=1000)
    lasting = np.repeat(rng.normal(size=100), 10)
    assert block_length(independent) <= 2
    assert block_length(lasting) >= 10


def test_blocks_average_what_is_known():
    assert in_blocks(np.array([1.0, np.nan, 3.0, 5.0, 7.0]), 2) == pytest.approx([1.0, 4.0])
