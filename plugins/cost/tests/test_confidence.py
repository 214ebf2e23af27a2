from dataclasses import replace

import numpy as np
import pytest

from perfopt.plugin import ServiceClass
from perfopt_cost.calibration import shipped_calibration
from perfopt_cost.confidence import AT_THE_LIMIT

DAY = 288


def use(days, jitter, level=0.5, seed=1):
    rng = np.random.default_rng(seed)
    daily = np.repeat(np.exp(rng.normal(0, jitter, days)), DAY)
    return (level * daily * rng.uniform(0.9, 1.1, days * DAY))[None]


def bound(values, kind=ServiceClass.STANDARD):
    return shipped_calibration().cpu[kind].bound(values, 7 * DAY)


def test_a_larger_size_is_more_probably_enough():
    found = bound(use(14, 0.2))
    sizes = np.array([0.7, 1.0, 1.5, 3.0]) * found.value
    chances = [found.confidence.probability(size) for size in sizes]
    assert chances == sorted(chances)
    assert len({round(chance, 3) for chance in chances}) == len(sizes)
    assert 0.8 < chances[1] < 0.97


def test_a_short_history_is_less_sure_than_a_long_one():
    long, short = (bound(use(14, 0.2)[:, -days * DAY :]) for days in (14, 3))
    assert short.confidence.probability(short.value) < long.confidence.probability(long.value)


def test_use_that_jumps_from_day_to_day_is_less_sure_at_the_same_multiple_of_its_peak():
    calm, restless = use(14, 0.02), use(14, 0.5)
    at = [bound(values).confidence.probability(1.2 * values.max()) for values in (calm, restless)]
    assert at[1] < at[0]


def test_a_limit_that_use_never_passed_is_enough():
    confidence = bound(use(14, 0.3)).confidence
    held = confidence.below(0.4)
    assert confidence.probability(0.4) < AT_THE_LIMIT
    assert held.probability(0.4) == held.probability(0.41) == AT_THE_LIMIT
    assert held.probability(0.39) < AT_THE_LIMIT


def test_no_size_is_below_the_floor():
    confidence = bound(use(14, 0.1, level=0.001)).confidence
    assert confidence.probability(0.0001) == confidence.probability(0.01) > 0.9


@pytest.mark.parametrize("weights", [np.ones(9), np.r_[np.ones(9), np.nan]])
def test_weights_of_other_features_are_refused(weights):
    model = bound(use(14, 0.1)).confidence.model
    assert model.usable(6)
    assert not replace(model, weights=weights).usable(6)
