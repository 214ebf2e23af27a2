import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.plugin import HpaState
from perfopt_scaling.joint import solve

ROUNDS = 12


def autoscaled(total, request, target, most=200):
    """Returns the replicas that an HPA on utilisation settles at for each demand."""
    return np.clip(np.ceil(total / (request * target) - 1e-9), 1, most)


def test_fitting_the_request_to_use_inflates_replicas_round_by_round(bench):
    """KRR #80, VPA #8493: use per pod is held at the target, so a request fitted to it falls each round."""
    total, request, target = bench.wave(), 1.0, 0.6
    peaks, requests = [], []
    for _ in range(ROUNDS):
        replicas = autoscaled(total, request, target)
        peaks.append(replicas.max())
        request = 1.15 * np.quantile(total / replicas, 0.95)
        requests.append(request)
    assert peaks[-1] == 200  # the maximum
    assert requests[-1] < 0.1


def test_solving_both_together_settles_at_once(bench):
    total = bench.wave()
    hpa, request = HpaState(max_replicas=200, target_cpu_utilization_percent=60), 1.0
    peaks, requests = [], []
    for _ in range(ROUNDS):
        target = hpa.target_cpu_utilization_percent / 100
        replicas = autoscaled(total, request, target)
        peaks.append(replicas.max())
        snapshot = bench.snapshot(total, replicas=int(replicas[-1]), request=request, hpa=hpa)
        used = snapshot.containers["main"]["cpu_cores"].values
        used[0] = total / replicas
        snapshot.service["replicas"] = replicas
        proposal = bench.ask(snapshot)
        request, hpa = proposal.target.containers[0].cpu_request_cores, proposal.target.hpa
        requests.append(request)
    assert max(peaks) <= peaks[0] + 1
    assert requests[1:] == [requests[1]] * (ROUNDS - 1)
    assert requests[-1] < 1.0


def test_a_higher_target_lowers_the_request_and_leaves_the_load():
    found = solve(1.0, 0.4, 0.8)
    assert found.request_cores == pytest.approx(0.5)
    assert found.target == 0.8
    assert found.load_cores == pytest.approx(0.4)


def test_a_lower_target_leaves_the_request():
    found = solve(1.0, 0.8, 0.5)
    assert (found.request_cores, found.target) == (1.0, 0.5)


def test_a_small_move_is_not_made():
    assert solve(1.0, 0.70, 0.74).request_cores == 1.0
    assert solve(1.0, 0.70, 0.74).target == 0.70


@given(st.floats(0.05, 8), st.floats(0.05, 0.95), st.floats(0.3, 0.85), st.floats(0.1, 500))
def test_replicas_never_rise_because_the_request_falls(request_cores, now, wanted, demand):
    found = solve(request_cores, now, wanted)
    before, after = demand / (request_cores * now), demand / found.load_cores
    if found.request_cores < request_cores:
        assert math.ceil(after - 1e-6) <= math.ceil(before + 1e-6)
    assert found.request_cores <= request_cores


def test_an_objective_bounds_the_load_and_the_request_still_falls():
    found = solve(1.0, 0.6, 0.75, 0.5)
    assert found.load_cores == pytest.approx(0.5)
    assert (found.request_cores, found.target) == (pytest.approx(0.5 / 0.75), 0.75)


@given(st.floats(0.05, 8), st.none() | st.floats(0.05, 0.95), st.floats(0.3, 0.85), st.floats(0.02, 9))
def test_no_replica_is_aimed_above_what_bounds_it(request_cores, now, wanted, most):
    found = solve(request_cores, now, wanted, most)
    assert found.load_cores <= most * (1 + 1e-9)
    assert found.target <= wanted * (1 + 1e-9)
    assert found.request_cores <= request_cores
    if now is None:
        assert found.request_cores == request_cores
