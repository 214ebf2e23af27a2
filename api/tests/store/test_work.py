"""Leases: who holds a job, how long, and what becomes of one that its worker was lost with."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.store.port import FinishResult, JobClaim

LEASE = timedelta(seconds=30)
REQUEST = PerformanceAnalysisRequest(service_name="portfolio_management_service")


@pytest.fixture
def claim_new(store, work):
    async def claimed(lease=LEASE):
        await store.create_job(REQUEST)
        return await work.claim(owner="first", lease=lease)

    return claimed


async def test_only_one_of_many_workers_gets_the_lease(store, work):
    await store.create_job(REQUEST)
    claims = await asyncio.gather(*(work.claim(owner=f"w{n}", lease=LEASE) for n in range(8)))
    won = [claim for claim in claims if isinstance(claim, JobClaim)]
    assert len(won) == 1
    assert (won[0].request, won[0].attempt) == (REQUEST, 1)


async def test_who_lost_the_lease_cannot_finish(work, claim_new, recommendation, result):
    slow = await claim_new(lease=timedelta(seconds=-1))
    assert await work.take_stranded(older_than=LEASE, max_attempts=5, max_lost=2, limit=10) == (slow.job_id,)
    quick = await work.claim(owner="quick", lease=LEASE)
    assert quick.attempt == 2
    assert await work.extend(slow, LEASE) is False
    assert await work.finish_job(slow, result(recommendation())) is FinishResult.LEASE_LOST
    assert await work.extend(quick, LEASE) is True
    assert await work.finish_job(quick, result(recommendation())) is FinishResult.DONE
    assert await work.claim(owner="late", lease=LEASE) is None


async def test_a_job_whose_message_was_lost_is_found_but_not_one_just_asked_for(store, work, database):
    job = (await store.create_job(REQUEST)).job
    wait = timedelta(seconds=5)
    assert await work.take_stranded(older_than=wait, max_attempts=5, max_lost=2, limit=10) == ()
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE optimization_jobs SET queued_at = now() - interval '6 s'"))
    assert await work.take_stranded(older_than=wait, max_attempts=5, max_lost=2, limit=10) == (job.job_id,)
    assert await work.take_stranded(older_than=wait, max_attempts=5, max_lost=2, limit=10) == ()


async def test_exhausted_attempts_end_as_failed_with_the_reason(store, work, claim_new):
    claim = await claim_new(lease=timedelta(seconds=-1))
    assert await work.take_stranded(older_than=LEASE, max_attempts=1, max_lost=2, limit=10) == ()
    job = await store.get_job(claim.job_id)
    assert job.status is OptimizationStatus.FAILED
    assert job.error["code"] == "attempts_exhausted"
    assert "1 time" in job.error["message"]


async def test_a_job_that_two_workers_were_lost_with_is_not_tried_on_a_third(store, work, claim_new):
    claim = await claim_new(lease=timedelta(seconds=-1))
    again = await work.claim(owner="second", lease=timedelta(seconds=-1))
    assert (again.attempt, again.lost) == (2, 1)
    assert await work.take_stranded(older_than=LEASE, max_attempts=9, max_lost=2, limit=10) == ()
    job = await store.get_job(claim.job_id)
    assert (job.status, job.error["code"]) == (OptimizationStatus.FAILED, "workers_lost")
    assert "2 workers" in job.error["message"]


async def test_a_worker_lost_once_is_counted_when_the_job_is_queued_again(work, claim_new):
    claim = await claim_new(lease=timedelta(seconds=-1))
    assert await work.take_stranded(older_than=LEASE, max_attempts=9, max_lost=2, limit=10) == (claim.job_id,)
    again = await work.claim(owner="second", lease=LEASE)
    assert again.lost == 1
    await work.release(again, retry_in=timedelta(0), count_attempt=True)
    assert (await work.claim(owner="third", lease=LEASE)).lost == 1


async def test_a_released_job_is_free_at_once_and_its_attempt_is_not_counted(work, claim_new):
    claim = await claim_new()
    await work.release(claim, retry_in=timedelta(0), count_attempt=False)
    again = await work.claim(owner="other", lease=LEASE)
    assert again.attempt == 1
    await work.release(again, retry_in=timedelta(0), count_attempt=True)
    assert (await work.claim(owner="third", lease=LEASE)).attempt == 2
