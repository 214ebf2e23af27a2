"""Samples that no container can have had are dropped and counted; those at a limit stay."""

import numpy as np
import pytest

from perfopt.domain.recommendation import Coverage
from perfopt.metrics.grid import GridReport
from perfopt.metrics.plausibility import above_limit, counted, dropped, without, without_memory
from perfopt.metrics.snapshot import PodSeries

NAN = np.nan


def series(*rows, pods=None):
    return PodSeries(pods or tuple("abc"[: len(rows)]), np.array(rows, dtype=float))


def test_use_above_the_limit_by_more_than_a_tenth_cannot_be():
    found = above_limit(series([1.0, 2.19, 2.21, 9.0]), series([2.0] * 4), None, 300)
    assert found.tolist() == [[False, False, True, True]]


def test_use_at_a_limit_that_changes_within_a_step_stays():
    found = above_limit(series([1.0, 4.0, 4.0, 4.0]), series([2.0, 2.0, 4.0, 4.0]), None, 300)
    assert not found.any()


def test_before_its_first_known_limit_a_pod_has_that_one():
    assert above_limit(series([9.0, 9.0, 1.0]), series([NAN, NAN, 2.0]), None, 300).tolist() == [
        [True, True, False]
    ]


@pytest.mark.parametrize(
    "limit", [None, series([0.0, 0.0]), series([NAN, NAN]), series([2.0, 2.0], pods=("z",))]
)
def test_without_a_limit_the_largest_machine_bounds_use(limit):
    use = series([7.0, 9.0])
    assert above_limit(use, limit, 8.0, 300).tolist() == [[False, True]]
    assert not above_limit(use, limit, None, 300).any()


def test_on_short_steps_rates_move_further_than_a_tenth():
    use, limit = series([1.4, 1.6]), series([1.0, 1.0])
    assert above_limit(use, limit, None, 60).tolist() == [[False, True]]


def test_no_memory_at_all_cannot_be_while_cpu_is_used():
    found = without_memory(series([0.0, 0.0, 5.0, 0.0]), series([0.1, 0.0, 0.1, NAN]))
    assert found.tolist() == [[True, False, False, False]]
    assert not without_memory(series([0.0]), None).any()


def test_what_is_dropped_is_missing_and_counted():
    bad = np.array([[False, True]])
    assert np.isnan(dropped(series([1.0, 2.0]), bad).values[0, 1])
    report = counted(GridReport(expected=2, present=2, dropped={"nan": 1}), 1)
    assert (report.present, report.dropped) == (1, {"nan": 1, "implausible": 1})
    coverage = without(Coverage(expected=4, present=4, fraction=1.0), 1)
    assert (coverage.present, coverage.fraction, coverage.dropped) == (3, 0.75, {"implausible": 1})
