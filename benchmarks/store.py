"""Lists and retention on a store with 1,000,000 recommendations; an argument is another number.

    python benchmarks/store.py [COUNT]

Starts a PostgreSQL of its own, copies one stored analysis by INSERT .. SELECT, and prints the server time of
each list of the API, of a fleet of 10,000 services as well, how fast retention deletes, and the slowest list
meanwhile. Beside the time of a list is the processor time of the application and of PostgreSQL for one
request, which other load changes little.
"""

import time
from datetime import UTC, date, datetime, timedelta

import httpx
import psutil
from dashboard import application, fill, run_on_filled_store
from sqlalchemy import text

from perfopt_api.embedded import PostgresServer
from perfopt_api.store.database import Database
from perfopt_api.store.days import PostgresDays
from perfopt_api.store.retention import PostgresRetention

RUNS = 200
BATCH = 500
_ROOT = "/api/v1/optimization"
LISTS = (
    f"{_ROOT}/recommendations",
    f"{_ROOT}/recommendations?service_name=service-99",
    f"{_ROOT}/recommendations?optimization_type=RESOURCE_OPTIMIZATION",
    f"{_ROOT}/recommendations?service_name=service-99&include=superseded",
    f"{_ROOT}/recommendations?service_name=team-19/deployment/service-99",
    f"{_ROOT}/recommendations?job_id=job-99",
    f"{_ROOT}/recommendations?job_id=fleet",
    f"{_ROOT}/recommendations?job_id=fleet&include=superseded",
    f"{_ROOT}/recommendations?include=superseded",
    f"{_ROOT}/recommendations?optimization_type=COST_OPTIMIZATION&include=superseded",
    f"{_ROOT}/jobs",
    f"{_ROOT}/jobs?service_name=service-99",
    f"{_ROOT}/jobs?status=FAILED",
    f"{_ROOT}/jobs?fleet_id=fleet",
    f"{_ROOT}/jobs/fleet",
)
FLEET_SERVICES = 10_000
_FLEET = """
INSERT INTO optimization_jobs (job_id, service_name, optimization_type, status, created_at, completed_at,
  request, kind)
SELECT 'fleet', 'all workloads', optimization_type, status, now(), now(), '{"selector": {}}', 'fleet'
FROM optimization_jobs WHERE job_id = 'job-1'
"""
_MARKED = tuple(
    f"UPDATE {table} SET fleet_id = 'fleet'"  # noqa: S608  names of our own tables
    " WHERE job_id IN (SELECT 'job-' || n FROM generate_series(1, CAST(:count AS int)) AS n)"
    for table in ("optimization_jobs", "optimization_recommendations")
)
_DAYS, _OF_DAYS = 15, 2000


async def _once(client: httpx.AsyncClient, path: str) -> float:
    started = time.perf_counter()
    answer = await client.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    return 1000 * (time.perf_counter() - started)


def _shown(name: str, times: list[float], after: str = "") -> None:
    times.sort()
    at = {share: times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99)}
    print(f"{name:<80} p50 {at[0.5]:6.1f} ms  p99 {at[0.99]:6.1f} ms{after}", flush=True)


def _processor_ms(server: int) -> float:
    """Returns the processor time so far of this process and of PostgreSQL's, in milliseconds."""
    family = [psutil.Process(), *psutil.Process(server).children()]
    return 1000 * sum(sum(one.cpu_times()[:2]) for one in family)


async def lists(client: httpx.AsyncClient, server: int) -> None:
    """Prints the server time of each list, one request at a time, without network.

    Args:
        client: of the application.
        server: the process of PostgreSQL.
    """
    for path in LISTS:
        await _once(client, path)  # statements are prepared once a connection
        before = _processor_ms(server)
        times = [await _once(client, path) for _ in range(RUNS)]
        used = (_processor_ms(server) - before) / RUNS
        _shown(path.removeprefix(_ROOT), times, f"  processor {used:5.1f} ms")


async def retention(client: httpx.AsyncClient, database: Database) -> None:
    """Prints how fast old jobs are deleted in batches, and lists meanwhile."""
    store, slowest, gone = PostgresRetention(database), [0.0], 0
    started, before = time.perf_counter(), datetime.now(UTC) - timedelta(days=30)
    while time.perf_counter() - started < 30 and (count := await store.forget_jobs(before, limit=BATCH)):
        gone += count
        slowest.append(await _once(client, LISTS[0]))
    seconds = time.perf_counter() - started
    print(f"{'retention of jobs, batches of ' + str(BATCH):<70} {gone / seconds:6.0f} jobs a second")
    _shown("lists meanwhile", slowest[1:])


async def days(database: Database) -> None:
    """Prints how fast stored days of series go."""
    store, today, content = PostgresDays(database), date(2026, 1, 31), b"x" * 4000
    for back in range(_DAYS):
        day = today - timedelta(days=back)
        await store.save("source", {(f"service-{n}", day): content for n in range(_OF_DAYS)})
    started = time.perf_counter()
    before = datetime(2026, 1, 31, tzinfo=UTC) - timedelta(days=4)
    gone = await PostgresRetention(database).forget_days(before, limit=BATCH)
    while count := await PostgresRetention(database).forget_days(before, limit=BATCH):
        gone += count
    seconds = time.perf_counter() - started
    print(f"{'retention of stored days':<70} {gone} rows in {1000 * seconds:.0f} ms", flush=True)


async def measure(server: PostgresServer, count: int) -> None:
    """Fills the store and prints all figures."""
    url = server.url("benchmark")
    started = time.perf_counter()
    patient = Database(url, command_seconds=900)
    await fill(patient, count)
    async with patient.transaction() as connection:
        old = "UPDATE optimization_jobs SET completed_at = created_at WHERE job_id LIKE 'job-%'"
        await connection.execute(text(old))
    async with patient.transaction() as connection:
        await connection.execute(text(_FLEET))
        for statement in _MARKED:
            await connection.execute(text(statement), {"count": FLEET_SERVICES})
    async with patient.reading() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
        await connection.execute(text("CHECKPOINT"))  # what was written by the fill is none of a list's time
    await patient.close()
    database = Database(url)
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
    transport = httpx.ASGITransport(app=await application(database))
    async with httpx.AsyncClient(transport=transport, base_url="http://perfopt.test") as client:
        await lists(client, server.pid)
        await days(database)
        await retention(client, database)
    await database.close()


if __name__ == "__main__":
    run_on_filled_store(f"{RUNS} requests a list, one at a time", measure)
