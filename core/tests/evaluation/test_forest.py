from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from perfopt.evaluation.baselines.fitted import FleetExample
from perfopt.evaluation.baselines.forest import FleetForest

pytest.importorskip("sklearn")


def example(kind, need, **more):
    fields = {
        "service": "svc",
        "ended": datetime(2026, 1, 1, tzinfo=UTC),
        "features": np.array([float(kind)]),
        "peaks": np.array([1.0, 1.0]),
        "needs": np.array([need, need]),
        "limits": np.array([10.0, 10.0]),
        "costs": np.array([1.0, 1.0]),
        "current": np.array([10.0, 10.0]),
    }
    return FleetExample(**(fields | more))


@pytest.fixture(scope="module")
def forest():
    """A fleet in which one kind of service needs half of its peak, and another twice of it."""
    generator = np.random.default_rng(1)
    calm = [example(0, need) for need in generator.uniform(0.45, 0.5, 40)]
    restless = [example(1, need) for need in generator.uniform(1.8, 2.0, 40)]
    return FleetForest.fit([*calm, *restless], processes=1)


def test_sizes_cover_what_such_services_needed(forest):
    assert all(0.5 <= size <= 0.6 for size in forest.sizes(example(0, np.nan)))
    assert all(2.0 <= size <= 2.3 for size in forest.sizes(example(1, np.nan)))


def test_sizes_follow_the_peak_and_stop_at_the_limit(forest):
    seen = example(1, np.nan, peaks=np.array([2.0, 2.0]), limits=np.array([np.inf, 3.0]))
    cpu, memory = forest.sizes(seen)
    assert 4.0 <= cpu <= 4.6
    assert memory <= 3.0


def test_sizes_read_nothing_that_came_later(forest):
    seen = example(0, 99.0)
    assert forest.sizes(seen) == forest.sizes(replace(seen, needs=np.array([np.nan, np.nan])))
