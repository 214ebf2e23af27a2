"""What the API asks of a store. The one in memory, on which the API is tested, gives the same answers."""

from datetime import timedelta

import msgspec
import pytest
from memory_store import MemoryStore

from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import ConflictError, InvalidInputError
from perfopt_api.store.port import FinishResult, JobClaim


@pytest.fixture(params=["memory", "postgres"])
def either(request):
    """Each store in turn."""
    return MemoryStore() if request.param == "memory" else request.getfixturevalue("store")


async def create(store, *services, **key):
    """Creates a job for each name, oldest first; returns their ids."""
    return [
        (await store.create_job(PerformanceAnalysisRequest(service_name=service), **key)).job.job_id
        for service in services
    ]


async def test_a_job_reads_back_as_it_was_created(either):
    asked = PerformanceAnalysisRequest(service_name="a/b", analysis_period="P7D")
    created = await either.create_job(asked)
    assert created.replayed is False
    job = await either.get_job(created.job.job_id)
    assert job == created.job
    assert (job.service_name, job.analysis_period) == ("a/b", "P7D")
    assert (job.status, job.optimization_types) == (OptimizationStatus.ANALYZING, tuple(OptimizationType))


async def test_what_is_not_there_is_none(either):
    assert await either.get_job("job_none") is None
    assert await either.get_recommendation("opt_20000101_001") is None


async def test_pages_have_the_newest_first_and_the_total(either):
    first, second, third = await create(either, "a", "b", "c")
    page = await either.list_jobs(limit=2)
    assert ([job.job_id for job in page.items], page.total) == ([third, second], 3)
    rest = await either.list_jobs(limit=2, cursor=page.next_cursor)
    assert ([job.job_id for job in rest.items], rest.total) == ([first], 3)
    assert rest.next_cursor is None


async def test_jobs_are_listed_by_service_and_by_status(either):
    first, _ = await create(either, "a", "b")
    assert [job.job_id for job in (await either.list_jobs(service_name="a")).items] == [first]
    assert (await either.list_jobs(status=OptimizationStatus.ANALYZING)).total == 2
    done = await either.list_jobs(status=OptimizationStatus.RECOMMENDATIONS_READY)
    assert (done.items, done.total, done.next_cursor) == ((), 0, None)


@pytest.mark.parametrize("wrong", [{"cursor": "none of ours"}, {"limit": 0}, {"limit": 501}])
async def test_a_wrong_page_is_refused(either, wrong):
    (field,) = wrong
    for listed in (either.list_jobs, either.list_recommendations):
        with pytest.raises(InvalidInputError) as error:
            await listed(**wrong)
        assert error.value.field == field


async def test_a_key_gives_the_job_again_to_who_used_it_first(either):
    asked = PerformanceAnalysisRequest(service_name="a")
    key = {"idempotency_key": "k", "body_hash": "1", "requester": "ann"}
    created = await either.create_job(asked, **key)
    again = await either.create_job(asked, **key)
    assert (again.job.job_id, again.replayed) == (created.job.job_id, True)
    other = await either.create_job(
        PerformanceAnalysisRequest(service_name="b"), **key | {"requester": "bob"}
    )
    assert (other.job.job_id != created.job.job_id, other.replayed) == (True, False)
    with pytest.raises(ConflictError, match="was used with another body"):
        await either.create_job(asked, **key | {"body_hash": "2"})


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
