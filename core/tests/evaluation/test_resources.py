import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perfopt.domain.workload import Container, Workload, WorkloadId, WorkloadState
from perfopt.evaluation.resources import changed_quantities, score_resources
from perfopt.metrics.need import five_minute_means, smallest_cpu_request, smallest_memory_request
from perfopt.metrics.snapshot import PodSeries, TimeGrid, WorkloadSnapshot

MIB = 2**20
START = datetime(2026, 1, 5, tzinfo=UTC)


def window(cpu=None, memory=None, *, step=300, name="main"):
    metrics = {}
    for metric, values in (("cpu_cores", cpu), ("memory_bytes", memory)):
        if values is not None:
            rows = np.atleast_2d(np.asarray(values, dtype=float))
            metrics[metric] = PodSeries(tuple(f"pod-{i}" for i in range(len(rows))), rows)
    size = next(iter(metrics.values())).values.shape[1]
    state = WorkloadState(containers=(Container(name=name),))
    workload = Workload(id=WorkloadId(name="svc"), service_name="svc", state=state)
    return WorkloadSnapshot(workload, TimeGrid(START, timedelta(seconds=step), size), {name: metrics})


def target(cpu=None, memory=None, limit=None, name="main"):
    container = Container(
        name=name, cpu_request_cores=cpu, memory_request_bytes=memory, memory_limit_bytes=limit
    )
    return WorkloadState(containers=(container,))


def test_one_sample_in_a_hundred_above_the_cpu_request_is_safe_and_two_are_not():
    one = np.r_[np.full(99, 0.2), 5.0]
    two = np.r_[np.full(98, 0.2), 5.0, 5.0]
    assert score_resources(target(cpu=0.2), window(one)).accurate
    assert not score_resources(target(cpu=0.2), window(two)).accurate


def test_cpu_samples_of_all_pods_are_pooled():
    pods = np.full((2, 100), 0.2)
    pods[0, :2] = 5.0  # 2 % of one pod, 1 % of all pod-samples
    assert score_resources(target(cpu=0.2), window(pods)).cpu_safe
    pods[1, 0] = 5.0
    assert not score_resources(target(cpu=0.2), window(pods)).cpu_safe


def test_one_memory_sample_of_the_hottest_pod_is_enough_to_be_unsafe():
    pods = np.full((3, 100), 100.0 * MIB)
    pods[2, 50] = 201 * MIB
    score = score_resources(target(memory=200 * MIB), window(memory=pods))
    assert score.memory_safe is False
    assert score.memory_waste == pytest.approx(200 / 201 - 1)


def test_memory_must_stay_under_the_limit_too():
    used = window(memory=np.full(10, 100.0 * MIB))
    assert not score_resources(target(memory=200 * MIB, limit=90 * MIB), used).accurate
    assert score_resources(target(memory=200 * MIB, limit=200 * MIB), used).accurate


def test_waste_is_what_was_recommended_over_the_smallest_accurate_value():
    score = score_resources(
        target(cpu=0.3, memory=150 * MIB), window(np.full(100, 0.2), np.full(100, 100.0 * MIB))
    )
    assert score.accurate
    assert score.cpu_waste == pytest.approx(0.5)
    assert score.memory_waste == pytest.approx(0.5)


def test_floors_hold_for_the_recommendation_and_for_the_smallest_accurate_value():
    score = score_resources(
        target(cpu=0.001, memory=MIB), window(np.full(10, 0.0001), np.full(10, 1.0 * MIB))
    )
    assert score.accurate
    assert score.cpu_waste == 0
    assert score.memory_waste == 0


def test_a_request_counts_as_the_millicores_kubernetes_would_store():
    assert score_resources(target(cpu=0.2001), window(np.full(10, 0.2009))).cpu_safe


def test_windows_with_less_than_half_of_their_samples_are_not_scored():
    half = np.r_[np.full(50, 0.2), np.full(50, np.nan)]
    less = np.r_[np.full(49, 0.2), np.full(51, np.nan)]
    assert score_resources(target(cpu=0.3), window(half)).scored
    score = score_resources(target(cpu=0.3), window(less))
    assert not score.scored
    assert not score.accurate
    assert "49%" in score.reason


def test_a_pod_that_came_later_does_not_make_the_window_thin():
    pods = np.full((2, 100), 0.2)
    pods[0, 50:] = np.nan
    pods[1, :50] = np.nan
    assert score_resources(target(cpu=0.3), window(pods)).scored


def test_a_series_without_memory_is_scored_on_cpu():
    score = score_resources(target(cpu=0.3, memory=100 * MIB), window(np.full(10, 0.2)))
    assert score.accurate
    assert score.memory_safe is None
    assert score.memory_waste is None


def test_a_state_that_sets_nothing_measured_is_not_scored():
    assert not score_resources(target(memory=100 * MIB), window(np.full(10, 0.2))).scored


def test_rounding_of_what_was_measured_is_no_change():
    measured = target(cpu=0.20000000298)
    assert changed_quantities(target(cpu=0.2), measured) is None
    assert changed_quantities(target(cpu=0.201), measured) == target(cpu=0.201)


def test_waste_is_summed_over_containers_and_each_must_be_safe():
    first, second = window(np.full(100, 0.1)), window(np.full(100, 0.3), name="sidecar")
    both = WorkloadSnapshot(first.workload, first.grid, {**first.containers, **second.containers})
    state = WorkloadState(
        containers=(
            Container(name="main", cpu_request_cores=0.5),
            Container(name="sidecar", cpu_request_cores=0.2),
        )
    )
    score = score_resources(state, both)
    assert not score.accurate
    assert score.cpu_waste == pytest.approx(0.7 / 0.4 - 1)


def test_minute_steps_are_scored_as_five_minute_means():
    minutes = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 20)
    assert smallest_cpu_request(minutes[None], window(minutes, step=60).grid) == 0.2
    assert score_resources(target(cpu=0.2), window(minutes, step=60)).cpu_safe


def test_five_minute_means_use_the_samples_that_are_there():
    minutes = np.array([[1.0, np.nan, 3.0, np.nan, np.nan, *[np.nan] * 5]])
    means = five_minute_means(minutes, TimeGrid(START, timedelta(minutes=1), 10))
    assert means[0, 0] == 2
    assert math.isnan(means[0, 1])


def test_an_empty_series_has_no_smallest_accurate_value():
    grid = TimeGrid(START, timedelta(minutes=5), 4)
    assert smallest_cpu_request(np.full((1, 4), np.nan), grid) is None
    assert smallest_memory_request(np.full((1, 4), np.nan)) is None


demand = arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 64, allow_nan=False))


@given(demand)
def test_the_smallest_cpu_request_is_accurate_and_a_millicore_less_is_not(cpu):
    used = window(cpu)
    smallest = smallest_cpu_request(cpu[None], used.grid)
    score = score_resources(target(cpu=smallest), used)
    assert score.accurate
    assert score.cpu_waste == 0
    if smallest > 0.010:
        assert not score_resources(target(cpu=smallest - 0.001), used).accurate


@given(demand)
def test_the_smallest_memory_request_is_accurate_and_a_byte_less_is_not(mebibytes):
    used = window(memory=mebibytes * MIB)
    smallest = int(smallest_memory_request(used.series("main", "memory_bytes").values))
    assert score_resources(target(memory=smallest), used).accurate
    if smallest > 16 * MIB:
        assert not score_resources(target(memory=smallest - 1), used).accurate


@given(demand, st.floats(0, 64), st.floats(0, 64))
def test_a_larger_request_is_never_less_safe_nor_less_wasteful(cpu, one, other):
    low, high = sorted((one, other))
    used = window(cpu)
    less, more = score_resources(target(cpu=low), used), score_resources(target(cpu=high), used)
    assert more.accurate >= less.accurate
    assert more.cpu_waste >= less.cpu_waste


def test_a_score_says_what_was_recommended_needed_and_short():
    pods = np.full((2, 100), 0.4)
    score = score_resources(target(cpu=0.3, memory=150 * MIB), window(pods, np.full((2, 100), 200.0 * MIB)))
    assert (score.cpu_recommended_cores, score.cpu_needed_cores) == (0.3, 0.4)
    assert score.cpu_short_cores == pytest.approx(0.1)
    assert (score.memory_recommended_bytes, score.memory_needed_bytes) == (150 * MIB, 200 * MIB)
    assert score.memory_short_bytes == 50 * MIB
    enough = score_resources(target(cpu=0.5), window(pods))
    assert enough.cpu_short_cores == 0
    assert (enough.memory_recommended_bytes, enough.memory_short_bytes) == (None, None)


def test_memory_granted_is_the_request_though_a_lower_limit_bounds_it():
    used = window(memory=np.full(10, 100.0 * MIB))
    score = score_resources(target(memory=300 * MIB, limit=200 * MIB), used)
    assert (score.memory_recommended_bytes, score.memory_safe) == (300 * MIB, True)
    only_limit = score_resources(target(limit=200 * MIB), used)
    assert only_limit.memory_recommended_bytes == 200 * MIB


def test_what_is_not_scored_is_not_accurate_and_says_why():
    nothing = score_resources(target(cpu=0.5), window(memory=np.full(10, 100.0 * MIB)))
    assert (nothing.scored, nothing.accurate) == (False, False)
    assert nothing.reason == "the window measures nothing that the state sets"
    empty = score_resources(target(cpu=0.5), window(np.empty((1, 0))))
    assert empty.reason == "main has 0% of its cpu samples, 50% are needed"
