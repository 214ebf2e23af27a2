"""What a replica carries within its latency objective is the latency model's, where production tells one."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.plugin import Container, Slo, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_scaling.capacity import capacity
from perfopt_scaling.demand import total_demand
from perfopt_scaling.strategy import ScalingStrategy

DAY, REPLICAS, LIMIT, CPU = 288, 4, 0.5, 0.004


def asked(slo, low=0.2):
    """Two weeks of four replicas whose rate swings up to 80 requests/s each, with the law's own latency."""
    rng = np.random.default_rng(1)
    steps = np.arange(14 * DAY)
    swing = (1 + low) / 2 - (1 - low) / 2 * np.cos(2 * np.pi * steps / DAY)
    rate = 80 * swing * (1 + 0.03 * rng.standard_normal(steps.size))
    service = ServiceParameters(*(np.array([value]) for value in (0.1, 8.0, 0.2, 0.02, 0.3, 2.0, 32.0)))
    load = ReplicaLoad(rate, rate * CPU, np.full(rate.size, LIMIT), np.array(300.0))
    out = shipped_surrogate().predict(service, load)
    latency = 1000 * np.exp(out[:, :4] + 0.05 * rng.standard_normal(out[:, :4].shape))
    names = ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")
    main = Container(name="main", cpu_request_cores=0.4, cpu_limit_cores=LIMIT, memory_request_bytes=2**29)
    snapshot = make_snapshot(
        {"main": {"cpu_cores": load.cpu_cores, "cpu_throttled_fraction": np.clip(out[:, 4] / 2, 0, 1)}},
        service=dict(zip(names, latency.T, strict=True)) | {"requests_per_second": rate * REPLICAS},
        state=WorkloadState(containers=(main,), replicas=REPLICAS),
    )
    workload = msgspec.structs.replace(snapshot.workload, slo=None if slo is None else Slo(latency_ms=slo))
    return ScalingStrategy().propose(
        make_context(replace(snapshot, workload=workload), strategy=ScalingStrategy())
    )


def learnt(proposal):
    return next(reason for reason in proposal.reasons if reason.code == "target_utilization")


@pytest.fixture(scope="module")
def tight():
    return asked(150.0)


def test_the_model_says_how_many_requests_keep_the_objective(tight):
    found = learnt(tight)
    assert found.data["objective_by"] == "model"
    assert 10 < found.data["requests_per_second_within_objective"] < 80
    assert found.data["requests_per_core"] == pytest.approx(1 / CPU, rel=0.05)
    assert "By the latency model a replica meets its objective up to" in found.text


def test_a_tighter_objective_runs_more_replicas(tight):
    loose, none = asked(1000.0), asked(None)
    assert tight.target.replicas > loose.target.replicas
    assert tight.target.hpa.max_replicas > loose.target.hpa.max_replicas
    assert learnt(none).data["cores_within_objective"] is None


def test_load_that_hardly_varies_tells_no_law_and_what_was_seen_counts():
    found = learnt(asked(60.0, low=0.95))
    assert found.data["objective_by"] in ("seen", None)


def growing(cores, *, level=1.0, held=0.0, startup="300"):
    """Returns what a replica of 1 core carries where demand in total was this, in steps of 5 minutes."""
    cores = np.asarray(cores, dtype=float)
    main = Container(name="main", cpu_request_cores=1.0, memory_request_bytes=2**29)
    snapshot = make_snapshot(
        {"main": {"cpu_cores": cores}},
        service={"replicas": np.ones(cores.size)},
        state=WorkloadState(containers=(main,), replicas=1),
    )
    workload = msgspec.structs.replace(snapshot.workload, annotations={"perfopt.io/startup-seconds": startup})
    context = make_context(replace(snapshot, workload=workload))
    return capacity(context, total_demand(context), level, np.full(cores.size, held))


def flat(*changes, days=3):
    cores = np.full(days * DAY, 2.0)
    for step, value in changes:
        cores[step:] = value
    return cores


@pytest.mark.parametrize(
    ("startup", "growth"),
    [("300", 1.5), ("301", 2.25), ("600", 2.25)],  # the second rise comes a step after the first
)
def test_growth_is_how_demand_rises_while_a_replica_starts(startup, growth):
    found = growing(flat((100, 3.0), (101, 4.5), (102, 2.0)), startup=startup)
    assert found.growth == pytest.approx(growth)
    assert found.busy == pytest.approx(1 / (found.growth * 1.1))


def test_an_autoscaler_aims_no_higher_than_three_quarters_and_no_lower_than_three_tenths():
    steady = growing(flat())
    assert (steady.growth, steady.busy) == (1.0, 0.75)
    wild = growing(flat((100, 40.0), (101, 2.0)))
    assert (wild.growth, wild.busy) == (20.0, 0.30)


def test_what_a_plan_held_anyway_and_jumps_from_idle_do_not_count():
    assert growing(flat((100, 3.0), (101, 2.0)), held=3.0).growth == 1.0
    assert growing(flat((100, 3.0), (101, 2.0)), held=2.9).growth == 1.5
    idle = flat((100, 0.1), (101, 0.8), (102, 2.0))
    assert growing(idle).growth == 2.5  # 2 to 0.8; from 0.1 to 0.8 counts from a fifth of the median


def test_a_service_that_stood_still_grew_from_what_it_did_before():
    stopped = flat((100, 0.0), (101, 3.0), (102, 2.0))
    assert growing(stopped).growth == 1.0
    assert growing(np.zeros(3 * DAY)).growth == 1.0
