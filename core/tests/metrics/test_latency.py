import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.metrics.latency import latency_series, realised_latency


def test_half_of_the_requests_had_at_most_the_realised_latency():
    busy_hour = {
        "latency_p99_ms": np.array([10.0, 20.0, 90.0]),
        "requests_per_second": np.array([1.0, 1.0, 5.0]),
    }
    assert realised_latency(busy_hour, 0.99) == 90.0
    assert realised_latency({"latency_p99_ms": busy_hour["latency_p99_ms"]}, 0.99) == 20.0


def test_the_nearest_measured_quantile_is_taken_and_the_higher_of_two():
    service = {"latency_p90_ms": np.array([9.0]), "latency_p99_ms": np.array([99.0])}
    assert latency_series(service, 0.9)[0] == 9.0
    assert latency_series(service, 0.91)[0] == 9.0
    assert latency_series(service, 0.945)[0] == 99.0
    assert latency_series(service, 0.999)[0] == 99.0
    assert latency_series({"latency_p50_ms": np.array([5.0])}, 0.99)[0] == 5.0
    assert latency_series({}, 0.99) is None


def test_steps_without_requests_count_as_seen_and_weigh_nothing():
    service = {
        "latency_p99_ms": np.array([np.nan, np.nan, np.nan, 40.0]),
        "requests_per_second": np.array([0.0, 0.0, 0.0, 3.0]),
    }
    assert realised_latency(service, 0.99) == 40.0


def test_less_than_half_of_the_steps_is_no_latency():
    assert realised_latency({"latency_p99_ms": np.array([np.nan, np.nan, 40.0])}, 0.99) is None
    assert realised_latency({"latency_p99_ms": np.array([np.nan, 40.0])}, 0.99) == 40.0
    assert realised_latency({"latency_p99_ms": np.empty(0)}, 0.99) is None
    idle = {"latency_p99_ms": np.full(4, 7.0), "requests_per_second": np.zeros(4)}
    assert realised_latency(idle, 0.99) is None


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50), st.floats(0.1, 100))
def test_it_is_one_of_the_values_and_scales_with_them(values, factor):
    service = {"latency_p95_ms": np.array(values)}
    found = realised_latency(service, 0.95)
    assert found in values
    scaled = realised_latency({"latency_p95_ms": np.array(values) * factor}, 0.95)
    assert scaled == pytest.approx(found * factor)
