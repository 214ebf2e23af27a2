"""What perfopt-scaling recommends is what the API tells KEDA, and what an export holds."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest
import yaml

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt.plugin import Container, WorkloadState
from perfopt.testing import daily_usage, make_context, make_snapshot
from perfopt_api.apply.export import export
from perfopt_api.scaling.plan import demand_at
from perfopt_scaling.strategy import ScalingStrategy

REPLICAS = 10


@pytest.fixture(scope="module")
def stored(make):
    """A recommendation for a service with a daily wave of 1 to 6 cores, as it is after it was stored."""
    state = WorkloadState(containers=(Container(name="app", cpu_request_cores=1.0),), replicas=REPLICAS)
    snapshot = make_snapshot({"app": {"cpu_cores": daily_usage()}}, state=state)
    context = make_context(snapshot, strategy=ScalingStrategy())
    proposal = ScalingStrategy().propose(context)
    made = make(
        optimization_type=OptimizationType.SCALING_OPTIMIZATION,
        current_state=state.to_map(),
        recommended_state=proposal.target.to_map(),
        reasons=proposal.reasons,
        made_at=context.now,
        valid_until=context.now + context.validity,
    )
    return msgspec.json.decode(msgspec.json.encode(made), type=OptimizationRecommendation)


def test_the_need_follows_the_day_at_every_instant_of_the_validity(stored):
    needs = {}
    for hours in np.arange(0, 7 * 24, 0.75):
        demand = demand_at(stored, stored.made_at + timedelta(hours=float(hours)), timedelta(hours=6))
        assert demand.replicas.minimum <= demand.replicas.needed <= demand.replicas.maximum
        assert (
            demand.forecast[0].low_cores <= demand.forecast[0].expected_cores <= demand.forecast[0].high_cores
        )
        needs.setdefault(round(float(hours) % 24, 2), []).append(demand.replicas.needed)
    assert 6 <= np.mean(needs[12.0]) <= 9
    assert np.mean(needs[0.0]) <= 3


def test_the_whole_plan_can_be_asked_for(stored):
    demand = demand_at(stored, stored.made_at, timedelta(days=7))
    assert demand.forecast[-1].end == stored.valid_until
    assert all(step.expected_cores is not None for step in demand.forecast)
    starts, ends = [s.start for s in demand.forecast], [s.end for s in demand.forecast]
    assert starts[1:] == ends[:-1]


def test_the_export_holds_the_same_settings(stored):
    files = {one["kind"]: yaml.safe_load(one["content"]) for one in export(stored, "http://perfopt.ops:8080")}
    assert set(files) == {"hpa", "keda_scaled_object", "replica_schedule"}
    spec, scaled = files["hpa"]["spec"], files["keda_scaled_object"]["spec"]
    wanted = stored.recommended_state["hpa"]
    assert spec["minReplicas"] == scaled["minReplicaCount"] == wanted["min_replicas"]
    assert spec["maxReplicas"] == scaled["maxReplicaCount"] == wanted["max_replicas"]
    assert spec["behavior"] == scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert scaled["triggers"][0]["metadata"]["url"].startswith("http://perfopt.ops:8080/api/v1/optimization/")
