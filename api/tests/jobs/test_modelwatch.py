"""Workers use the active model of the registry, from the first job on and as it changes."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from perfopt import engine as real
from perfopt.config.loading import Config, EngineConfig, FilesConfig
from perfopt.domain.enums import OptimizationStatus, OptimizationType
from perfopt.domain.request import PerformanceAnalysisRequest
from perfopt.errors import InvalidInputError, UnavailableError
from perfopt_api.jobs.modelwatch import ModelWatch
from perfopt_api.jobs.sources import SourceAnalyzer
from perfopt_api.jobs.wiring import engine_tasks
from perfopt_api.store import model_tables
from perfopt_api.store.models import PostgresModels
from perfopt_api.supervision import TaskSupervisor
from perfopt_resource.model.sizing_model import shipped_model

SOON = timedelta(seconds=30)
FIGURES = {"better": True}


class Engine:
    """Takes any model but one that says it is bad."""

    def __init__(self):
        self.given = []

    def use_models(self, models):
        if b"bad" in models.values():
            raise InvalidInputError("It is bad.", field="model")
        self.given.append(dict(models))


@pytest.fixture
def registry(database):
    return PostgresModels(database)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def watch(registry, engine):
    return ModelWatch(registry, engine.use_models, 0.02)


async def promote(registry, content, instead_of):
    model = await registry.register("sizing", content, {}, "ada")
    await registry.activate(model, instead_of=instead_of, replay=FIGURES, by="ada")


async def test_without_a_registered_model_nothing_is_changed(watch, engine):
    await watch.start()
    assert engine.given == []


async def test_a_worker_takes_what_is_active_and_goes_along_with_changes(registry, watch, engine):
    await promote(registry, b"one", None)
    await watch.start()
    await watch.look()
    await promote(registry, b"two", 1)
    await watch.look()
    await registry.rollback("sizing", "ada")
    await watch.look()
    await registry.rollback("sizing", "ada")
    await watch.look()
    assert engine.given == [{"sizing": b"one"}, {"sizing": b"two"}, {"sizing": b"one"}, {}]


async def test_workers_running_follow_by_themselves(registry, database, eventually):
    engines = [Engine(), Engine()]
    tasks = [
        asyncio.create_task(TaskSupervisor(()).keep(ModelWatch(registry, each.use_models, 0.02)))
        for each in engines
    ]
    try:
        await promote(registry, b"one", None)
        await eventually(lambda: all(each.given == [{"sizing": b"one"}] for each in engines))
    finally:
        for task in tasks:
            task.cancel()


async def test_a_corrupt_model_leaves_in_use_what_was_and_is_told_once(registry, database, watch, engine):
    await promote(registry, b"one", None)
    await watch.start()
    await promote(registry, b"two", 1)
    async with database.transaction() as connection:
        table = model_tables.models
        await connection.execute(update(table).where(table.c.version == 2).values(content=b"2"))
    with capture_logs() as logs:
        await watch.look()
        await watch.look()
    told = [entry for entry in logs if entry["event"] == "model_refused"]
    assert [(entry["version"], entry["log_level"]) for entry in told] == [(2, "error")]
    assert engine.given == [{"sizing": b"one"}]


async def test_a_model_this_version_can_not_read_is_refused_as_well(registry, watch, engine):
    await promote(registry, b"bad", None)
    with capture_logs() as logs:
        await watch.start()
    assert [entry["event"] for entry in logs] == ["model_refused"]
    assert engine.given == []
    await promote(registry, b"good", 1)
    await watch.look()
    assert engine.given == [{"sizing": b"good"}]


async def test_while_the_database_is_away_what_is_in_use_stays(registry, engine):
    class Away:
        async def active(self):
            raise UnavailableError("PostgreSQL is not reachable.")

    task = asyncio.create_task(TaskSupervisor(()).keep(ModelWatch(Away(), engine.use_models, 0.001)))
    done, _ = await asyncio.wait({task}, timeout=0.05)
    task.cancel()
    assert not done
    assert engine.given == []


@pytest.fixture
def samples(tmp_path):
    start = datetime(2025, 6, 1, tzinfo=UTC)
    lines = ["series_id,timestamp,metric,value"]
    for step in range(14 * 24):
        instant = (start + step * timedelta(hours=1)).isoformat()
        lines += [f"vm-1,{instant},cpu_cores,0.5", f"vm-1,{instant},memory_bytes,1e9"]
    path = tmp_path / "samples.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


async def test_a_recommendation_names_the_active_model_by_its_hash(settings, worker, api, samples):
    files = FilesConfig(paths=str(samples), step_seconds=3600)
    config = Config(sources={"files": files}, engine=EngineConfig(processes=1, deadline_seconds=30))
    quick = msgspec.structs.replace(settings, model_poll_seconds=0.05)
    registry = PostgresModels(api.backends.database)
    with await asyncio.to_thread(real.Engine.open, config) as engine:
        if not engine.registry.of_types((OptimizationType.RESOURCE_OPTIMIZATION,)):
            pytest.fail("the resource plugin is not installed")
        model = await registry.register("sizing", shipped_model().dumps(), {}, "ada")
        await registry.activate(model, instead_of=None, replay=FIGURES, by="ada")
        analyzer = SourceAnalyzer(config, engine)
        tasks = engine_tasks(quick, config, engine, analyzer.source)
        async with worker(quick, analyzer, tasks=tasks):
            request = PerformanceAnalysisRequest(
                service_name="vm-1", optimization_types=(OptimizationType.RESOURCE_OPTIMIZATION,)
            )
            job = (await api.store.create_job(request)).job
            await api.queue.enqueue(job.job_id)
            done = await api.waiter.wait_for_job(job.job_id, SOON)
    assert done.status is OptimizationStatus.RECOMMENDATIONS_READY, done.error
    assert [made.models for made in done.recommendations] == [{"sizing": model.sha256}]
