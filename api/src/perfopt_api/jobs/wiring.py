"""Puts the worker process together."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import msgspec
import structlog

from perfopt.config import Config
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.engine import Engine
from perfopt.sources.factory import services_price_books
from perfopt_api.backends import ServiceBackends, open_backends
from perfopt_api.events.nats import NatsConnection, event_stream, job_stream
from perfopt_api.events.relay import Relay
from perfopt_api.jobs.accuracy import AccuracyTask
from perfopt_api.jobs.applying import Applying, open_applying
from perfopt_api.jobs.backlog import BacklogTask
from perfopt_api.jobs.backtests import BacktestRunner
from perfopt_api.jobs.drift import REQUESTER, DriftWatch
from perfopt_api.jobs.execution import Analyse, JobRunner
from perfopt_api.jobs.fleet import FleetAnalyzer, FleetLimits, FleetRunner
from perfopt_api.jobs.jetstream import FinishedJobs, JetStreamDeliveries, JetStreamJobQueue
from perfopt_api.jobs.modelwatch import ModelWatch
from perfopt_api.jobs.outcomes import OpenSource, OutcomeScorer
from perfopt_api.jobs.policy import WorkerPolicy
from perfopt_api.jobs.reserved import ReservedDeliveries
from perfopt_api.jobs.retention import RetentionTask
from perfopt_api.jobs.schedules import ScheduleTask
from perfopt_api.jobs.sources import SourceAnalyzer
from perfopt_api.jobs.sweeper import JobSweeper
from perfopt_api.jobs.worker import WakeUpQueue, Worker
from perfopt_api.settings import ServiceSettings, service_settings
from perfopt_api.store.applies import PostgresApplies
from perfopt_api.store.backlog import HEAVY, PostgresBacklog
from perfopt_api.store.backtests import PostgresBacktests
from perfopt_api.store.days import PostgresDays
from perfopt_api.store.fleet_work import PostgresFleetStore
from perfopt_api.store.models import PostgresModels
from perfopt_api.store.outbox import PostgresOutbox
from perfopt_api.store.outcomes import PostgresOutcomes
from perfopt_api.store.plan_outcomes import PostgresPlanOutcomes
from perfopt_api.store.port import ALL_CLASSES, JobClass
from perfopt_api.store.postgres import PostgresStore
from perfopt_api.store.recorded import PostgresRecorded
from perfopt_api.store.retention import PostgresRetention
from perfopt_api.store.schedules import PostgresSchedules
from perfopt_api.store.work import PostgresWorkStore
from perfopt_api.supervision import BackgroundTask, TaskSupervisor

_LAST_EVENTS_SECONDS = 2.0
_log = structlog.get_logger(__name__)


BackgroundTasks = Callable[[ServiceBackends], Sequence[BackgroundTask]]
Checks = Mapping[str, Callable[[], Awaitable[None]]]
ServeHealth = Callable[[Checks, TaskSupervisor], AbstractAsyncContextManager[None]]


async def run_worker(config: Config, stop: asyncio.Event, serve_health: ServeHealth) -> None:
    """Runs the worker of a configuration until the stop.

    Args:
        config: the effective configuration.
        stop: ends it.
        serve_health: shows while the worker runs whether it can work.

    Raises:
        UnavailableError: PostgreSQL or NATS was not reachable at start.
    """
    settings = service_settings(config)
    books = msgspec.structs.replace(config, price_books=services_price_books(config))
    with await asyncio.to_thread(Engine.open, books) as engine:
        analyzer = SourceAnalyzer(config, engine)
        try:
            async with open_applying(config, analyzer.source) as applying:
                await serve_jobs(
                    settings,
                    analyzer,
                    stop,
                    policy_of(settings),
                    engine_tasks(settings, config, engine, analyzer.source),
                    serve_health,
                    applying,
                    analyzer,
                )
        finally:
            await analyzer.close()


def engine_tasks(
    settings: ServiceSettings, config: Config, engine: Engine, source: OpenSource
) -> BackgroundTasks:
    """Returns what runs beside the jobs: it follows models, records outcomes, runs backtests, and forgets.

    Args:
        settings: of the service.
        config: what backtests are run with.
        engine: of this worker.
        source: opens a metric source by name.
    """
    versions = {info.key: info.version for info in engine.registry.strategies}

    def of(backends: ServiceBackends) -> Sequence[BackgroundTask]:
        registry = PostgresModels(backends.database)
        outcomes = (PostgresOutcomes(backends.database), PostgresPlanOutcomes(backends.database))
        always: tuple[BackgroundTask, ...] = (
            ModelWatch(registry, engine.use_models, settings.model_poll_seconds),
            OutcomeScorer(
                outcomes,
                source,
                versions,
                engine.use_records,
                pause_seconds=settings.outcome_poll_seconds,
            ),
            DriftWatch(
                PostgresApplies(backends.database, base_url=settings.base_url),
                source,
                _asking(backends, settings),
                pause_seconds=settings.drift_poll_seconds,
            ),
        )
        if settings.worker_class in (None, HEAVY):
            runner = BacktestRunner(
                PostgresBacktests(backends.database), config, lease_seconds=settings.lease_seconds
            )
            always = (*always, runner)
        days = settings.retention_days
        keep = None if days is None else timedelta(days=days)
        retention = PostgresRetention(backends.database)
        accuracy = AccuracyTask(PostgresRecorded(backends.database))
        return (*always, accuracy, RetentionTask(retention, keep, timedelta(days=settings.fleet_days)))

    return of


def _asking(
    backends: ServiceBackends, settings: ServiceSettings
) -> Callable[[PerformanceAnalysisRequest, str], Awaitable[None]]:
    """Returns what asks for an analysis, once for each key, whichever worker asks first."""
    store = PostgresStore(backends.database)
    queue = JetStreamJobQueue(backends.nats, settings.job_stream)

    async def ask(request: PerformanceAnalysisRequest, key: str) -> None:
        created = await store.create_job(request, idempotency_key=key, body_hash=key, requester=REQUESTER)
        if not created.replayed:
            await queue.enqueue(created.job.job_id)

    return ask


def policy_of(settings: ServiceSettings) -> WorkerPolicy:
    """Returns the policy that the settings name."""
    return WorkerPolicy(
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        max_lost_workers=settings.max_lost_workers,
    )


def fleet_limits(settings: ServiceSettings) -> FleetLimits:
    """Returns the limits of fleets that the settings name."""
    return FleetLimits(
        workloads=settings.fleet_max_workloads,
        batch=settings.fleet_batch_workloads,
        samples=settings.fleet_max_samples,
    )


async def serve_jobs(
    settings: ServiceSettings,
    analyse: Analyse,
    stop: asyncio.Event,
    policy: WorkerPolicy,
    tasks: BackgroundTasks = lambda _: (),
    serve_health: ServeHealth = lambda *_: contextlib.nullcontext(),
    applying: Applying | None = None,
    fleet: FleetAnalyzer | None = None,
) -> None:
    """Answers jobs, relays events and sweeps until the stop.

    Args:
        settings: of the service.
        analyse: answers a request.
        stop: ends it.
        policy: leases and attempts.
        serve_health: shows while the worker runs whether it can work.
        tasks: what else runs beside the jobs, on the same backends.
        applying: makes changes in a cluster; None makes none.
        fleet: analyses fleets; None takes no job of one.

    Raises:
        UnavailableError: PostgreSQL or NATS was not reachable at start.
    """
    pool = settings.worker_concurrency + 4  # one for each slot; background tasks and a heartbeat
    async with open_backends(settings, name="perfopt-worker", pool_size=pool) as backends:
        worker, relay, sweeper = build_worker(backends, settings, analyse, policy, applying, fleet)
        makes_changes = settings.worker_class in (None, "apply")
        runner = applying.runner(backends, settings, relay.wake) if applying and makes_changes else None
        runners: tuple[BackgroundTask, ...] = ()
        if applying is not None and runner is not None:
            runners = (
                runner,
                applying.upkeep(backends),
                applying.overridden(backends),
                *applying.notifiers(backends, settings),
                applying.auto_sweep(backends, settings),
                applying.demotion(backends, settings),
            )
        backlog = BacklogTask(PostgresBacklog(backends.database))
        queue = JetStreamJobQueue(backends.nats, settings.job_stream)
        schedules = ScheduleTask(PostgresSchedules(backends.database), queue, settings.schedules)
        supervisor = TaskSupervisor((relay, sweeper, backlog, schedules, *runners, *tasks(backends)))
        checks = {"postgresql": backends.readiness.check, "nats": backends.nats.ping}
        async with supervisor.running(), serve_health(checks, supervisor):
            _log.info("worker_ready", concurrency=settings.worker_concurrency)
            await worker.run(stop)
            if runner is not None:
                await runner.stop()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(relay.flush(), _LAST_EVENTS_SECONDS)
        _log.info("worker_stopped")


def build_worker(
    backends: ServiceBackends,
    settings: ServiceSettings,
    analyse: Analyse,
    policy: WorkerPolicy,
    applying: Applying | None = None,
    fleet: FleetAnalyzer | None = None,
) -> tuple[Worker, Relay, JobSweeper]:
    """Wires the worker, the relay and the sweeper of one process."""
    store = PostgresWorkStore(backends.database, base_url=settings.base_url)
    events = event_stream(settings.event_stream, settings.stream_replicas)
    relay = Relay(PostgresOutbox(backends.database), backends.nats, events)
    announcements = FinishedJobs(backends.nats)

    async def finished(job_id: str) -> None:
        relay.wake()
        await announcements.announce(job_id)

    auto = None if applying is None else applying.auto(backends, settings)
    slots = _slots(backends.nats, settings, policy)
    queue = JetStreamJobQueue(backends.nats, settings.job_stream)
    fleets = None
    if fleet is not None:
        if settings.fleet_days:
            fleet.days = PostgresDays(backends.database)
        fleet_store = PostgresFleetStore(backends.database, store)
        fleets = FleetRunner(fleet_store, fleet, queue, finished, fleet_limits(settings), auto)
    execution = JobRunner(store, analyse, finished, policy, auto, fleets)
    return Worker(slots, execution, policy.grace_seconds), relay, JobSweeper(store, queue, policy)


def _slots(nats: NatsConnection, settings: ServiceSettings, policy: WorkerPolicy) -> list[WakeUpQueue]:
    """Returns one end of the queue for each job that runs at once.

    A worker of one class listens beside the queue, which is shared by all; those for changes and for heavy
    work analyse nothing.
    Of several slots of any other worker one takes no fleet job, so that nobody waits behind long ones.
    """
    count = 0 if settings.worker_class in ("apply", HEAVY) else settings.worker_concurrency
    if settings.worker_class is not None:
        own = frozenset({JobClass[settings.worker_class.upper()]})
        return [ReservedDeliveries(nats, own) for _ in range(count)]
    waiting = job_stream(settings.job_stream, settings.stream_replicas)
    shared = max(1, count - 1)
    slots: list[WakeUpQueue] = [
        JetStreamDeliveries(nats, waiting, policy.lease_seconds) for _ in range(shared)
    ]
    return slots + [ReservedDeliveries(nats, ALL_CLASSES - {JobClass.FLEET}) for _ in range(count - shared)]
