"""Waiting for jobs: a bounded number of callers, and no longer than the process."""

import asyncio
import time
from datetime import timedelta

import pytest

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.jobs.waiter import NatsJobWaiter
from perfopt_api.store.port import JobError
from perfopt_api.store.work import PostgresWorkStore

LONG = timedelta(seconds=30)


@pytest.fixture
async def waiter(api):
    made = NatsJobWaiter(api.store, api.backends.nats, max_waiters=2)
    await made.start()
    return made


@pytest.fixture
async def job_id(api):
    return (await api.store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))).job.job_id


async def test_one_more_than_may_wait_does_not(waiter, job_id, eventually):
    waiting = [asyncio.create_task(waiter.wait_for_job(job_id, LONG)) for _ in range(2)]
    await eventually(lambda: waiter._free == 0)
    began = time.monotonic()
    job = await waiter.wait_for_job(job_id, LONG)
    assert time.monotonic() - began < 5
    assert job.status is OptimizationStatus.ANALYZING
    assert not any(task.done() for task in waiting)
    waiter.stop()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert waiter._free == 2


async def test_a_stop_ends_waits_now_and_later(waiter, job_id, eventually):
    waiting = asyncio.create_task(waiter.wait_for_job(job_id, LONG))
    await eventually(lambda: waiter._free == 1)
    waiter.stop()
    job = await asyncio.wait_for(waiting, 5)
    assert job.status is OptimizationStatus.ANALYZING
    assert await asyncio.wait_for(waiter.wait_for_job(job_id, LONG), 5) == job


async def test_many_who_wait_for_one_job_read_it_once_at_a_time(api, job_id):
    class Counting:
        reads = 0

        async def get_job(self, wanted):
            self.reads += 1
            return await api.store.get_job(wanted)

    store = Counting()
    waiter = NatsJobWaiter(store, api.backends.nats)
    waits = [waiter.wait_for_job(job_id, timedelta(seconds=0.2)) for _ in range(50)]
    assert len(await asyncio.gather(*waits)) == 50
    assert store.reads == 1  # and none at the end, as nothing was heard of the job


async def test_a_finish_that_nobody_heard_of_is_seen_within_two_seconds(api, waiter, job_id):
    waiting = asyncio.create_task(waiter.wait_for_job(job_id, LONG))
    work = PostgresWorkStore(api.backends.database)
    claim = await work.claim(owner="w", lease=LONG)
    await work.fail_job(claim, JobError(code="no_data", message="None."))
    job = await asyncio.wait_for(waiting, 10)
    assert job.status is OptimizationStatus.FAILED
