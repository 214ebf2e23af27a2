"""What the scaling endpoint asks the store: recommendations by full name, and the source they came from."""

from datetime import timedelta

import msgspec
import pytest

from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.store.port import FinishResult, JobClaim


@pytest.fixture
def stored(store, work, recommendation, result):
    """Stores a recommendation for a workload, made from a source; returns its id."""

    async def run(workload, source=None):
        asked = PerformanceAnalysisRequest(service_name="gateway", source=source)
        created = await store.create_job(asked)
        claim = await work.claim(owner="test", lease=timedelta(seconds=30))
        assert isinstance(claim, JobClaim)
        made = msgspec.structs.replace(recommendation(), workload=workload)
        outcome = msgspec.structs.replace(result(made), workload=workload)
        assert await work.finish_job(claim, outcome) is FinishResult.DONE
        [kept] = (await store.get_job(created.job.job_id)).recommendations
        return kept.recommendation_id

    return run


async def test_a_full_name_may_leave_out_its_cluster_and_kind(store, stored):
    await stored("prod/trading/deployment/order-gateway")
    await stored("staging/deployment/order-gateway")
    for name, count in (
        ("prod/trading/deployment/order-gateway", 1),
        ("prod/trading/order_gateway", 1),
        ("trading/order-gateway", 1),
        ("Trading/Deployment/order-gateway", 1),
        ("staging/order-gateway", 1),
        ("staging/statefulset/order-gateway", 0),
        ("trading/order.gateway", 0),
        ("deployment/order-gateway", 0),
    ):
        found = await store.list_recommendations(service_name=name)
        assert len(found.items) == count, name


async def test_the_source_is_that_of_the_request(store, stored):
    assert await store.source_of(await stored("a/deployment/b", source="edge")) == "edge"
    assert await store.source_of(await stored("a/deployment/c")) is None
