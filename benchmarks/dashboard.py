"""The dashboard with 10,000 workloads: server time and memory of each page, and the bytes of a first load.

An argument is the number of recommendations, a million else.
"""

import asyncio
import gzip
import logging
import re
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
import structlog
from sqlalchemy import text

from perfopt import testing
from perfopt.config import Config
from perfopt.domain.recommendation import AnalysisResult
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.embedded import PostgresServer, temporary_root
from perfopt_api.http.app import create_app
from perfopt_api.http.ports import ApiPorts
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.apply_requests import PostgresApplyRequests
from perfopt_api.store.backtests import PostgresBacktests
from perfopt_api.store.dashboard import PageStore
from perfopt_api.store.database import Database
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.refusals import PostgresRefusals
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.store.schema import migrate_now
from perfopt_api.store.work import PostgresWorkStore
from perfopt_api.web.app import dashboard
from perfopt_api.web.ports import WebPorts
from perfopt_api.web.series import SeriesReader, sources_of
from perfopt_api.web.view import template_config

WORKLOADS = 10_000
RUNS = 100
_SLICE = 50_000
_FIRST = "team-0/deployment/service-0"

_JOBS = """
INSERT INTO optimization_jobs (job_id, service_name, optimization_type, status, created_at, completed_at,
  request)
SELECT 'job-' || n, 'service-' || n % 10000, optimization_type, status,
       now() - n * interval '1 minute', now(), request
FROM optimization_jobs, generate_series(CAST(:first AS int), :last) AS n WHERE job_id = :job_id
"""
_RECOMMENDATIONS = """
INSERT INTO optimization_recommendations (recommendation_id, job_id, service_name, optimization_type,
  description, current_state, recommended_state, expected_improvement, created_at, rank, workload, made_at,
  valid_until, body, announced, superseded_by)
SELECT 'opt-' || n, 'job-' || n, 'service-' || n % 10000, optimization_type, description, current_state,
  recommended_state, expected_improvement, now() - n * interval '1 minute', 1,
  'team-' || n % 40 || '/deployment/service-' || n % 10000, made_at, valid_until, body, announced,
  CASE WHEN n > 9999 THEN 'opt-' || n - 10000 END
FROM optimization_recommendations, generate_series(CAST(:first AS int), :last) AS n WHERE job_id = :job_id
"""
_OUTCOMES = """
INSERT INTO recommendation_outcomes (recommendation_id, status, due_at, scored_at, applied, accurate,
  cpu_safe, memory_safe, optimization_type, strategy, service_class, stated, saving, currency)
SELECT 'opt-' || n, 'scored', now(), now() - (n % 129600) * interval '1 minute', n % 3 = 0, random() < 0.9,
  true, true, 'RESOURCE_OPTIMIZATION', 'resource/resource', 'standard', 0.8 + random() / 5,
  10 * random(), 'USD'
FROM generate_series(CAST(:first AS int), :last) AS n
"""
_WORKLOADS = """
INSERT INTO workloads (workload, service_name, namespace, kind, status, changes, cost_current,
  cost_recommended, currency, confidence, accurate, scored, n_effective, job_id,
  recommendation_id, valid_until)
SELECT 'team-' || n % 40 || '/deployment/service-' || n, 'service-' || n, 'team-' || n % 40, 'deployment',
  (ARRAY['change', 'approval', 'no_change', 'abstained'])[1 + n % 4], 2, 100, 100 * random(), 'USD', 0.9,
  9, 10, 5, 'job-' || n, 'opt-' || n, now() + interval '7 days'
FROM generate_series(1, 9999) AS n
"""


async def fill(database: Database, count: int) -> str:
    """Stores one analysis as a worker does, and copies of it; returns the id of its recommendation."""
    now = datetime.now(UTC)
    recommendation = testing.make_recommendation(
        service_name="service-0", workload=_FIRST, made_at=now, valid_until=now + timedelta(days=7)
    )
    recommendation = msgspec.structs.replace(
        recommendation, monthly_cost_current=100.0, monthly_cost_recommended=60.0
    )
    store, work = PostgresStore(database), PostgresWorkStore(database)
    job = (await store.create_job(PerformanceAnalysisRequest(service_name="service-0"))).job
    claim = await work.claim(owner="benchmark", lease=timedelta(minutes=1))
    assert claim is not None
    result = AnalysisResult(
        service_name="service-0", workload=_FIRST, recommendations=(recommendation,), declined=(), warnings=()
    )
    await work.finish_job(claim, result)
    await _copies(database, job.job_id, count)
    stored = await store.get_job(job.job_id)
    assert stored is not None
    return stored.recommendations[0].recommendation_id


async def _copies(database: Database, job_id: str, count: int) -> None:
    """Stores copies of the job and its recommendation, each with an outcome, and the list of workloads."""
    for first in range(1, count + 1, _SLICE):
        span = {"first": first, "last": min(first + _SLICE - 1, count)}
        async with database.transaction() as connection:
            await connection.execute(text(_JOBS), span | {"job_id": job_id})
            await connection.execute(text(_RECOMMENDATIONS), span | {"job_id": job_id})
            await connection.execute(text(_OUTCOMES), span)
    async with database.transaction() as connection:
        await connection.execute(text(_WORKLOADS))
        await connection.execute(text("ANALYZE"))


async def application(database: Database) -> Any:
    """Returns the application, warm as the service makes it; no metric source and no queue is behind it."""
    api = ApiPorts(
        checks={},
        store=PostgresStore(database),
        queue=cast(Any, None),
        waiter=cast(Any, SimpleNamespace(stop=lambda: None)),
        models=cast(Any, None),
        live=cast(Any, None),
        probe=lambda: (),
        config=Config(),
        settings=ServiceSettings(requests_per_second=100_000),
        applies=PostgresApplyRequests(database),
        schedules=PostgresSchedules(database),
        policy=PolicySettings(),
    )
    web = WebPorts(
        api=api,
        pages=PageStore(database),
        series=SeriesReader(sources_of(Config())),
        backtests=PostgresBacktests(database),
        refusals=PostgresRefusals(database),
        preflight=cast(Any, None),
    )
    await web.warm_up()
    return create_app(api, pages=dashboard(web), templates=template_config())


async def measure(server: PostgresServer, count: int) -> None:
    """Prints the median and the 99th percentile of each page, without network."""
    url = server.url("benchmark")
    started = time.perf_counter()
    patient = Database(url, command_seconds=900)
    recommendation = await fill(patient, count)
    await patient.close()
    database = Database(url)
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
    transport = httpx.ASGITransport(app=await application(database))
    async with httpx.AsyncClient(transport=transport, base_url="http://perfopt.test") as client:
        for path in (
            "/ui",
            "/ui/approvals",
            "/ui/backtests",
            "/ui/policies",
            "/ui/workloads",
            "/ui/workloads?name=service-99&sort=name",
            "/ui/workloads?status=change&page=40",
            f"/ui/workload?name={_FIRST}",
            f"/ui/recommendations/{recommendation}",
            f"/ui/recommendations/{recommendation}/plan",
            "/ui/jobs",
            "/ui/jobs?page=100",
            "/ui/accuracy",
            "/ui/audit",
            "/ui/doctor",
        ):
            first = await _once(client, path)
            times = sorted([await _once(client, path) for _ in range(RUNS)])
            print(
                f"{path:<44} first {first:6.1f} ms  p50 {times[RUNS // 2]:6.1f} ms"
                f"  p99 {times[RUNS * 99 // 100]:6.1f} ms  {_resident():.0f} MiB",
                flush=True,
            )
        await _first_load(client, f"/ui/workload?name={_FIRST}")
    await database.close()


async def _first_load(client: httpx.AsyncClient, path: str) -> None:
    """Prints what a browser with an empty cache fetches, compressed as proxies do."""
    page = await client.get(path)
    assets = re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', page.text)
    parts = [page.content, *[(await client.get(asset)).content for asset in assets]]
    size = sum(len(gzip.compress(part)) for part in parts)
    print(f"first load {size / 1000:.0f} kB gzipped: the page and {len(assets)} files")


def _resident() -> float:
    """Returns the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


async def _once(client: httpx.AsyncClient, path: str) -> float:
    started = time.perf_counter()
    answer = await client.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    return 1000 * (time.perf_counter() - started)


def run_on_filled_store(
    title: str, measure: Callable[[PostgresServer, int], Coroutine[Any, Any, None]]
) -> None:
    """Starts a PostgreSQL of its own with an empty schema, and measures on it.

    Args:
        title: printed after the number of recommendations, the first argument of the command.
        measure: fills the database `benchmark` of a server with so many recommendations, and prints figures.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{count} recommendations, {title}")
    with temporary_root() as root, PostgresServer(root / "postgres", durable=False, ephemeral=True) as server:
        server.create_database("benchmark")
        migrate_now(server.url("benchmark"))
        asyncio.run(measure(server, count))


if __name__ == "__main__":
    run_on_filled_store(f"{WORKLOADS} workloads, {RUNS} requests a page, one at a time", measure)
