"""Which job is worked on next, what equal requests share, and how many a requester may have."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, text, update

from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.errors import QuotaExceededError
from perfopt_api.store.mapping import namespace_of
from perfopt_api.store.port import ALL_CLASSES, JobClass
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import jobs
from perfopt_api.store.work import PostgresWorkStore

LEASE = timedelta(minutes=1)


@pytest.fixture
def store(database):
    return PostgresStore(database, max_open_jobs=5)


@pytest.fixture
def work(database):
    return PostgresWorkStore(database)


@pytest.fixture
def ask(store):
    async def one(name, priority="interactive", requester=None, **fields):
        request = PerformanceAnalysisRequest(service_name=name, priority=priority, **fields)
        return (await store.create_job(request, requester=requester)).job.job_id

    return one


async def next_job(work, classes=ALL_CLASSES):
    claim = await work.claim(owner="w", lease=LEASE, classes=classes)
    return None if claim is None else claim.job_id


async def test_the_higher_class_goes_first_and_then_the_older(ask, work, database):
    fleet = await ask("a", "fleet")
    first, second = await ask("b"), await ask("c")
    apply = await ask("d", "fleet")
    async with database.transaction() as connection:
        changed = update(jobs).where(jobs.c.job_id == apply).values(priority=int(JobClass.APPLY))
        await connection.execute(changed)
    assert [await next_job(work) for _ in range(5)] == [apply, first, second, fleet, None]


async def test_a_namespace_with_fewer_running_jobs_goes_first(ask, work):
    a = [await ask(f"a/s{number}", "fleet") for number in range(3)]
    b = [await ask(f"b/s{number}", "fleet") for number in range(2)]
    assert [await next_job(work) for _ in range(5)] == [a[0], b[0], a[1], b[1], a[2]]


async def test_a_reserved_slot_takes_no_fleet_job(ask, work):
    await ask("a", "fleet")
    interactive = await ask("b")
    reserved = {JobClass.APPLY, JobClass.INTERACTIVE}
    assert await next_job(work, reserved) == interactive
    assert await next_job(work, reserved) is None


async def test_a_worker_of_one_class_leaves_the_higher_ones(ask, work):
    interactive = await ask("a")
    fleet = await ask("b", "fleet")
    assert await next_job(work, {JobClass.FLEET}) == fleet
    assert await next_job(work, {JobClass.FLEET}) is None
    assert await next_job(work, {JobClass.INTERACTIVE}) == interactive


async def test_a_claim_has_its_class_and_its_wait(ask, work, database):
    await ask("a", "fleet")
    async with database.transaction() as connection:
        await connection.execute(update(jobs).values(created_at=func.now() - timedelta(seconds=90)))
    claim = await work.claim(owner="w", lease=LEASE)
    assert claim.job_class is JobClass.FLEET
    assert 90 <= claim.waited_seconds < 100


async def test_what_is_to_be_tried_later_is_not_claimed_before(ask, work, database):
    await ask("a")
    claim = await work.claim(owner="w", lease=LEASE)
    await work.release(claim, retry_in=timedelta(seconds=30), count_attempt=True)
    assert await next_job(work) is None
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE optimization_jobs SET queued_at = now()"))
    assert await next_job(work) == claim.job_id


async def test_many_workers_at_once_get_different_jobs(ask, work):
    asked = {await ask(f"s{number}") for number in range(5)}
    claimed = await asyncio.gather(*(next_job(work) for _ in range(7)))
    assert {job_id for job_id in claimed if job_id} <= asked
    assert len([job_id for job_id in claimed if job_id]) == len({job_id for job_id in claimed if job_id})


async def test_equal_requests_are_one_job_in_the_higher_class_until_it_is_finished(ask, store, work, result):
    other = await ask("b")
    one = await ask("a", "fleet")
    same = await asyncio.gather(*(ask("a", "fleet", requester="ann") for _ in range(3)), ask("a"))
    assert set(same) == {one}
    assert await ask("a", analysis_period="7d") not in (one, other)
    claim = await work.claim(owner="w", lease=LEASE)
    await work.finish_job(claim, result())
    claim = await work.claim(owner="w", lease=LEASE)
    assert claim.job_id == one  # interactive now
    await work.finish_job(claim, result())
    assert await ask("a") != one


async def test_too_many_unfinished_jobs_of_one_requester_are_refused(ask, store, work, result):
    for number in range(5):
        await ask(f"s{number}", requester="ann")
    with pytest.raises(QuotaExceededError, match="5 of your jobs are not finished, and 5 may be"):
        await ask("more", requester="ann")
    assert await ask("s0", requester="ann")  # an equal one is no further job
    assert await ask("more", requester="ben")
    assert await ask("even-more")
    await work.finish_job(await work.claim(owner="w", lease=LEASE), result())
    assert await ask("again", requester="ann")


async def test_a_stored_request_is_read_by_workers_of_the_version_before(ask, work):
    await ask("a", "fleet")
    claim = await work.claim(owner="w", lease=LEASE)
    assert "priority" not in claim.body
    assert claim.request == PerformanceAnalysisRequest(service_name="a")


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("web", ""),
        ("prod/web", "prod"),
        ("prod/deployment/web", "prod"),
        ("eu/prod/web", "prod"),
        ("eu/prod/StatefulSet/web", "prod"),
        ("prod/Deployment/web", "prod"),
    ],
)
def test_the_namespace_of_a_name(name, namespace):
    assert namespace_of(name) == namespace


async def test_an_interactive_job_among_500_of_the_fleet_starts_within_a_second(
    database_url, database, work, recommendation, result
):
    store = PostgresStore(database)
    for number in range(500):
        request = PerformanceAnalysisRequest(service_name=f"fleet/s{number}", priority="fleet")
        await store.create_job(request)
    asked = (await store.create_job(PerformanceAnalysisRequest(service_name="fleet/mine"))).job
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await next_job(work) == asked.job_id
    assert loop.time() - began < 1.0
