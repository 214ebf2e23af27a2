"""How few replicas the latency objective lets run."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.plugin import Container, Slo, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_cost.objective import TOLERATED, LatencyHeadroom, latency_headroom

DAY = 288


def headroom(running, *, slo=None, service=None, cpu=None):
    main = Container(name="main", cpu_request_cores=1.0, cpu_limit_cores=2.0, memory_request_bytes=2**30)
    snapshot = make_snapshot(
        {"main": {"cpu_cores": np.full(14 * DAY, 0.5) if cpu is None else cpu}},
        service=service,
        state=WorkloadState(containers=(main,), replicas=running),
    )
    objective = None if slo is None else Slo(latency_ms=slo)
    workload = msgspec.structs.replace(snapshot.workload, slo=objective)
    return latency_headroom(make_context(replace(snapshot, workload=workload)), running)


@pytest.mark.parametrize("running", [1, 2, 5, 8])
def test_without_an_objective_nothing_holds_the_replicas(running):
    assert headroom(running) == LatencyHeadroom(1)


def test_an_objective_without_latency_holds_the_replicas_at_the_peak():
    found = headroom(6, slo=200.0)
    assert (found.least, found.load, found.held) == (6, 1.0, False)
    (reason,) = found.reasons
    assert reason.code == "slo_unchecked"
    assert reason.text == (
        "There is an SLO of 200 ms and no latency model (no latency is measured to hold it to): no replica"
        " goes at the peak. A replica that carries no more than then is assumed to be no slower."
    )


def latency(missed_steps, steps=1000, slow=300.0):
    return {"latency_p99_ms": np.where(np.arange(steps) < missed_steps, slow, 100.0)}


@pytest.mark.parametrize(("missed_steps", "held"), [(50, False), (51, True)])
def test_an_objective_missed_by_more_than_a_twentieth_holds_them_at_all_hours(missed_steps, held):
    assert TOLERATED == 0.05
    found = headroom(6, slo=200.0, service=latency(missed_steps), cpu=np.full(1000, 0.5))
    assert (found.least, found.load, found.held) == (6, 1.0, held)
    (reason,) = found.reasons
    assert reason.code == ("slo_missed" if held else "slo_unchecked")
    if held:
        assert reason.data == {"missed_share": 0.051}
        assert reason.text == (
            "The SLO of 200 ms was missed by 5% of the requests: no replica goes at any hour."
            " LATENCY_OPTIMIZATION says what it would take."
        )


def test_a_latency_model_says_how_few_keep_the_objective(bench):
    cpu = bench.cpu(busy=0.6, quiet=0.1)
    service = bench.served(6, cpu)
    loose, tight = (headroom(6, slo=slo, service=service, cpu=cpu) for slo in (500.0, 55.0))
    for found, slo in ((loose, 500.0), (tight, 55.0)):
        (reason,) = found.reasons
        assert reason.code == "slo"
        now, then = reason.data["busy_now_ms"], reason.data["busy_then_ms"]
        assert reason.data["min_replicas"] == found.least
        assert now <= then <= slo
        assert (now < then) is (found.least < 6)
        assert f"with 6 replicas and {then:.0f} ms with {found.least}, the fewest" in reason.text
        assert f"predicts {now:.0f} ms at the busy load" in reason.text
        assert not found.held
    assert (loose.least, loose.load) == (3, 2.0)  # the model predicts up to twice the load
    assert loose.least < tight.least
    assert 1.0 <= tight.load < 2.0
