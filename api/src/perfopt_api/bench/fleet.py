"""How many services the service analyses in what time: real store, real queue, real workers."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil
from sqlalchemy import text

from perfopt.config.loading import Config, FilesConfig
from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.job import OptimizationJob
from perfopt.domain.request import FleetAnalysisRequest, WorkloadSelector
from perfopt.errors import UnavailableError
from perfopt_api.backends import ServiceBackends, open_backends
from perfopt_api.bench.traces import write_services
from perfopt_api.embedded import embedded_servers
from perfopt_api.jobs.jetstream import JetStreamJobQueue
from perfopt_api.settings import service_settings, with_service
from perfopt_api.standalone import config_file, keep_worker
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.schema import migrate_now

_LOOK_SECONDS = 0.5
_BATCHES_OF_A_WORKER = 4  # so that all end at about the same time
_MAX_BATCH = 100
_MIB = 1 << 20


class FleetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet cost with so many workers.

    Attributes:
        services, workers: how many there were.
        analysed, failed, recommendations: of the fleet's job.
        seconds: from the request to the end of the job; the workers were up and had analysed before.
        services_per_hour: at that rate.
        cpu_seconds: of workers and their children, for one service.
        peak_mib: of one worker with its children, the highest of all.
        stored_bytes: that the database grew by, for one service.
    """

    services: int
    workers: int
    analysed: int
    failed: int
    recommendations: int
    seconds: float
    services_per_hour: float
    cpu_seconds: float
    peak_mib: float
    stored_bytes: float


def bench_fleet(
    services: int,
    workers: Sequence[int],
    types: Sequence[OptimizationType],
    config: Config,
    report: Callable[[FleetFigures], None],
) -> None:
    """Measures a fleet of simulated services once for each number of workers.

    Args:
        services: how many.
        workers: numbers of worker processes, each with one process for strategies.
        types: what to look for.
        config: settings of the engine and its plugins.
        report: takes the figures of each run.

    Raises:
        UnavailableError: a server did not start, or the job failed.
    """
    with tempfile.TemporaryDirectory(prefix="perfopt-bench-") as folder:
        traces = Path(folder) / "services.parquet"
        write_services(traces, services)
        for count in workers:
            report(asyncio.run(_measured(services, count, types, _sourced(config, traces))))


def _sourced(config: Config, traces: Path) -> Config:
    engine = msgspec.structs.replace(config.engine, processes=1)
    sources = {"bench": FilesConfig(paths=str(traces))}
    return msgspec.structs.replace(config, engine=engine, sources=sources, default_source="bench")


async def _measured(
    services: int, workers: int, types: Sequence[OptimizationType], config: Config
) -> FleetFigures:
    batch = min(max(services // (_BATCHES_OF_A_WORKER * workers), 1), _MAX_BATCH)
    with embedded_servers(None) as servers:
        await asyncio.to_thread(migrate_now, servers.database_url)
        whole = with_service(
            config,
            database_url=servers.database_url,
            nats_url=servers.nats_url,
            worker_concurrency=1,
            worker_class="fleet",
            fleet_batch_workloads=batch,
            log_level="warning",
        )
        with config_file(whole) as path:
            stop = asyncio.Event()
            tasks = [asyncio.create_task(keep_worker(path, stop)) for _ in range(workers)]
            try:
                settings = service_settings(whole)
                async with open_backends(settings, name="perfopt-bench", pool_size=2) as backends:
                    return await _run(backends, settings.job_stream, services, workers, types, path)
            finally:
                stop.set()
                await asyncio.gather(*tasks)


async def _run(
    backends: ServiceBackends,
    stream: str,
    services: int,
    workers: int,
    types: Sequence[OptimizationType],
    path: Path,
) -> FleetFigures:
    store, queue = PostgresStore(backends.database), JetStreamJobQueue(backends.nats, stream)
    meter = WorkerMeter(path)
    warm = tuple(f"bench/service-{number:06d}" for number in range(min(2 * workers, services)))
    await _finished(store, queue, WorkloadSelector(names=warm), types, meter)
    size = await _database_bytes(backends)
    meter.begin()
    started = time.monotonic()
    job = await _finished(store, queue, WorkloadSelector(), types, meter)
    seconds = time.monotonic() - started
    assert job.progress is not None, "a fleet's job has it"
    return FleetFigures(
        services=services,
        workers=workers,
        analysed=job.progress.analysed,
        failed=job.progress.failed,
        recommendations=job.progress.recommendations,
        seconds=seconds,
        services_per_hour=services / seconds * 3600,
        cpu_seconds=meter.cpu_seconds / services,
        peak_mib=meter.peak_mib,
        stored_bytes=(await _database_bytes(backends) - size) / services,
    )


async def _finished(
    store: PostgresStore,
    queue: JetStreamJobQueue,
    selector: WorkloadSelector,
    types: Sequence[OptimizationType],
    meter: "WorkerMeter",
) -> OptimizationJob:
    request = FleetAnalysisRequest(selector=selector, optimization_types=tuple(types))
    job = (await store.create_job(request)).job
    await queue.enqueue(job.job_id)
    while True:
        meter.look()
        current = await store.get_job(job.job_id)
        if current is None or current.status is OptimizationStatus.FAILED:
            raise UnavailableError(f"The fleet's job failed: {current and current.error}.")
        if current.status is not OptimizationStatus.ANALYZING:
            return current
        await asyncio.sleep(_LOOK_SECONDS)


async def _database_bytes(backends: ServiceBackends) -> int:
    async with backends.database.reading() as connection:
        return int(await connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


class WorkerMeter:
    """Looks at the worker processes of a configuration file, with their children.

    Args:
        path: of the file, by which they are found.

    Attributes:
        peak_mib: of one worker so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._cpu: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self.peak_mib = 0.0

    @property
    def cpu_seconds(self) -> float:
        """Of all workers since `begin`."""
        return sum(seconds - self._before.get(pid, 0.0) for pid, seconds in self._cpu.items())

    def begin(self) -> None:
        """Counts from now on."""
        self.look()
        self._before, self.peak_mib = dict(self._cpu), 0.0

    def look(self) -> None:
        """Reads processor time and memory."""
        for worker in psutil.Process().children():
            if self._path not in _command(worker):
                continue
            memory = 0
            for process in (worker, *_children(worker)):
                try:
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                except psutil.Error:  # it ended just now; what it used is what was seen last
                    continue
                self._cpu[process.pid] = times.user + times.system
            self.peak_mib = max(self.peak_mib, memory / _MIB)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []
