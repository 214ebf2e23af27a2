import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from config_file import write_config

from perfopt.domain.enums import OptimizationStatus
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt_api.commands.migrate import migrate
from perfopt_api.store.port import JobClaim
from perfopt_api.store.tables import SCHEMA_REVISION
from perfopt_api.store.work import PostgresWorkStore

PERFOPT = Path(sys.executable).with_name("perfopt")
SOON = timedelta(seconds=30)


def environment(**settings):
    return {f"PERFOPT_SERVICE__{name.upper()}": value for name, value in settings.items()}


@pytest.fixture
def config_file(tmp_path):
    start = datetime(2025, 6, 1, tzinfo=UTC)
    lines = ["series_id,timestamp,metric,value"]
    for step in range(600):
        instant = (start + step * timedelta(minutes=5)).isoformat()
        lines += [f"vm-1,{instant},cpu_cores,0.5", f"vm-1,{instant},memory_bytes,1e9"]
    samples = tmp_path / "samples.csv"
    samples.write_text("\n".join(lines) + "\n")
    return write_config(tmp_path, f"sources: {{files: {{type: files, paths: {samples}}}}}\n")


def start_worker(config_file, **settings):
    return subprocess.Popen(
        [PERFOPT, "worker", "--config", str(config_file)],
        env=os.environ | environment(**settings),
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_the_worker_command_answers_from_files_and_stops_on_sigterm(api, settings, config_file):
    process = start_worker(config_file, database_url=settings.database_url, nats_url=settings.nats_url)
    try:
        done = {}
        for name in ("vm-1", "vm-2"):
            job = (await api.store.create_job(PerformanceAnalysisRequest(service_name=name))).job
            await api.queue.enqueue(job.job_id)
            done[name] = await api.waiter.wait_for_job(job.job_id, SOON)
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    assert "worker_stopped" in log
    assert done["vm-1"].status is OptimizationStatus.RECOMMENDATIONS_READY
    assert done["vm-2"].status is OptimizationStatus.FAILED
    assert done["vm-2"].error["code"] == "not_found"
    assert done["vm-2"].error["candidates"] == ["vm-1"]


async def test_a_source_that_is_not_configured_is_never_opened(api, settings, config_file):
    request = PerformanceAnalysisRequest(
        service_name="vm-1", source=str(config_file.with_name("samples.csv"))
    )
    job = (await api.store.create_job(request)).job
    await api.queue.enqueue(job.job_id)
    process = start_worker(config_file, database_url=settings.database_url, nats_url=settings.nats_url)
    try:
        done = await api.waiter.wait_for_job(job.job_id, SOON)
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=20)
    assert done.error["field"] == "source"
    assert done.error["candidates"] == ["files"]


async def test_a_job_that_another_worker_holds_is_left_alone(api, settings, config_file):
    job = (await api.store.create_job(PerformanceAnalysisRequest(service_name="vm-1"))).job
    work = PostgresWorkStore(api.backends.database)
    held = await work.claim(owner="elsewhere", lease=timedelta(seconds=60))
    assert isinstance(held, JobClaim)
    await api.queue.enqueue(job.job_id)
    process = start_worker(config_file, database_url=settings.database_url, nats_url=settings.nats_url)
    try:
        line = await asyncio.to_thread(process.stderr.readline)
        assert "worker_ready" in line
        process.terminate()
        await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert (await api.store.get_job(job.job_id)).status is OptimizationStatus.ANALYZING
    assert await work.extend(held, timedelta(seconds=60)) is True


def test_a_worker_without_servers_says_so_in_one_line(database_url, config_file):
    with start_worker(
        config_file, database_url=database_url, nats_url="nats://127.0.0.1:1", startup_seconds="0.5"
    ) as process:
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 1
    [line] = shown.strip().splitlines()
    assert line.startswith("Error: NATS at 127.0.0.1:1 is not reachable")
    assert "nats_url" in line


def run_migrate(url, *arguments):
    return CliRunner().invoke(migrate, arguments, env=environment(database_url=url))


def test_the_migrate_command_goes_up_and_down_and_checks(empty_database_url):
    assert run_migrate(empty_database_url, "--check").exit_code == 1
    assert run_migrate(empty_database_url).output == f"Migrated from base to {SCHEMA_REVISION}.\n"
    assert run_migrate(empty_database_url).output == f"The schema is at {SCHEMA_REVISION}.\n"
    assert run_migrate(empty_database_url, "--check").output == (
        f"The schema is at {SCHEMA_REVISION}, as this version wants it.\n"
    )
    assert (
        run_migrate(empty_database_url, "--down", "base").output
        == f"Migrated from {SCHEMA_REVISION} to base.\n"
    )
    behind = run_migrate(empty_database_url, "--check")
    assert (
        f"is at base; this version works with {SCHEMA_REVISION} and the next. Run `perfopt migrate`"
        in str(behind.exception)
    )
