"""What is left of an error budget, by the counters of the pods."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from perfopt.domain.workload import Slo
from perfopt.metrics.pods import LatencyHistogram, PodHistory
from perfopt.metrics.snapshot import TimeGrid
from perfopt_api.apply.verification.budget import error_budget

GRID = TimeGrid(datetime(2026, 11, 30, tzinfo=UTC), timedelta(hours=1), 2)
SLO = Slo(latency_ms=250, quantile=0.99)


def history(slow=0.0, failed=0.0, bounds=(0.1, 0.25, 0.5)):
    """Two pods of 1,000 requests an hour; so many an hour are slower than the second bound, or failed."""
    served = np.full((2, 2), 1000.0)
    within = np.stack([served - 2 * slow, served - slow, served], axis=2)
    return PodHistory(
        grid=GRID,
        pods=("a", "b"),
        requests=served,
        failed=np.full((2, 2), failed),
        latency=LatencyHistogram(np.array(bounds), within),
    )


@pytest.mark.parametrize(
    ("slow", "failed", "left"), [(0, 0, 1.0), (5, 0, 0.5), (0, 5, 0.5), (5, 5, 0.0), (20, 0, -1.0)]
)
def test_slow_and_failed_requests_use_it_up(slow, failed, left):
    budget = error_budget(SLO, history(slow, failed))
    assert budget.left == pytest.approx(left)
    assert budget.requests == 4000
    assert budget.bad == 4 * (slow + failed)
    assert budget.objective == "99 % of requests within 250 ms"


def test_between_two_bounds_the_higher_counts():
    assert error_budget(Slo(latency_ms=240, quantile=0.99), history(5)).left == pytest.approx(0.5)
    assert error_budget(Slo(latency_ms=251, quantile=0.99), history(5)).left == 1.0


def test_what_the_series_do_not_show_is_not_known():
    assert error_budget(Slo(latency_ms=900, quantile=0.99), history()) is None
    bare = history()
    assert error_budget(SLO, PodHistory(grid=GRID, pods=("a", "b"), requests=bare.requests)) is None


def test_a_pod_without_samples_is_left_out():
    known = history(5)
    known.requests[0, 0] = np.nan
    known.latency.within[0, 0] = np.nan
    known.failed[0, 0] = np.nan
    assert error_budget(SLO, known).left == pytest.approx(0.5)
