import asyncio
import time
from datetime import timedelta

import msgspec
import nats
import pytest

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import UnavailableError
from perfopt_api.backends import open_backends
from perfopt_api.embedded import NatsServer, PostgresServer, temporary_root
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.database import Database
from perfopt_api.store.schema import migrate

REQUEST = PerformanceAnalysisRequest(service_name="vm-1")
SOON = timedelta(seconds=20)
UNUSED = "127.0.0.1:1"


@pytest.fixture
def own_nats():
    """A nats-server of this test's own, which it may stop."""
    with temporary_root() as root, NatsServer(root / "nats") as server:
        yield server


@pytest.fixture
def own_postgres():
    """A PostgreSQL of this test's own, which it may stop."""
    with temporary_root() as root, PostgresServer(root / "postgres", durable=False) as server:
        server.create_database("own")
        yield server


async def unavailable_soon(ping):
    """Waits until a ping fails, which it must within five seconds; returns what it says."""
    began = time.monotonic()
    while time.monotonic() < began + 5:
        try:
            await ping()
        except UnavailableError as error:
            assert time.monotonic() < began + 5
            return str(error)
    raise AssertionError("five seconds after the server went, it still counts as there")


async def test_nats_away_in_the_middle_delays_jobs_and_events_only(
    database_url, own_nats, api_on, worker, recommendation, result, eventually
):
    settings = ServiceSettings(database_url=database_url, nats_url=own_nats.url, startup_seconds=5)

    async def analyse(request):
        return result(recommendation(request.service_name))

    async with open_backends(settings, name="test-api", pool_size=5) as backends:
        api = await api_on(backends, settings)
        async with worker(settings, analyse):
            own_nats.stop()
            assert "nats_url" in await unavailable_soon(api.queue.ping)
            job = (await api.store.create_job(REQUEST)).job
            with pytest.raises(UnavailableError, match=r"NATS at .* is not reachable"):
                await api.queue.enqueue(job.job_id)
            own_nats.start()
            done = await api.waiter.wait_for_job(job.job_id, SOON)
            assert done.status is OptimizationStatus.RECOMMENDATIONS_READY

            async def published():
                client = await nats.connect(own_nats.url)
                state = (await client.jetstream().stream_info(settings.event_stream)).state
                await client.close()
                return state.messages == 2  # the recommendation, and how the analysis ended

            await eventually(published)
            await api.queue.ping()


async def test_nats_that_lost_its_storage_gets_its_streams_again(
    database_url, nats_url, settings, api, worker, recommendation, result
):
    async def analyse(request):
        return result(recommendation(request.service_name))

    async with worker(settings, analyse):
        for stream in (settings.job_stream, settings.event_stream):
            await api.backends.nats.jetstream.delete_stream(stream)
        job = (await api.store.create_job(REQUEST)).job
        done = await api.waiter.wait_for_job(job.job_id, SOON)
    assert done.status is OptimizationStatus.RECOMMENDATIONS_READY
    state = (await api.backends.nats.jetstream.stream_info(settings.event_stream, ">")).state
    kinds = sorted(subject.split(".")[2] for subject in state.subjects)
    assert (kinds, state.messages) == (["job_status_changed", "recommendation_generated"], 2)


async def test_postgresql_away_in_the_middle_of_a_job_loses_nothing(
    own_postgres, nats_url, api_on, worker, recommendation, result, eventually
):
    settings = ServiceSettings(database_url=own_postgres.url("own"), nats_url=nats_url, startup_seconds=5)
    started, go_on = [], asyncio.Event()

    async def analyse(request):
        started.append(request)
        await go_on.wait()
        return result(recommendation(request.service_name))

    database = Database(settings.database_url)
    await migrate(database)
    await database.close()
    async with open_backends(settings, name="test-api", pool_size=5) as backends:
        api = await api_on(backends, settings)
        async with worker(settings, analyse):
            job = (await api.store.create_job(REQUEST)).job
            await api.queue.enqueue(job.job_id)
            await eventually(lambda: started)
            own_postgres.stop()
            go_on.set()
            message = await unavailable_soon(api.backends.readiness.check)
            assert "PostgreSQL at 127.0.0.1" in message
            assert "database_url" in message
            with pytest.raises(UnavailableError):
                await api.store.get_job(job.job_id)
            own_postgres.start()
            await eventually(lambda: _answers(api))
            done = await api.waiter.wait_for_job(job.job_id, SOON)
    assert done.status is OptimizationStatus.RECOMMENDATIONS_READY
    assert len(done.recommendations) == 1


async def _answers(api):
    try:
        await api.backends.readiness.check()
    except UnavailableError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"database_url": f"postgresql://ann:hunter2@{UNUSED}/x"},
            "PostgreSQL at 127.0.0.1:1/x is not reachable",
        ),
        ({"nats_url": f"nats://ann:hunter2@{UNUSED}"}, "NATS at 127.0.0.1:1 is not reachable"),
        ({"database_url": "postgresql://perfopt@{place}/nowhere"}, 'database "nowhere" does not exist'),
    ],
)
async def test_a_start_without_a_server_says_which_and_where(settings, change, words):
    place = settings.database_url.partition("@")[2].partition("/")[0]
    change = {name: value.replace("{place}", place) for name, value in change.items()}
    wrong = msgspec.structs.replace(settings, startup_seconds=0.5, **change)
    with pytest.raises(UnavailableError) as caught:
        async with open_backends(wrong, name="test", pool_size=1):
            pass
    message = str(caught.value)
    assert words in message
    assert next(iter(change)) in message  # the setting to look at
    assert "hunter2" not in message
