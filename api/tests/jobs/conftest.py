import asyncio
import contextlib
import time
from datetime import timedelta

import msgspec
import pytest
from outcome_world import KEY, MADE, WEEK, state
from sqlalchemy import select

from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.testing import make_snapshot
from perfopt_api.backends import open_backends
from perfopt_api.jobs.jetstream import JetStreamJobQueue
from perfopt_api.jobs.outcomes import OutcomeScorer
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.waiter import NatsJobWaiter
from perfopt_api.jobs.wiring import serve_jobs
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.outcomes import PostgresOutcomes
from perfopt_api.store.plan_outcomes import PostgresPlanOutcomes
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.tables import recommendations
from perfopt_api.store.work import PostgresWorkStore

QUICK = WorkerPolicy(
    lease_seconds=1.0, max_attempts=3, grace_seconds=0.5, stranded_seconds=0.5, backoff_seconds=0.05
)


@pytest.fixture
def settings(database_url, nats_url):
    return ServiceSettings(database_url=database_url, nats_url=nats_url, startup_seconds=5)


@pytest.fixture
async def api(settings):
    """What the API process holds: store, queue and waiter."""
    async with open_backends(settings, name="test-api", pool_size=5) as backends:
        yield await Api.on(backends, settings)


class Api:
    def __init__(self, backends, settings):
        self.backends = backends
        self.store = PostgresStore(backends.database)
        self.queue = JetStreamJobQueue(backends.nats, settings.job_stream)
        self.waiter = NatsJobWaiter(self.store, backends.nats)

    @classmethod
    async def on(cls, backends, settings):
        self = cls(backends, settings)
        await self.waiter.start()
        return self


@pytest.fixture
def api_on():
    return Api.on


@pytest.fixture
def worker():
    """Runs a worker in this process while the context is open."""

    @contextlib.asynccontextmanager
    async def run(settings, analyse, policy=QUICK, tasks=lambda _: (), applying=None, fleet=None):
        stop = asyncio.Event()
        serving = serve_jobs(settings, analyse, stop, policy, tasks, applying=applying, fleet=fleet)
        task = asyncio.create_task(serving)
        try:
            yield task
        finally:
            stop.set()
            await task

    return run


@pytest.fixture
def eventually():
    """Waits until a condition holds, with a deadline."""

    async def wait(condition, within=10.0):
        deadline = time.monotonic() + within
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            assert time.monotonic() < deadline, "the condition did not come true in time"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def scorer(database):
    """Builds a scorer of outcomes on this test's database."""

    def build(source, clock, learnt=None):
        async def opened(name):
            assert name in (None, "edge")
            return source

        use = (lambda records: None) if learnt is None else learnt.append
        versions = {KEY: "0.1.0"}
        stores = (PostgresOutcomes(database), PostgresPlanOutcomes(database))
        return OutcomeScorer(stores, opened, versions, use, pause_seconds=0.01, now=clock)

    return build


@pytest.fixture
def stored(database, recommendation):
    """Stores a recommendation as an analysis does; returns its id."""

    async def store(service="web", cpu=0.6, at=MADE, confidence=0.9, **fields):
        identity = make_snapshot(name=service).workload.id
        given = recommendation(service)
        improvement = msgspec.structs.replace(given.expected_improvement, confidence=confidence)
        given = msgspec.structs.replace(
            given,
            workload=str(identity),
            plugin=KEY,
            plugin_version="0.1.0",
            made_at=at,
            valid_until=at + WEEK,
            current_state=state(2.0).to_map(),
            recommended_state=state(cpu).to_map(),
            expected_improvement=improvement,
            **fields,
        )
        request = PerformanceAnalysisRequest(service_name=service, source="edge")
        job = (await PostgresStore(database).create_job(request)).job
        work = PostgresWorkStore(database)
        claim = await work.claim(owner=job.job_id, lease=timedelta(minutes=1))
        result = AnalysisResult(
            service_name=service, workload=given.workload, recommendations=(given,), declined=(), warnings=()
        )
        await work.finish_job(claim, result)
        query = select(recommendations.c.recommendation_id).where(recommendations.c.job_id == job.job_id)
        async with database.transaction() as connection:
            return await connection.scalar(query)

    return store
