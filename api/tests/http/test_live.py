"""What KEDA reads follows the latest minutes, and falls back to the stored plan where there are none."""

import json
import re
import time
from dataclasses import replace
from datetime import timedelta

import httpx
import numpy as np
import pytest

from perfopt.domain.enums import OptimizationType
from perfopt.domain.recommendation import Reason
from perfopt.errors import SourceUnavailableError
from perfopt.plugin import Container, Workload, WorkloadId, WorkloadState
from perfopt.testing import make_snapshot
from perfopt_api.scaling.live import LiveDemand

BASE = "/api/v1/optimization/scaling"
DAY = 1440


class KedaScaler:
    """Does what KEDA's metrics-api scaler does: GET, 200, the number at valueLocation, else an error."""

    def __init__(self, client, path, location="replicas.needed"):
        self.client, self.path, self.location = client, path, location

    def value(self) -> float:
        answer = self.client.get(self.path)
        assert answer.status_code == httpx.codes.OK, f"error: api returned {answer.status_code}"
        sizing_model = json.loads(answer.content)
        for key in self.location.split("."):
            sizing_model = sizing_model[key]
        assert isinstance(sizing_model, int | float), "valueLocation must point to value of type number"
        return float(sizing_model)


@pytest.fixture
def planned(world, make_recommendation):
    """Stores a plan of 2 to 40 replicas that wants 5 now, for replicas of a core that fill up to 0.95."""

    def store(**changes):
        recommendation = make_recommendation()
        span = {
            "start": recommendation.made_at.isoformat(),
            "end": recommendation.valid_until.isoformat(),
            "min_replicas": 5,
        }
        given = {
            "service_name": "gateway",
            "workload": "trading/deployment/gateway",
            "optimization_type": OptimizationType.SCALING_OPTIMIZATION,
            "recommended_state": {
                "replicas": 5,
                "hpa": {"min_replicas": 2, "max_replicas": 40},
                "schedule": [span],
            },
            "reasons": (
                Reason(code="target_utilization", text="", data={"full": 0.95}),
                Reason(code="startup", text="", data={"startup_seconds": 120}),
            ),
        }
        recommendation = make_recommendation(**(given | changes))
        world.store.add(recommendation)
        return recommendation

    return store


@pytest.fixture
def measured(world, make_recommendation):
    """Gives the source minutes up to one before now, whose level over the last ten minutes is set."""
    now = make_recommendation().made_at + timedelta(hours=1)

    def give(last_cores=8.0, days=3, ended=timedelta(minutes=1)):
        cores = np.random.default_rng(0).normal(8.0, 0.1, days * DAY)
        cores[-10:] *= last_cores / 8.0
        container = Container(name="main", cpu_request_cores=1.0)
        identity = WorkloadId(name="gateway", namespace="trading", kind="Deployment")
        workload = Workload(
            id=identity, service_name="gateway", state=WorkloadState(containers=(container,), replicas=1)
        )
        snapshot = make_snapshot({"main": {"cpu_cores": cores}}, step=timedelta(minutes=1), end=now - ended)
        world.metrics.snapshot = replace(snapshot, workload=workload)
        return cores

    return give


def test_the_need_is_that_of_the_latest_minutes(client, planned, measured):
    planned()
    measured(last_cores=20.0)
    keda = KedaScaler(client, f"{BASE}/gateway/demand")
    assert 20 / 0.95 <= keda.value() <= 40
    found = client.get(keda.path).json()
    assert found["basis"] == "live"
    assert found["age_seconds"] == 60
    assert found["not_live"] is None
    assert found["nowcast"] == found["short_term"]  # its older name
    assert found["short_term"]["measured_cores"] == pytest.approx(20.0, rel=0.1)
    assert found["short_term"]["low_cores"] <= found["short_term"]["expected_cores"]
    assert found["short_term"]["expected_cores"] <= found["short_term"]["high_cores"]
    assert found["replicas"]["low"] <= found["replicas"]["high"] <= found["replicas"]["maximum"]
    assert found["forecast"][0]["needed"] == 5  # the plan is told beside it


@pytest.mark.parametrize(("cores", "least", "bound"), [(8.0, 15, 15), (500.0, 2, 40)])
def test_the_need_stays_within_the_recommended_bounds(client, planned, measured, cores, least, bound):
    planned(recommended_state={"replicas": 5, "hpa": {"min_replicas": least, "max_replicas": 40}})
    measured(last_cores=cores)
    assert KedaScaler(client, f"{BASE}/gateway/demand").value() == bound


def test_an_objective_that_wants_less_of_each_replica_wants_more_of_them(client, world, planned, measured):
    planned()
    measured()
    plain = KedaScaler(client, f"{BASE}/gateway/demand").value()
    kept = Reason(code="target_utilization", text="", data={"full": 0.95, "cores_within_objective": 0.5})
    planned(recommendation_id="opt_20261123_009", reasons=(kept,))
    assert KedaScaler(client, f"{BASE}/gateway/demand").value() > 1.7 * plain


def test_polling_reads_the_source_once(client, world, planned, measured):
    planned()
    measured()
    keda = KedaScaler(client, f"{BASE}/gateway/demand")
    values = {keda.value() for _ in range(20)}
    assert len(values) == 1
    assert len(world.metrics.reads) == 1
    assert world.metrics.asked == [None]


def test_the_source_is_the_one_that_was_analysed(client, world, planned, measured):
    world.store.source = "edge"
    planned()
    measured()
    KedaScaler(client, f"{BASE}/gateway/demand").value()
    assert world.metrics.asked == ["edge"]


def expect_plan(client, reason):
    found = client.get(f"{BASE}/gateway/demand").json()
    assert found["replicas"]["needed"] == 5
    assert found["basis"] == "schedule"
    assert found["age_seconds"] == 3600
    assert found["short_term"] is None
    assert found["nowcast"] is None
    assert re.search(reason, found["not_live"])


def test_a_source_that_is_down_leaves_the_plan(client, world, planned):
    planned()
    world.metrics.error = SourceUnavailableError("http://prometheus:9090 does not answer.")
    expect_plan(client, "does not answer")


def test_a_source_that_hangs_costs_a_bounded_time(client, world, planned, measured):
    world.live._wait_seconds = 0.2
    planned()
    measured()
    world.metrics.hangs = True
    begin = time.monotonic()
    expect_plan(client, "is being read|did not answer")
    assert time.monotonic() - begin < 2


def test_old_samples_leave_the_plan(client, planned, measured):
    planned()
    measured(ended=timedelta(minutes=20))
    expect_plan(client, "last sample is of 2026-11-23T11:40")


def test_a_short_history_leaves_the_plan(client, planned, measured):
    planned()
    measured(days=1)
    expect_plan(client, "two days")


def test_a_service_that_the_source_does_not_know_leaves_the_plan(client, planned, measured):
    planned(workload="trading/deployment/other")
    measured()
    expect_plan(client, "does not know")


@pytest.mark.parametrize(
    "name",
    [
        "gateway",
        "trading/gateway",
        "trading/deployment/gateway",
        "Trading/Deployment/gateway",
        "trading%2Fdeployment%2Fgateway",
        "prod/trading/gateway",
        "prod/trading/deployment/gateway",
    ],
)
def test_a_full_name_is_understood(client, world, planned, name):
    cluster = "prod/" if name.startswith("prod") else ""
    planned(workload=f"{cluster}trading/deployment/gateway")
    assert KedaScaler(client, f"{BASE}/{name}/demand").value() == 5


def test_a_series_of_a_file_has_slashes_in_its_name(client, planned):
    planned(service_name="ticker-mentions/AAPL", workload="ticker-mentions/AAPL")
    assert KedaScaler(client, f"{BASE}/ticker-mentions/AAPL/demand").value() == 5


@pytest.mark.parametrize("path", ["staging/gateway/demand", "trading/deployment/gateway", "a/b/c/d/e/demand"])
def test_other_names_are_not_found(client, planned, path):
    planned()
    assert client.get(f"{BASE}/{path}").status_code == 404


async def test_closing_stops_the_thread(world, planned, measured):
    live = LiveDemand(world.metrics.opened, poll_seconds=30, wait_seconds=5)
    made = planned()
    measured()
    await live.of(made, None, made.made_at)
    await live.close()
    assert world.metrics.snapshot is None
