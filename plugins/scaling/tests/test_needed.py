"""More replicas than now are recommended where something shows that they are needed."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from perfopt.metrics.snapshot import PodSeries
from perfopt.plugin import HpaState, Slo

DAY = 288


def jumpy(high=7.0, days=14):
    """Demand that doubles at times within a start-up, so that a plan is careful."""
    total = np.full(days * DAY, 3.0)
    total[::40] = high
    return total


def service(bench, total=None, replicas=8, throttled=0.0, **given):
    made = bench.snapshot(jumpy() if total is None else total, replicas=replicas, **given)
    fraction = PodSeries(("",), np.full((1, made.grid.size), throttled))
    made.containers["main"]["cpu_throttled_fraction"] = fraction
    return made


def test_replicas_that_were_always_enough_stay(bench):
    proposal = bench.ask(service(bench))
    assert proposal.no_change_needed
    assert proposal.target == service(bench).workload.state
    assert proposal.description == "No change needed: 8 replicas were enough."
    (reason,) = proposal.reasons
    assert reason.code == "staying_enough"
    assert "at most 7 of the 8 requested" in reason.text
    assert reason.data["planned_replicas"] > 8


@pytest.mark.parametrize(
    "shows",
    [
        {"replicas": 6, "total": jumpy(high=7.0)},
        {"throttled": 0.5},
        {"hpa": HpaState(min_replicas=8, max_replicas=9, target_cpu_utilization_percent=80)},
        {"extra": {"schedule": []}},
    ],
)
def test_what_shows_a_need_leads_to_a_plan(bench, shows):
    assert not bench.ask(service(bench, **shows)).no_change_needed


def test_a_latency_objective_leads_to_a_plan(bench):
    made = service(bench)
    workload = msgspec.structs.replace(made.workload, slo=Slo(latency_ms=100, quantile=0.99))
    assert not bench.ask(replace(made, workload=workload)).no_change_needed


def test_demand_that_grows_beyond_what_ran_leads_to_a_plan(bench):
    total = np.concatenate([np.full(13 * DAY, 3.0), np.full(DAY, 9.0)])
    assert not bench.ask(service(bench, total)).no_change_needed


def test_a_plan_of_fewer_replicas_is_recommended(bench):
    assert not bench.ask(service(bench, np.full(14 * DAY, 2.0), replicas=20)).no_change_needed
