from datetime import UTC, datetime

import numpy as np
import pytest

from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines import baseline_of
from perfopt.evaluation.baselines.constants import tuned
from perfopt.evaluation.baselines.fitted import FleetExample
from perfopt.testing import make_context, make_snapshot

GIB = 2**30


def sized(name, cpu_limit=None, memory_limit=None):
    container = Container(name="main", cpu_limit_cores=cpu_limit, memory_limit_bytes=memory_limit)
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.array([0.1, 0.4, 0.2]), "memory_bytes": np.full(3, 1.0 * GIB)}},
        state=WorkloadState(containers=(container,)),
    )
    made = baseline_of(name).decide(make_context(snapshot)).containers[0]
    return made.cpu_request_cores, made.memory_request_bytes


def test_the_constants_multiply_the_highest_of_each_resource():
    assert sized("constants") == (0.44, 2.5 * GIB)


def test_other_constants_are_given_in_the_name():
    assert sized("constants:1.5,2") == (0.6, 2 * GIB)


def test_a_size_is_at_most_the_current_limit():
    assert sized("constants:2,4", cpu_limit=0.5, memory_limit=3 * GIB) == (0.5, 3 * GIB)


def test_a_margin_goes_on_top_of_other_constants():
    assert sized("constants:1,1+50%") == (0.6, 1.5 * GIB)


@pytest.mark.parametrize("name", ["constants:", "constants:1.2", "constants:a,b", "constants:1,2,3"])
def test_malformed_constants_are_no_baseline(name):
    assert baseline_of(name) is None


def example(need_over_peak):
    return FleetExample(
        service="svc",
        ended=datetime(2026, 1, 1, tzinfo=UTC),
        features=np.zeros(1),
        peaks=np.array([1.0, 1.0]),
        needs=np.array(need_over_peak),
        limits=np.array([10.0, 10.0]),
        costs=np.array([1.0, 1.0]),
        current=np.array([10.0, 10.0]),
    )


def test_tuned_constants_are_the_cheapest_that_are_accurate_enough():
    fleet = [example((1.1, 1.3))] * 97 + [example((5.0, 5.0))] * 3
    assert tuned(fleet) == (1.1, 1.3)


def test_without_enough_accuracy_the_most_accurate_constants_are_taken():
    assert tuned([example((1.5, 1.2))] * 5 + [example((9.0, 9.0))] * 5) == (1.5, 1.2)
