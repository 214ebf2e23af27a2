import asyncio
import contextlib
import time

import pytest

from perfopt_api.backends import open_backends
from perfopt_api.jobs.jetstream import JetStreamJobQueue
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.waiter import NatsJobWaiter
from perfopt_api.jobs.wiring import serve_jobs
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.postgres import PostgresStore

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
    async def run(settings, analyse, policy=QUICK, tasks=lambda _: (), applying=None):
        stop = asyncio.Event()
        serving = serve_jobs(settings, analyse, stop, policy, tasks, applying=applying)
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
