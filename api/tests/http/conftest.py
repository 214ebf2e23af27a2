"""A queue and a waiter in memory, and the application on top of them and of a store in memory."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from in_process import InProcess
from litestar.testing import TestClient
from memory_store import MemoryStore

from perfopt import testing
from perfopt.cli.main import cli
from perfopt.config.loading import Config, FilesConfig
from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.job import OptimizationJob
from perfopt.domain.recommendation import (
    OptimizationRecommendation,
)
from perfopt.engine.registry import PluginInfo, PluginStatus
from perfopt.errors import ConflictError, NotFoundError, UnavailableError
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt_api.client import ServiceClient
from perfopt_api.commands import service
from perfopt_api.http.app import create_app
from perfopt_api.http.ports import ApiPorts
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.scaling.live import LiveDemand
from perfopt_api.settings import ServiceSettings
from perfopt_api.store.apply_port import ApplyFacts, AuditEntry, Freeze, NewApply, TimelineEntry
from perfopt_api.store.port import CreatedJob
from perfopt_api.store.schedule_port import Schedule

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def recommendation(number: int = 1, **changes) -> OptimizationRecommendation:
    made = testing.make_recommendation(
        recommendation_id=f"opt_20261123_{number:03d}",
        service_name="portfolio_management_service",
        description="Lower the CPU request to 300m.",
        current_state={
            "cpu_request": "500m",
            "memory_request": "1Gi",
            "replicas": 3,
            "containers": {"app": {"cpu_request": "500m", "memory_request": "1Gi", "memory_limit": "2Gi"}},
        },
        recommended_state={
            "cpu_request": "300m",
            "memory_request": "800Mi",
            "replicas": 3,
            "containers": {"app": {"cpu_request": "300m", "memory_request": "800Mi", "memory_limit": "1Gi"}},
        },
        workload="trading/deployment/portfolio-management-service",
        made_at=NOW - timedelta(hours=1),
        valid_until=NOW + timedelta(days=7),
        price_book="gcp-e2-us-central1",
    )
    return msgspec.structs.replace(made, **changes)


class FakeQueue:
    def __init__(self):
        self.enqueued: list[str] = []
        self.down = False

    async def enqueue(self, job_id):
        await self.ping()
        self.enqueued.append(job_id)

    async def ping(self):
        if self.down:
            raise UnavailableError("NATS is not reachable.", remedy="Try again later.")


class FakeWaiter:
    """Finishes the job at once, or never; remembers how long it was asked to wait."""

    def __init__(self, store: MemoryStore):
        self.store, self.finishes, self.asked = store, True, []

    def stop(self):
        self.finishes = True

    async def wait_for_job(self, job_id, timeout):
        self.asked.append(timeout)
        if job_id not in self.store.jobs:
            raise NotFoundError("There is no such job.")
        if self.finishes:
            self.store.finish(job_id)
        return self.store.jobs[job_id]


class FakeApplies:
    """Keeps what was asked of jobs that apply something."""

    def __init__(self, store: MemoryStore):
        self.store = store
        self.created: list[NewApply] = []
        self.asked: list[tuple[str, ...]] = []
        self.freezes: dict[str, Freeze] = {}
        self.entries: list[TimelineEntry] = []
        self.audit: list[AuditEntry] = []
        self.error: Exception | None = None

    def _check(self, job_id=None):
        self.store._check()
        if self.error is not None:
            raise self.error
        if job_id is not None and job_id not in self.store.jobs:
            raise NotFoundError(f"There is no job {job_id!r} that applies something.", field="job_id")

    async def create_apply(self, new, *, idempotency_key=None, body_hash=None):
        self._check()
        key = (new.requester, idempotency_key)
        known = self.store.keys.get(key) if idempotency_key else None
        if known is not None:
            if known[1] != body_hash:
                raise ConflictError("The key was used with another body.", field="Idempotency-Key")
            return CreatedJob(job=self.store.jobs[known[0]], replayed=True)
        self.created.append(new)
        job = OptimizationJob(
            job_id=f"apply_{len(self.created)}",
            service_name=new.service_name,
            optimization_type=new.optimization_types[0],
            status=OptimizationStatus.APPLYING,
            parent_job_id=new.parent_job_id,
        )
        self.store.jobs[job.job_id] = job
        if idempotency_key:
            self.store.keys[key] = (job.job_id, body_hash)
        return CreatedJob(job=job, replayed=False)

    async def facts(self):
        self._check()
        return ApplyFacts(freezes=tuple(self.freezes.values()))

    async def ask(self, job_id, wish, *, principal, reason):
        self._check(job_id)
        self.asked.append((job_id, wish, principal, reason))

    async def approve(self, job_id, *, principal, reason):
        self._check(job_id)
        self.asked.append((job_id, "approve", principal, reason))

    async def restore(self, scope, *, principal, reason):
        self._check()
        return tuple(job_id for job_id in self.store.jobs if job_id.startswith("apply_"))

    async def set_freeze(self, freeze):
        self._check()
        self.freezes[freeze.scope] = freeze

    async def lift_freeze(self, scope, *, principal, reason):
        self._check()
        return self.freezes.pop(scope, None) is not None

    async def record(self, entry):
        self._check()
        self.audit.append(entry)

    async def timeline(self, job_id, *, after=0):
        self.store._check()
        if job_id not in self.store.jobs:
            return None
        return tuple(entry for entry in self.entries if entry.id > after)

    async def audit_log(self, *, subject=None, since=None, after=0, limit=500):
        self._check()
        return tuple(entry for entry in self.audit if subject in (None, entry.subject) and entry.id > after)


class FakeSchedules:
    """Keeps schedules; each fires next a day later."""

    def __init__(self):
        self.known: dict[str, Schedule] = {}

    async def create_schedule(self, asked, *, now, requester=None):
        if asked.name in self.known:
            raise ConflictError(f"There is a schedule {asked.name!r}.", field="name")
        fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
        self.known[asked.name] = Schedule(**fields, requester=requester, next_at=now + timedelta(days=1))
        return self.known[asked.name]

    async def list_schedules(self):
        return tuple(self.known.values())

    async def delete_schedule(self, name, *, requester=None):
        if name not in self.known:
            raise NotFoundError(f"There is no schedule {name!r}.", field="name")
        return self.known.pop(name)


class FakeModels:
    def __init__(self):
        self.known = []

    async def list_models(self, *, kind=None):
        return tuple(model for model in self.known if kind in (None, model.kind))


class FakeMetrics:
    """A metric source that knows nothing, or the snapshot it is given; counts how often it is read."""

    name = "fake"

    def __init__(self):
        self.snapshot: WorkloadSnapshot | None = None
        self.error: Exception | None = None
        self.asked: list[str | None] = []
        self.reads: list[tuple[datetime, datetime]] = []
        self.hangs = False

    async def opened(self, name):
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        return self

    async def latest(self):
        if self.hangs:
            await asyncio.Event().wait()
        return self.snapshot.grid.end if self.snapshot else NOW

    async def inventory(self, at):
        return (self.snapshot.workload,) if self.snapshot else ()

    async def snapshots(self, workloads, start, end, metrics):
        self.reads.append((start, end))
        grid = self.snapshot.grid
        for _ in workloads:
            yield self.snapshot.slice(grid.index(start), grid.index(end))

    async def close(self):
        self.snapshot = None


PLUGINS = (
    PluginInfo(
        name="resource",
        distribution="perfopt-resource",
        version="0.1.0",
        types=(OptimizationType.RESOURCE_OPTIMIZATION,),
    ),
    PluginInfo(
        name="broken",
        distribution="stranger",
        version="1.0",
        status=PluginStatus.FAILED,
        error="Importing stranger raised ImportError: no module named nothing",
    ),
)


class World:
    """The application and everything behind it."""

    def __init__(self, settings: ServiceSettings, config: Config):
        self.store, self.queue = MemoryStore(), FakeQueue()
        self.waiter = FakeWaiter(self.store)
        self.models = FakeModels()
        self.metrics = FakeMetrics()
        self.live = LiveDemand(self.metrics.opened, poll_seconds=3600, wait_seconds=5)
        self.applies = FakeApplies(self.store)
        self.schedules = FakeSchedules()
        self.probes = 0
        self.ports = ApiPorts(
            checks={"postgresql": self.store.ping, "nats": self.queue.ping},
            store=self.store,
            queue=self.queue,
            waiter=self.waiter,
            models=self.models,
            live=self.live,
            probe=self._probe,
            config=config,
            settings=settings,
            applies=self.applies,
            schedules=self.schedules,
            policy=PolicySettings(apply="manual"),
            now=lambda: NOW,
        )
        self.app = create_app(self.ports)

    def _probe(self):
        self.probes += 1
        return PLUGINS


@pytest.fixture
def make_recommendation():
    """Makes a recommendation, with some fields changed."""
    return recommendation


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(requests_per_second=100_000)


@pytest.fixture
def config() -> Config:
    return Config(
        sources={"traces": FilesConfig(paths="traces"), "edge": FilesConfig(paths="edge", step_seconds=1)},
        default_source="traces",
    )


@pytest.fixture
def world(settings, config) -> World:
    return World(settings, config)


@pytest.fixture
def client(world) -> Iterator[TestClient[Any]]:
    with TestClient(world.app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def run(client, monkeypatch):
    """Runs a command against the application; gives its status and output."""
    monkeypatch.setattr(
        service,
        "ServiceClient",
        lambda server, token: ServiceClient(server, token, transport=InProcess(client)),
    )

    def command(*words):
        result = CliRunner().invoke(cli, words)
        lines = result.output.splitlines(keepends=True)
        return result.exit_code, "".join(line for line in lines if "request_id=" not in line)

    return command
