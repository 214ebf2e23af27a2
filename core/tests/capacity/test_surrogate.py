"""The shipped surrogate against a queue served request by request, and what holds of any queue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate


def predicted(service, rate, cpu, limit, window=25.0):
    load = ReplicaLoad(np.array([rate]), np.array([rate * cpu]), np.array([limit]), np.array(window))
    return 1000 * np.exp(shipped_surrogate().predict(service, load)[0, 0, :4])


@pytest.mark.parametrize(
    ("rate", "cpu", "limit"), [(20, 0.004, 0.4), (60, 0.004, 0.4), (10, 0.02, 0.6), (80, 0.006, 0.9)]
)
def test_quantiles_are_those_of_a_queue_served_by_hand(world, rate, cpu, limit):
    latencies = 1000 * world.simulate(rate=rate, cpu=cpu, limit=limit)
    windows = latencies[: latencies.size // 100 * 100].reshape(100, -1)  # about 30 s each
    measured = np.exp(np.log(np.quantile(windows, (0.5, 0.9, 0.95, 0.99), axis=1)).mean(axis=1))
    service = world.service(spread=0.7, threads=1.0)
    np.testing.assert_allclose(predicted(service, rate, cpu, limit, 30.0), measured, rtol=0.25)


@given(used=st.floats(0.05, 0.7), limit=st.floats(0.2, 2.0), cpu=st.floats(0.001, 0.02))
def test_more_load_never_makes_p99_much_better(used, limit, cpu):
    values = (0.0, 1.0, 0.7, 0.02, 0.3, 2.0, 32.0)
    service = ServiceParameters(*(np.array([[value]]) for value in values))
    quiet, busy = (predicted(service, share * limit / cpu, cpu, limit)[3] for share in (used, used + 0.25))
    assert busy > 0.85 * quiet
