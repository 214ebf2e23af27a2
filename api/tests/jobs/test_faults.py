"""Faults of PostgreSQL: nothing is lost, nothing goes out twice, and the message says what it is."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, text, update

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import UnavailableError
from perfopt_api.errors import OverloadedError
from perfopt_api.events.nats import JOB_SUBJECT
from perfopt_api.store import database as store
from perfopt_api.store.database import Database
from perfopt_api.store.outcomes import PostgresOutcomes
from perfopt_api.store.tables import jobs, outcomes, recommendations

REQUEST = PerformanceAnalysisRequest(service_name="vm-1")
SOON = timedelta(seconds=20)
WRITTEN = ("optimization_jobs", "optimization_recommendations", "outbox", "idempotency_keys")
WRITES = "INSERT OR UPDATE OR DELETE"
FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$
"""


class Faults:
    """Breaks and heals one database over a connection of its own."""

    def __init__(self, connection):
        self._connection = connection
        self._transaction = None

    async def read_only(self):
        await self._of_database("SET default_transaction_read_only = on")

    async def disk_full(self):
        await self._connection.execute(FULL)
        for table in WRITTEN:
            trigger = f"CREATE TRIGGER disk_full BEFORE {WRITES} ON {table} EXECUTE FUNCTION disk_full()"
            await self._connection.execute(trigger)

    async def locked(self):
        await self._of_database("SET lock_timeout = '100ms'")
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        await self._connection.execute(f"LOCK TABLE {', '.join(WRITTEN)} IN EXCLUSIVE MODE")

    async def heal(self):
        if self._transaction is not None:
            await self._transaction.rollback()
        await self._connection.execute("DROP FUNCTION IF EXISTS disk_full() CASCADE")
        await self._of_database("RESET ALL")

    async def _of_database(self, change):
        name = await self._connection.fetchval("SELECT current_database()")
        await self._connection.execute(f"ALTER DATABASE {name} {change}")
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> $2"
        await self._connection.execute(others, name, self._connection.get_server_pid())


@pytest.fixture
async def faults(database_url):
    connection = await asyncpg.connect(database_url)
    yield Faults(connection)
    await connection.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [("read_only", "takes no writes"), ("disk_full", "no disk space"), ("locked", "did not get a lock")],
)
async def test_a_fault_in_the_middle_of_a_job_loses_nothing_and_doubles_nothing(
    fault, words, faults, settings, api, worker, recommendation, result, eventually
):
    started, go_on = [], asyncio.Event()

    async def analyse(request):
        started.append(request)
        await go_on.wait()
        return result(recommendation(request.service_name))

    async with worker(settings, analyse):
        job = (await api.store.create_job(REQUEST)).job
        await api.queue.enqueue(job.job_id)
        await eventually(lambda: started)
        await getattr(faults, fault)()
        go_on.set()
        await eventually(lambda: _says(api, words))
        await eventually(_failing)
        await faults.heal()
        done = await api.waiter.wait_for_job(job.job_id, SOON)
        assert done.status is OptimizationStatus.RECOMMENDATIONS_READY
        again = (await api.store.create_job(REQUEST)).job
        await api.queue.enqueue(again.job_id)
        assert (await api.waiter.wait_for_job(again.job_id, SOON)).recommendations
        await eventually(lambda: _published(api, settings))
    state = (await api.backends.nats.jetstream.stream_info(settings.event_stream, ">")).state
    counts = {subject.split(".")[2]: count for subject, count in state.subjects.items()}
    # the second analysis recommends the same: no event but of its end
    assert counts == {"recommendation_generated": 1, "job_status_changed": 2}


async def _says(api, words):
    try:
        await api.store.create_job(REQUEST)
    except UnavailableError as error:
        return words in error.message
    return False


def _failing():
    return any(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "perfopt_background_failing"
        for sample in metric.samples
    )


async def _published(api, settings):
    return (await api.backends.nats.jetstream.stream_info(settings.event_stream)).state.messages >= 3


async def test_all_connections_in_use_is_overload_and_nothing_else(database_url, monkeypatch):
    monkeypatch.setattr(store, "POOL_SECONDS", 0.1)
    database = Database(database_url, pool_size=1)
    try:
        async with database.transaction(), database.transaction():
            with pytest.raises(OverloadedError, match="All connections of this process are in use"):
                async with database.transaction():
                    pytest.fail("there was a third connection")
    finally:
        await database.close()


async def test_a_message_that_names_no_job_is_set_aside(
    settings, api, worker, recommendation, result, eventually
):
    def set_aside():
        return REGISTRY.get_sample_value("perfopt_set_aside_total", {"kind": "job_message"}) or 0

    async def analyse(request):
        return result(recommendation(request.service_name))

    before = set_aside()
    for number, data in enumerate((b"\xff\xfe", b"a\x00b", b"")):
        await api.backends.nats.jetstream.publish(f"{JOB_SUBJECT}.bad{number}", data)
    async with worker(settings, analyse):
        job = (await api.store.create_job(REQUEST)).job
        await api.queue.enqueue(job.job_id)
        done = await api.waiter.wait_for_job(job.job_id, SOON)
        await eventually(lambda: set_aside() == before + 3)
    assert done.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert (await api.backends.nats.jetstream.stream_info(settings.job_stream)).state.messages == 0


async def test_a_stored_request_that_cannot_be_read_ends_as_failed_with_the_reason(settings, api, worker):
    async def analyse(_):
        pytest.fail("there is nothing to analyse")

    job = (await api.store.create_job(REQUEST)).job
    async with api.backends.database.transaction() as connection:
        await connection.execute(update(jobs).values(request={"service_name": "vm-1", "from_the_future": 1}))
    await api.queue.enqueue(job.job_id)
    async with worker(settings, analyse):
        done = await api.waiter.wait_for_job(job.job_id, SOON)
    assert done.status is OptimizationStatus.FAILED
    assert done.error["code"] == "unreadable_request"
    assert "from_the_future" in done.error["message"]


async def test_an_outcome_that_cannot_be_read_is_set_aside_and_holds_up_no_other(
    settings, api, worker, recommendation, result
):
    async def analyse(request):
        return result(recommendation(request.service_name))

    async with worker(settings, analyse):
        for name in ("vm-1", "vm-2"):
            job = (await api.store.create_job(PerformanceAnalysisRequest(service_name=name))).job
            await api.queue.enqueue(job.job_id)
            await api.waiter.wait_for_job(job.job_id, SOON)
    database = api.backends.database
    async with database.transaction() as connection:
        unreadable = text("'{\"reasons\": 5}'::json")
        broken = update(recommendations).where(recommendations.c.service_name == "vm-1")
        await connection.execute(broken.values(body=unreadable))
    due = await PostgresOutcomes(database).claim(
        datetime.now(UTC), owner="a", lease=timedelta(minutes=1), limit=10
    )
    assert [one.made[0].service_name for one in due] == ["vm-2"]
    async with database.transaction() as connection:
        rows = (await connection.execute(select(outcomes.c.status, outcomes.c.reason))).all()
    assert ("not_scored", "What is stored of the recommendation cannot be read.") in [tuple(r) for r in rows]
