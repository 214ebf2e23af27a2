"""What a running autoscaler reads: replicas needed now, and the plan."""

import functools
import math
import re
from datetime import datetime, timedelta

import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import Reason

PATH = "/api/v1/optimization/scaling/gateway/demand"


@pytest.fixture
def now(make_recommendation):
    return make_recommendation().made_at + timedelta(hours=1)  # the clock of the application


@pytest.fixture
def planned(make_recommendation, now):
    """Makes a scaling recommendation: 3 replicas, 7 from an hour after it was made, 4 from two hours on."""

    def make(number=1, **changes):
        begin = now - timedelta(hours=1)
        spans = [(0, 0.75, 3), (0.75, 2, 7), (2, 168, 4)]
        state = {
            "replicas": 4,
            "hpa": {"min_replicas": 2, "max_replicas": 12},
            "schedule": [
                {
                    "start": (begin + timedelta(hours=start)).isoformat(),
                    "end": (begin + timedelta(hours=end)).isoformat(),
                    "min_replicas": count,
                }
                for start, end, count in spans
            ],
        }
        forecast = {
            "median_cores": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
            "block_seconds": 1800.0,
            "log_margins": {"0.05": -math.log(2), "0.95": math.log(2)},
        }
        given = {
            "service_name": "gateway",
            "workload": "trading/deployment/gateway",
            "optimization_type": OptimizationType.SCALING_OPTIMIZATION,
            "recommended_state": state,
            "reasons": (Reason(code="demand_forecast", text="So much is expected.", data=forecast),),
            "made_at": begin,
        }
        return make_recommendation(number, **(given | changes))

    return make


def value_at(answer, location):
    """Reads a GJSON path of plain keys, as KEDA does with valueLocation."""
    return functools.reduce(lambda part, key: part[key], location.split("."), answer)


def test_keda_reads_the_replicas_needed_now(client, world, planned):
    world.store.add(planned())
    answer = client.get(PATH)
    assert answer.status_code == 200
    assert value_at(answer.json(), "replicas.needed") == 7
    assert answer.json()["replicas"] == {"needed": 7, "low": None, "high": None, "minimum": 2, "maximum": 12}
    assert answer.json()["basis"] == "schedule"


def test_the_plan_follows_with_its_interval(client, world, planned, now):
    world.store.add(planned())
    steps = client.get(f"{PATH}?horizon=2h").json()["forecast"]
    assert datetime.fromisoformat(steps[0]["start"]) == now
    assert datetime.fromisoformat(steps[-1]["end"]) == now + timedelta(hours=2)
    assert [step["needed"] for step in steps] == [7, 7, 4, 4]
    assert steps[0]["expected_cores"] == 4.0
    assert (steps[0]["low_cores"], steps[0]["high_cores"]) == (2.0, 8.0)


def test_without_a_schedule_the_minimum_is_needed(client, world, planned):
    state = {"replicas": 4, "hpa": {"min_replicas": 3, "max_replicas": 12}}
    world.store.add(planned(recommended_state=state, reasons=()))
    found = client.get(PATH).json()
    assert found["replicas"]["needed"] == 3
    assert found["basis"] == "reactive"
    assert found["forecast"][0]["expected_cores"] is None


def test_after_the_validity_nothing_is_claimed(client, world, planned, now):
    world.store.add(planned(valid_until=now))
    answer = client.get(PATH)
    assert answer.status_code == 409
    assert "was valid until" in answer.json()["detail"]


def test_a_service_without_a_scaling_recommendation_is_not_found(client, world, make_recommendation):
    world.store.add(make_recommendation(service_name="gateway"))
    assert client.get(PATH).status_code == 404


def test_workloads_of_one_name_are_told_apart(client, world, planned):
    world.store.add(planned(1), planned(2, workload="staging/deployment/gateway"))
    answer = client.get(PATH)
    assert answer.status_code == 409
    assert set(answer.json()["candidates"]) == {"trading/deployment/gateway", "staging/deployment/gateway"}
    named = client.get(f"{PATH}?workload=staging%2Fdeployment%2Fgateway")
    assert named.json()["workload"] == "staging/deployment/gateway"


@pytest.mark.parametrize("horizon", ["soon", "32d"])
def test_a_wrong_horizon_is_explained(client, world, planned, horizon):
    world.store.add(planned())
    answer = client.get(PATH, params={"horizon": horizon})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "horizon"


def test_the_exported_scaled_object_asks_this_very_path(client, world):
    from perfopt.plugin import HpaState, Workload, WorkloadId, WorkloadState
    from perfopt_scaling.settings import scaled_object

    name = WorkloadId(name="gateway", namespace="trading", kind="Deployment")
    workload = Workload(id=name, service_name="gateway", state=WorkloadState(containers=()))
    hpa = HpaState(min_replicas=1, max_replicas=2, target_cpu_utilization_percent=60)
    trigger = scaled_object(workload, hpa)["spec"]["triggers"][0]["metadata"]
    assert re.fullmatch(re.escape(f"http://perfopt{PATH}") + r"\?workload=.*", trigger["url"])
