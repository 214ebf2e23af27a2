"""A preflight request goes to a worker and its answer comes back; without one, the asker is told so."""

from datetime import UTC, datetime

import pytest

from perfopt.errors import UnavailableError
from perfopt_api.apply.cluster import WorkloadChange, WorkloadTarget
from perfopt_api.apply.preflight import PreflightFinding, PreflightReport, PreflightRequest
from perfopt_api.apply.state import ApplyOrder
from perfopt_api.jobs.preflight import NatsPreflight, answer_preflights

TARGET = WorkloadTarget(api_version="apps/v1", kind="Deployment", namespace="shop", name="api")
REQUEST = PreflightRequest(
    order=ApplyOrder(stages=(WorkloadChange(target=TARGET, replicas=2),)), workload="shop/deployment/api"
)
REPORT = PreflightReport(
    at=datetime(2026, 11, 30, tzinfo=UTC),
    findings=(PreflightFinding(outcome="noted", code="qos_class", message="The class changes."),),
)


async def test_without_a_worker_the_asker_is_told_what_to_start(api):
    with pytest.raises(UnavailableError, match="No worker") as error:
        await NatsPreflight(api.backends.nats).ask(REQUEST)
    assert "Start a worker" in error.value.remedy


async def test_a_worker_answers_and_survives_its_own_error(api):
    asked = []

    async def look(request):
        asked.append(request)
        if len(asked) == 1:
            raise RuntimeError("unexpected")
        return REPORT

    await answer_preflights(api.backends.nats, look)
    port = NatsPreflight(api.backends.nats)
    with pytest.raises(UnavailableError, match="could not look"):
        await port.ask(REQUEST)
    assert await port.ask(REQUEST) == REPORT
    assert asked == [REQUEST, REQUEST]
