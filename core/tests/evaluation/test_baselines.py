"""The baselines' policies on cases small enough to work out by hand."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perfopt.domain.recommendation import Declined
from perfopt.domain.workload import Container, WorkloadState
from perfopt.evaluation.baselines import BASELINES
from perfopt.evaluation.baselines.attune import burst_factor, highest_of_hours
from perfopt.evaluation.baselines.base import blocks
from perfopt.evaluation.baselines.histogram import ExponentialScale, LinearScale, weighted_percentile
from perfopt.evaluation.baselines.kruize import nearest_rank
from perfopt.evaluation.baselines.vpa import daily_peaks
from perfopt.evaluation.known import known_at
from perfopt.testing import daily_usage, make_context, make_snapshot
from perfopt.testing.snapshots import cases

MIB, GIB = 2**20, 2**30
DAY = 288
RAMP = np.arange(101) * 0.01  # its P95 is 0.95


def decided(policy, cpu=None, memory=None, state=None, **more):
    metrics = {"cpu_cores": cpu, "memory_bytes": memory, **more}
    given_metrics = {name: values for name, values in metrics.items() if values is not None}
    snapshot = make_snapshot({"main": given_metrics}, state=state)
    return BASELINES[policy].decide(make_context(snapshot)).containers[0]


def having(**quantities):
    return WorkloadState(containers=(Container(name="main", **quantities),))


def test_krr_takes_the_hottest_pods_percentile_and_the_peak_of_memory_with_a_buffer():
    cpu = np.stack([RAMP, np.full(101, 0.5)])
    made = decided("krr-simple", cpu, np.full((2, 101), 1e9))
    assert made.cpu_request_cores == 0.95
    assert made.cpu_limit_cores is None
    assert made.memory_request_bytes == made.memory_limit_bytes == 1_150_000_000
    assert decided("krr-p99", cpu).cpu_request_cores == 0.99


def test_krr_has_floors_of_its_own():
    made = decided("krr-simple", np.full(10, 0.001), np.full(10, 1.0 * MIB))
    assert (made.cpu_request_cores, made.memory_request_bytes) == (0.010, 100 * MIB)


def test_krr_simple_limit_pools_the_pods():
    made = decided("krr-simple-limit", np.stack([RAMP, np.zeros(101)]))
    # rank 0.66 * 201 = 132.66, of which 101 are the idle pod's: 31.66 hundredths; 0.96 * 201 - 101 = 91.96
    assert made.cpu_request_cores == 0.317
    assert made.cpu_limit_cores == 0.920


def test_vpa_gives_the_end_of_the_bucket_and_a_margin():
    # bucket floor(ln 1.5 / ln 1.05) = 8 ends at 0.2 * (1.05^9 - 1) = 0.110266; times 1.15 = 0.126805
    assert decided("vpa", np.full(DAY, 0.1)).cpu_request_cores == 0.127


def test_vpa_forgets_half_of_each_day_by_the_next():
    high = 1.169  # 0.2 * (1.05^37 - 1) * 1.15
    assert decided("vpa", np.r_[np.full(DAY, 1.0), np.full(DAY, 0.1)]).cpu_request_cores == high
    assert decided("vpa", np.r_[np.full(DAY, 1.0), np.full(6 * DAY, 0.1)]).cpu_request_cores == 0.127


def test_vpa_sizes_memory_by_the_peaks_of_days():
    memory = np.r_[np.full(DAY, 1e8), np.full(DAY, 1e8)]
    memory[10] = 1e9
    made = decided("vpa", memory=memory)
    assert made.memory_request_bytes == pytest.approx(1e7 * 20 * (1.05**37 - 1) * 1.15, abs=1)


def test_vpa_keeps_eight_days_of_peaks():
    memory = np.repeat(np.arange(10, dtype=float) + 1, DAY)[None]
    peaks, ages = daily_peaks(memory, 300)
    assert peaks.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert ages.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_vpa_raises_memory_after_an_oom_kill():
    memory, kills = np.full(2 * DAY, 200.0 * MIB), np.zeros(2 * DAY)
    state = having(memory_request_bytes=300 * MIB)
    calm = decided("vpa", memory=memory, oom_kills=kills, state=state)
    kills[-1] = 1
    # used = the request, 300 MiB; + 100 MiB is more than 1.2 times; 400 MiB lies in bucket 23
    killed = decided("vpa", memory=memory, oom_kills=kills, state=state)
    assert killed.memory_request_bytes == pytest.approx(1e7 * 20 * (1.05**24 - 1) * 1.15, abs=1)
    assert calm.memory_request_bytes == 250 * MIB  # its floor


def test_vpa_floors_are_shared_by_the_containers_of_a_pod():
    idle = {"cpu_cores": np.full(DAY, 0.0001), "memory_bytes": np.full(DAY, 1.0 * MIB)}
    target = BASELINES["vpa"].decide(make_context(make_snapshot({"app": idle, "sidecar": idle})))
    assert [c.memory_request_bytes for c in target.containers] == [125 * MIB, 125 * MIB]
    assert [c.cpu_request_cores for c in target.containers] == [0.013, 0.013]  # 12.5m; its bucket 11.5m


def test_vpa_limits_keep_their_ratio_and_goldilocks_sets_them_equal():
    state = having(cpu_request_cores=1.0, cpu_limit_cores=2.0)
    assert decided("vpa", np.full(DAY, 0.1), state=state).cpu_limit_cores == 0.254
    made = decided("goldilocks", np.full(DAY, 0.1), state=state)
    assert made.cpu_request_cores == made.cpu_limit_cores == 0.127


def test_goldilocks_burstable_lies_between_the_bounds_which_widen_with_little_history():
    # one day: lower x (1 + 0.001)^-2, upper x 2 of the same bucket
    made = decided("goldilocks-burstable", np.full(DAY, 0.1))
    assert made.cpu_request_cores == 0.127  # 0.126805 * 0.998003 = 0.126552
    assert made.cpu_limit_cores == 0.254
    week = decided("goldilocks-burstable", np.full(7 * DAY, 0.1))
    assert week.cpu_limit_cores == 0.145  # 0.126805 * 8 / 7


def test_crane_weighs_each_sample_by_its_value():
    cpu = np.r_[np.full(99, 0.05), 1.0]  # 1 of 5.95 in weight: P99 is in [1, 1.1)
    assert decided("crane", cpu).cpu_request_cores == 1.265
    assert decided("crane", memory=np.full(100, 250.0 * MIB)).memory_request_bytes == pytest.approx(
        345 * MIB, abs=1
    )


def test_crane_kruize_and_attune_look_at_seven_days():
    cpu = np.r_[np.full(DAY, 0.9), np.full(7 * DAY, 0.1)]
    assert decided("crane", cpu).cpu_request_cores == 0.23  # [0.1, 0.2), 15 % added
    assert decided("kruize-cost", cpu).cpu_request_cores == 0.1
    assert decided("attune", cpu).cpu_request_cores == 0.121  # 0.12, and 7 days less a step of confidence


def test_kruize_takes_the_peak_below_a_core_and_a_percentile_of_intervals_above():
    steps = np.repeat(np.arange(1, 11, dtype=float), 3)  # ten intervals of 15 minutes
    assert decided("kruize-cost", steps / 20).cpu_request_cores == 0.5
    assert decided("kruize-cost", steps).cpu_request_cores == 6
    assert decided("kruize-performance", steps).cpu_request_cores == 10


def test_kruize_adds_what_was_throttled():
    cpu, throttled = np.full(6, 0.4), np.array([0, 0, 0.5, 0, 0, 0])
    assert decided("kruize-cost", cpu, cpu_throttled_fraction=throttled).cpu_request_cores == 0.6


def test_kruize_adds_to_memory_the_smaller_of_a_fifth_and_the_largest_rise():
    memory = np.array([1000.0, 1000, 900, 1000, 1000, 1000]) * MIB
    assert decided("kruize-cost", memory=memory).memory_request_bytes == 1105 * MIB
    memory[2] = 500 * MIB
    assert decided("kruize-cost", memory=memory).memory_request_bytes == 1200 * MIB


def test_kruize_sets_limits_as_requests():
    made = decided("kruize-cost", np.full(6, 0.4), state=having(cpu_limit_cores=2.0))
    assert made.cpu_limit_cores == 0.4


def test_attune_takes_the_busiest_hour_of_the_day():
    cpu = np.full(2 * DAY, 0.1)
    cpu.reshape(2, 24, 12)[:, 10] = 0.3  # 4 % of the samples: the overall P95 does not see it
    # 0.3 * 1.2 * (1 + (1 - 575 * 300 / 86400 / 7)^2) = 0.543928
    assert decided("attune", cpu).cpu_request_cores == 0.544


def test_attune_adds_a_tenth_for_each_doubling_of_a_burst():
    samples = np.r_[np.full(99, 1.0), 8.0]
    assert burst_factor(samples) == pytest.approx(1.3)
    assert burst_factor(np.r_[np.full(99, 1.0), 2.9]) == 1


def test_the_history_itself_as_a_policy():
    assert decided("max", RAMP, RAMP * GIB).memory_request_bytes == GIB
    assert decided("max", RAMP).cpu_request_cores == 1.0
    assert decided("p99", RAMP).cpu_request_cores == 0.99


def test_limits_are_kept_and_never_under_the_request():
    state = having(cpu_limit_cores=0.5, memory_limit_bytes=4 * GIB)
    made = decided("max", RAMP, RAMP * GIB, state=state)
    assert (made.cpu_limit_cores, made.memory_limit_bytes) == (1.0, 4 * GIB)


def test_a_resource_without_samples_stays_as_it_is():
    made = decided("attune", np.full(DAY, 0.1), state=having(memory_request_bytes=GIB))
    assert made.memory_request_bytes == GIB


@pytest.mark.parametrize("policy", BASELINES)
def test_every_policy_survives_every_history(policy):
    for name, snapshot in cases().items():
        made = BASELINES[policy].decide(make_context(snapshot))
        if isinstance(made, Declined):
            assert name in ("empty", "all_nan", "no_metrics")
            continue
        for container in made.containers:
            for request, limit in (
                (container.cpu_request_cores, container.cpu_limit_cores),
                (container.memory_request_bytes, container.memory_limit_bytes),
            ):
                assert request is None or request >= 0
                assert request is None or limit is None or request <= limit
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=WorkloadState) == made


@pytest.mark.parametrize("policy", BASELINES)
def test_no_policy_sees_what_came_later(policy):
    cpu = daily_usage(14)
    later = cpu.copy()
    later[10 * DAY :] = 50.0
    said = [
        BASELINES[policy].decide(
            make_context(
                known_at(make_snapshot({"main": {"cpu_cores": c, "memory_bytes": c * GIB}}), 10 * DAY, DAY)
            )
        )
        for c in (cpu, later)
    ]
    assert said[0] == said[1]


samples = arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 500))


@given(samples, st.floats(0.01, 1))
def test_a_histograms_percentile_is_at_least_the_exact_one_and_within_a_bucket(values, share):
    exact = np.sort(values)[max(int(np.ceil(share * values.size - 1e-9)), 1) - 1]
    for scale, width in (
        (LinearScale(width=0.1, largest=1000.0), 0.1),
        (ExponentialScale(first=0.01, ratio=1.05, largest=1000.0), 0.01 + 0.05 * exact),
    ):
        found = weighted_percentile(values, np.ones(values.size), share, scale)
        assert exact - 1e-9 <= found
        assert found <= exact + width * 1.06 + 1e-9


@given(samples, st.integers(1, 50))
def test_blocks_keep_the_extremes(values, steps):
    low, high = blocks(values[None], steps)
    assert len(high) == -(-values.size // steps)
    assert (low.min(), high.max()) == (values.min(), values.max())


@given(samples, st.floats(1, 100))
def test_the_nearest_rank_is_a_sample_with_that_share_at_or_below(values, percent):
    found = nearest_rank(values, percent)
    assert found in values
    assert np.mean(values <= found) >= percent / 100 - 1e-9


@given(samples)
def test_the_busiest_hour_is_between_the_percentile_and_the_maximum(values):
    seconds = np.arange(values.size) * timedelta(minutes=5).total_seconds()
    found = highest_of_hours(values[None], seconds, 95)
    assert np.percentile(values, 95) - 1e-9 <= found <= values.max() + 1e-9
