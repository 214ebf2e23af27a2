"""What is claimed of latency, on series whose figures are known by hand."""

import math

import numpy as np
import pytest

from perfopt_latency.claims import CHANGE_ERROR, UsualLatency, claim, usual

STEPS = 96  # windows of 32 steps, moved on by 8: the latest end at 96, 88, 80, ...


def series(latency, rate=None):
    return {
        "latency_p99_ms": np.asarray(latency, dtype=float),
        "requests_per_second": np.full(len(latency), 2.0) if rate is None else np.asarray(rate, dtype=float),
    }


def stepped(*levels, length=8):
    """Returns a series of levels, each for so many steps; the last ends the history."""
    return np.repeat(np.array(levels, dtype=float), length)


def test_a_steady_latency_has_the_least_width():
    latency = usual(series(np.full(STEPS, 40.0)), 0.99, STEPS, 1000)
    assert latency == UsualLatency(40.0, 0.03, 5)  # ends at 96 to 64 have a whole window before them


def test_the_width_is_the_largest_change_between_windows_up_or_down():
    risen = stepped(*[10.0] * 4, *[13.0] * 4, *[13.0] * 4)
    latency = usual(series(risen), 0.99, STEPS, 1000)
    assert (latency.latency_ms, latency.width) == (13.0, pytest.approx(math.log(1.3)))
    fallen = stepped(*[13.0] * 4, *[10.0] * 8)
    latency = usual(series(fallen), 0.99, STEPS, 1000)
    assert (latency.latency_ms, latency.width) == (10.0, pytest.approx(math.log(1.3)))


def test_windows_are_as_long_as_the_validity_where_history_is_longer():
    latency = np.full(STEPS, 10.0)
    latency[-8:] = 20.0
    by_validity = usual(series(latency), 0.99, STEPS, 8)
    assert (by_validity.latency_ms, by_validity.pairs) == (
        20.0,
        8,
    )  # of twelve windows four have none before them
    assert by_validity.width == pytest.approx(math.log(2))
    assert usual(series(latency), 0.99, STEPS, 1000).latency_ms == 10.0  # the median of 32 steps


def test_at_most_three_validities_of_windows_are_compared():
    latency = np.full(960, 10.0)
    latency[:930] = 99.0  # twelve windows of 8 steps, moved on by 2, reach back 30 steps
    assert usual(series(latency), 0.99, 960, 8).width == 0.03


@pytest.mark.parametrize(("steps", "enough"), [(23, False), (24, True)])
def test_eight_steps_make_the_shortest_window(steps, enough):
    latency = usual(series(np.full(steps, 5.0)), 0.99, steps, 1000)
    assert (latency is not None) == enough


def test_windows_without_latency_are_left_out_and_the_last_is_needed():
    latency = np.full(STEPS, 10.0)
    latency[-32:] = np.nan
    assert usual(series(latency), 0.99, STEPS, 1000) is None
    latency = np.full(STEPS, 10.0)
    latency[32:64] = np.nan  # the windows that end at 64 and near it have none, and so are no pairs
    assert usual(series(latency), 0.99, STEPS, 1000) is None


def test_the_named_quantile_and_the_requests_count():
    service = series(np.full(STEPS, 90.0)) | {"latency_p50_ms": np.full(STEPS, 7.0)}
    assert usual(service, 0.5, STEPS, 1000).latency_ms == 7.0
    assert usual(service, 0.99, STEPS, 1000).latency_ms == 90.0
    for name, level in (("latency_p90_ms", 0.9), ("latency_p95_ms", 0.95)):
        known = series(np.full(STEPS, 90.0)) | {name: np.full(STEPS, 8.0)}
        assert usual(known, level, STEPS, 1000).latency_ms == 8.0
    latency, rate = np.tile([10.0, 50.0], STEPS // 2), np.tile([1.0, 3.0], STEPS // 2)
    assert usual(series(latency, rate), 0.99, STEPS, 1000).latency_ms == 50.0


def test_a_change_is_claimed_with_the_errors_of_both_in_its_interval():
    made = claim(UsualLatency(100.0, 0.1, 9), 0.8, 0.7)
    width = math.hypot(0.1, CHANGE_ERROR * -math.log(0.8))
    assert made.latency_ms == 80.0
    assert made.latency_interval_ms == (
        round(80 * math.exp(-width), 3),
        round(80 * math.exp(width), 3),
    )
    assert made.latency_now_ms == 100.0
    assert made.latency_now_interval_ms == (90.484, 110.517)
    assert made.performance_gain_percent == 30.0


def test_a_rise_of_latency_is_no_gain():
    assert claim(UsualLatency(100.0, 0.1, 9), 1.0, 1.1).performance_gain_percent == 0.0
    assert claim(UsualLatency(100.0, 0.1, 9), 1.0, 0.99878).performance_gain_percent == 0.12


@pytest.mark.parametrize(("width", "claimed"), [(math.log(1.249), True), (math.log(1.251), False)])
def test_no_interval_is_wider_than_a_quarter(width, claimed):
    made = claim(UsualLatency(100.0, width, 9), 1.0, 0.9)
    assert (made.latency_now_ms is not None) == (made.latency_ms is not None) == claimed
    assert made.performance_gain_percent == 10.0


@pytest.mark.parametrize(("ratio", "claimed"), [(0.574, True), (0.571, False)])
def test_a_far_change_is_not_claimed_while_the_present_is(ratio, claimed):
    made = claim(UsualLatency(100.0, 0.0, 9), ratio, 0.5)  # 0.4 x log(1 / 0.5725) is log(1.25)
    assert made.latency_now_ms == 100.0
    assert (made.latency_ms is not None) == claimed
    assert (made.latency_interval_ms is not None) == claimed
    assert made.performance_gain_percent == 50.0


def test_without_a_usual_latency_only_the_gain_is_claimed():
    made = claim(None, 0.8, 0.75)
    assert made.to_map() == {"performance_gain_percent": 25.0}


def test_claims_are_rounded_to_a_microsecond():
    assert claim(UsualLatency(100.0, 0.1, 9), 0.81236789, 0.7).latency_ms == 81.237
