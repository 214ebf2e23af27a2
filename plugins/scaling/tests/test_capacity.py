"""What a replica carries within its latency objective is the latency model's, where production tells one."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.capacity import ReplicaLoad, ServiceParameters
from perfopt.capacity.surrogate import shipped_surrogate
from perfopt.plugin import Container, Slo, WorkloadState
from perfopt.testing import make_context, make_snapshot
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
    found = make_snapshot(
        {"main": {"cpu_cores": load.cpu_cores, "cpu_throttled_fraction": np.clip(out[:, 4] / 2, 0, 1)}},
        service=dict(zip(names, latency.T, strict=True)) | {"requests_per_second": rate * REPLICAS},
        state=WorkloadState(containers=(main,), replicas=REPLICAS),
    )
    workload = msgspec.structs.replace(found.workload, slo=None if slo is None else Slo(latency_ms=slo))
    return ScalingStrategy().propose(
        make_context(replace(found, workload=workload), strategy=ScalingStrategy())
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
