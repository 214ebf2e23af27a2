"""The bounds beside an independent library and beside what they promise."""

import numpy as np
import pytest
import ville
from scipy.integrate import quad
from scipy.stats import gamma, poisson

from perfopt_api.apply.verification.counts import log_rate_ratio, rate, rate_difference
from perfopt_api.apply.verification.differences import MIN_BLOCKS, block_length, in_blocks, mean_difference


def test_the_mean_of_differences_has_the_bounds_of_the_library():
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    ours = mean_difference(values, 0.005, 0.025, 60)
    for alpha, width in ((0.01, ours.estimate - ours.lower), (0.05, ours.upper - ours.estimate)):
        theirs = ville.AsymptoticCS(alpha=alpha, t_opt=60, min_samples=MIN_BLOCKS)
        theirs.fit(values)
        for blocks in (20, 60, 400):
            both = theirs.upper_[blocks - 1] - theirs.lower_[blocks - 1]
            assert width[blocks - 1] == pytest.approx(both / 2, rel=0.03)


def test_the_ratio_of_rates_has_nearly_the_bounds_of_a_share_by_the_library():
    rng = np.random.default_rng(2)
    canary, control = rng.poisson(6.0, 80).astype(float), rng.poisson(4.0, 80).astype(float)
    ours = log_rate_ratio(canary, control, np.ones(80), np.ones(80), 0.01, 0.01)
    share = ville.BernoulliCS(alpha=0.01, prior=(5.0, 5.0), intersect=False)
    outcomes = np.concatenate([np.ones(int(canary.sum())), np.zeros(int(control.sum()))])
    share.fit(rng.permutation(outcomes))
    theirs = [np.log(at / (1 - at)) for at in (share.lower_[-1], share.upper_[-1])]
    assert (ours.lower[-1], ours.upper[-1]) == pytest.approx(theirs, abs=0.05)


def test_a_rate_is_ruled_out_where_the_mixture_is_20_times_as_likely():
    count, exposure = 12.0, 5000.0
    bounds = rate(np.array([count]), np.array([exposure]), 0.05, 0.004)
    mixture = quad(
        lambda r: poisson.pmf(count, r * exposure) * gamma.pdf(r, 2, scale=0.002), 0, 0.05, points=[0.002]
    )[0]
    for bound in (bounds.lower[0], bounds.upper[0]):
        assert mixture / poisson.pmf(count, bound * exposure) == pytest.approx(20, rel=0.15)


def test_bounds_of_a_ratio_fail_at_any_of_500_looks_in_less_than_the_share_promised():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(200):
        exposure = rng.uniform(50, 500, 500)
        canary, control = rng.poisson(exposure * 0.02), rng.poisson(3 * exposure * 0.02)
        counts = canary.astype(float), control.astype(float)
        bounds = log_rate_ratio(*counts, exposure, 3 * exposure, 0.05, 0.05)
        missed += bool(((bounds.lower > 0) | (bounds.upper < 0)).any())
    assert missed <= 0.1 * 200


def test_harm_is_shown_and_ruled_out_sooner_than_by_one_mixture_for_both():
    rng = np.random.default_rng(6)
    exposure = np.full(200, 300.0)
    control = rng.poisson(4 * exposure * 0.02).astype(float)

    def first(rate_of_canary: float, side: str, limit: float) -> int:
        canary = rng.poisson(exposure * rate_of_canary).astype(float)
        bounds = log_rate_ratio(canary, control, exposure, 4 * exposure, 0.003, 0.05)
        beyond = bounds.lower > limit if side == "lower" else bounds.upper < limit
        return int(beyond.argmax()) if beyond.any() else 200

    assert np.median([first(0.03, "lower", 0.0) for _ in range(20)]) <= 22
    assert np.median([first(0.02, "upper", np.log(1.4)) for _ in range(20)]) <= 30


def test_a_difference_of_rates_is_bounded_where_the_ratio_says_nothing():
    canary, control, ones = np.array([2.0]), np.array([9.0]), np.ones(1)
    apart = rate_difference(canary, control, 18_000 * ones, 72_000 * ones, 0.05, 0.0002)
    assert apart.estimate[0] == pytest.approx(2 / 18_000 - 9 / 72_000)
    assert 0.0002 < apart.upper[0] < 0.0006
    assert apart.lower[0] == -np.inf
    assert log_rate_ratio(canary, control, 18_000 * ones, 72_000 * ones, 0.01, 0.05).upper[0] > np.log(2)
    unserved = rate_difference(canary, 0 * control, 18_000 * ones, 0 * ones, 0.05, 0.0002)
    assert unserved.upper[0] == np.inf


def test_a_difference_of_rates_fails_at_any_look_in_less_than_the_share_promised():
    rng = np.random.default_rng(8)
    exposure = np.full(100, 600.0)
    missed = 0
    for _ in range(200):
        canary, control = rng.poisson(exposure * 0.0014), rng.poisson(4 * exposure * 0.0004)
        counts = canary.astype(float), control.astype(float)
        bounds = rate_difference(*counts, exposure, 4 * exposure, 0.1, 0.0004)
        missed += bool((bounds.upper < 0.001).any())
    assert missed <= 0.1 * 200


def test_nothing_is_known_of_a_ratio_before_both_served_requests():
    bounds = log_rate_ratio(np.array([3.0]), np.array([5.0]), np.array([0.0]), np.array([100.0]), 0.01, 0.05)
    assert np.isnan(bounds.estimate[0])
    assert bounds.lower[0] == -np.inf
    assert bounds.upper[0] == np.inf


def test_a_mean_has_no_bounds_before_ten_blocks_and_skips_missing_ones():
    values = np.random.default_rng(4).normal(1.0, 0.1, 24)
    values[3] = np.nan
    bounds = mean_difference(values, 0.01, 0.05, 24)
    assert np.isinf(bounds.lower[:MIN_BLOCKS]).all()
    assert np.isfinite(bounds.lower[MIN_BLOCKS:]).all()
    assert bounds.estimate[-1] == pytest.approx(np.nanmean(values))


def test_blocks_are_as_long_as_the_past_depends_on_itself():
    rng = np.random.default_rng(5)
    independent = rng.normal(size=1000)
    lasting = np.repeat(rng.normal(size=100), 10)
    assert block_length(independent, 60) <= 2
    assert block_length(lasting, 60) >= 10
    assert block_length(lasting, 3) == 3
    assert block_length(lasting, 0) == 1


def test_blocks_average_what_is_known():
    assert in_blocks(np.array([1.0, np.nan, 3.0, 5.0, 7.0]), 2) == pytest.approx([1.0, 4.0])
